# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost and inputs that can be read, but cannot be true: errors or warnings, never silent nonsense."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit
OPTIONS = {"skymethod": "none", "save": "cube", "rvcorr": "none"}
PIXTABLE = "PIXTABLE_OBJECT"


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meaning")
    return simulate_scipost(
        folder, seed=3, n_ifu=2, slices=4, columns=12, lambda_range=(6290.0, 6310.0), lsf=None
    )


@pytest.fixture
def run(observation, tmp_path):
    """Run the recipe with all files of a tag changed."""

    def run(tag, change, **options):
        frames = []
        for number, (path, name) in enumerate(observation.frames()):
            if name == tag:
                copy = tmp_path / f"{number}_{path.name}"
                shutil.copy(path, copy)
                with fits.open(copy, mode="update") as hdus:
                    change(hdus)
                path = copy
            frames.append((path, name))
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        try:
            return run_recipe("muse_scipost", frames, {**OPTIONS, **options}, workdir=folder)
        except RecipeError:
            assert not list(folder.iterdir())
            raise

    return run


def keyword(key, value):
    def change(hdus):
        hdus[0].header[key] = value

    return change


def values(column, value):
    def change(hdus):
        hdus[1].data[column] = value

    return change


CASES = {
    "no time": (PIXTABLE, keyword("EXPTIME", 0.0), "keyword EXPTIME: expected a number above 0"),
    "negative time": (PIXTABLE, keyword("EXPTIME", -600.0), "keyword EXPTIME"),
    "MJD": (PIXTABLE, keyword("MJD-OBS", 2457800.5), "keyword MJD-OBS"),
    "angle": (PIXTABLE, keyword("ESO INS DROT POSANG", 1e5), "POSANG"),
    "longitude": (PIXTABLE, keyword("ESO TEL GEOLON", 1000.0), "GEOLON"),
    "flat": (PIXTABLE, keyword("ESO DRS MUSE FLAT FLUX LAMP", -1.0), "FLAT FLUX LAMP"),
    "response": ("STD_RESPONSE", values("response", -1.0), "column response"),
    "response away": (
        "STD_RESPONSE",
        values("lambda", np.linspace(8e3, 9e3, 2)[0]),
        "STD_RESPONSE, column lam",
    ),
    "extinction": ("EXTINCT_TABLE", values("extinction", -0.5), "column extinction"),
    "telluric": ("STD_TELLURIC", values("ftelluric", 5.0), "column ftelluric"),
    "degree": ("ASTROMETRY_WCS", None, "pixels of 0.005 to 1 arcsec"),
}


def degree(hdus):
    hdu = next(hdu for hdu in hdus if "CD1_1" in hdu.header)
    hdu.header["CD1_1"], hdu.header["CD2_2"] = -1.0, 1.0


@pytest.mark.parametrize("name", CASES)
def test_nonsense_is_refused_with_file_and_item(name, run):
    tag, change, words = CASES[name]
    with pytest.raises(InputError, match=words):
        run(tag, change or degree)


def test_headers_of_all_ifus_are_told_once(run):
    with pytest.raises(InputError) as error:
        run(PIXTABLE, keyword("EXPTIME", -1.0))
    assert len(error.value.faults) == 1


def test_compatible_mode_goes_on_with_a_warning(run, caplog):
    assert run("EXTINCT_TABLE", values("extinction", -0.5), compat=True)
    assert "column extinction: expected values of 0 mag or more" in caplog.text


def test_curve_that_ends_within_the_data(run, caplog):
    def short(hdus):
        lam = np.asarray(hdus[1].data["lambda"])
        hdus[1].data["lambda"] = 6300.0 + 1e-3 * np.arange(lam.size)

    run("STD_RESPONSE", short)
    assert "STD_RESPONSE covers only 6300.0 to" in caplog.text


@pytest.mark.parametrize("value", [np.nan, 1e9, 0.0])
def test_no_ifu_vanishes_unmentioned(run, value, caplog, observation):
    name = observation.paths(PIXTABLE)[1].name

    def change(hdus):
        if name in hdus.filename():
            hdus["lambda"].data[:] = value

    run(PIXTABLE, change)
    assert "no row of" in caplog.text
    assert "is missing" in caplog.text


@pytest.mark.parametrize("value", [np.nan, 1e9, 0.0])
def test_nothing_is_made_of_wavelengths_that_are_none(run, value):
    with pytest.raises(RecipeError, match="no entries"):
        run(PIXTABLE, lambda hdus: hdus["lambda"].data.fill(value))


@pytest.mark.parametrize("column", ["xpos", "ypos"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30])
def test_positions_that_are_not_on_the_detector(run, column, value):
    def change(hdus):
        hdus[column].data[3] = value

    with pytest.raises(RecipeError, match=f"column {column}"):
        run(PIXTABLE, change)


@pytest.mark.parametrize(("ifu", "number"), [(0, 7), (25, 7), (31, 7), (12, 0), (12, 49), (12, 63)])
def test_origins_that_are_none(run, ifu, number):
    def change(hdus):
        hdus["origin"].data[5] = ifu << 6 | number

    with pytest.raises(InputError, match="column origin: expected (IFU 1 to 24|slice 1 to 48) in each row"):
        run(PIXTABLE, change)


def test_positions_that_are_all_missing(run):
    with pytest.raises(RecipeError):
        run(PIXTABLE, lambda hdus: hdus["xpos"].data.fill(np.nan))


def test_a_cube_of_too_many_planes(run):
    with pytest.raises(RecipeError, match="more than 100000 planes; choose a larger dlambda"):
        run("EXTINCT_TABLE", lambda hdus: None, dlambda=1e-12)
    with pytest.raises(RecipeError, match="planes"):
        run("EXTINCT_TABLE", lambda hdus: None, dlambda=1e-320)


@pytest.mark.parametrize(
    ("scale", "words"), [(0.0, "FLUX_SCALE"), (-1.0, "FLUX_SCALE"), (1e30, "FLUX_SCALE"), (50.0, "")]
)
def test_flux_scales(observation, tmp_path, scale, words, caplog):
    date = fits.getval(observation.paths(PIXTABLE)[0], "DATE-OBS")
    table = Table({"DATE_OBS": [date], "RA_OFFSET": [0.0], "DEC_OFFSET": [0.0], "FLUX_SCALE": [scale]})
    table.write(tmp_path / "offsets.fits")
    frames = [*observation.frames(), (tmp_path / "offsets.fits", "OFFSET_LIST")]
    folder = tmp_path / "out"
    folder.mkdir()
    if words:
        with pytest.raises(InputError, match=r"offsets\.fits: column FLUX_SCALE"):
            run_recipe("muse_scipost", frames, OPTIONS, workdir=folder)
    else:
        run_recipe("muse_scipost", frames, OPTIONS, workdir=folder)
        assert fits.getval(folder / "DATACUBE_FINAL.fits", "ESO DRS MUSE FLUX SCALE1") == scale


def test_cards_of_an_offset_found_by_its_mjd(observation, tmp_path):
    header = fits.getheader(observation.paths(PIXTABLE)[0])
    table = Table({"MJD_OBS": [header["MJD-OBS"]], "RA_OFFSET": [1e-4], "DEC_OFFSET": [0.0]})
    table.write(tmp_path / "offsets.fits")
    frames = [*observation.frames(), (tmp_path / "offsets.fits", "OFFSET_LIST")]
    run_recipe("muse_scipost", frames, OPTIONS, workdir=tmp_path)
    made = fits.getheader(tmp_path / "DATACUBE_FINAL.fits")
    assert made["ESO DRS MUSE OFFSET1 DATE-OBS"] == header["DATE-OBS"]

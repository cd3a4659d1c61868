# SPDX-License-Identifier: BSD-3-Clause
"""muse_standard: the response that was put in is found, whatever the star looks like; mistakes are told."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.physics import response_curve, telluric_transmission
from muse_core.simulate.star_fields import StarField, simulate_standard, write_bands

pytestmark = pytest.mark.unit
PLAN = StarField(nx=40, ny=40, first=6650.0, n_lam=330, fwhm=3.2)


def reduce(field, folder, frames=None, **options):
    folder.mkdir(exist_ok=True)
    products = run_recipe("muse_standard", frames or field.frames(), options, workdir=folder, report=True)
    return {product.tag: product.path for product in products}


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    return simulate_standard(tmp_path_factory.mktemp("std"), PLAN, seed=3)


@pytest.fixture(scope="module")
def made(field, tmp_path_factory):
    return reduce(field, tmp_path_factory.mktemp("made"))


def offsets(made, columns=("lambda", "response")):
    """Response minus truth outside of the bands, in per cent."""
    lam, response = (np.array(fits.getdata(made["STD_RESPONSE"], 1)[n]) for n in columns)
    inside = (lam > 6660.0) & (lam < 7050.0)
    inside &= (lam < 6860.0) | (lam > 6970.0)
    return 100.0 * (10 ** (0.4 * (response - response_curve(lam))) - 1)[inside]


def test_response_is_right(made):
    off = offsets(made)
    assert abs(np.median(off)) < 0.2
    assert np.percentile(np.abs(off), 95) < 0.3


@pytest.mark.parametrize(
    "change",
    [
        {"beta": 3.5, "beta_slope": -0.2},
        {"elongation": 0.12},
        {"stars": ((0.45, 0.45, 0.3),), "cosmics": 60, "flagged": 0.003},
        {"fwhm": 2.2, "sky": 200.0},
    ],
    ids=["beta", "elongated", "faint", "sharp"],
)
def test_response_is_right_for_other_stars(change, tmp_path):
    plan = dataclasses.replace(PLAN, **change)
    factor = plan.stars[0][2]
    made = reduce(simulate_standard(tmp_path / "in", plan, seed=4), tmp_path / "out")
    off = 100.0 * ((1.0 + offsets(made) / 100.0) / factor - 1.0)
    assert abs(np.median(off)) < 0.3


def test_telluric_absorption_is_right(made):
    lam, factor = (np.array(fits.getdata(made["STD_TELLURIC"], 1)[n]) for n in ("lambda", "ftelluric"))
    band = (lam > 6870.0) & (lam < 6960.0)
    off = factor[band] - telluric_transmission(lam[band])
    assert abs(np.median(off)) < 0.005
    assert np.percentile(np.abs(off), 90) < 0.02  # noise of single planes


def test_errors_tell_the_scatter(made):
    with fits.open(made["STD_FLUXES"]) as hdus:
        flux, variance = hdus["DATA"].data[0][3:-3], hdus["STAT"].data[0][3:-3]
    rough = np.diff(flux, 2) / np.sqrt(6.0)
    ratio = np.median(np.abs(rough)) * 1.4826 / np.sqrt(np.median(variance))
    assert 0.6 < ratio < 1.4  # neighbouring planes share rows


def test_page(made):
    (page,) = made["STD_RESPONSE"].parent.glob("*.html")
    text = page.read_text()
    for title in ("Response", "Telluric absorption", "Stars", "Field"):
        assert f">{title}</h2>" in text
    assert "points scatter by" in text


def test_same_bits_for_any_number_of_threads(field, tmp_path):
    folders = []
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        folder.mkdir()
        run_recipe("muse_standard", field.frames(), {}, workdir=folder, threads=threads)
        folders.append(folder)
    for name in ("STD_FLUXES_0001.fits", "STD_RESPONSE_0001.fits"):
        a, b = (fits.getdata(folder / name, 1) for folder in folders)
        np.testing.assert_array_equal(np.asarray(a.tolist()), np.asarray(b.tolist()))


def changed_table(field, folder, **units):
    (path,) = field.paths("STD_FLUX_TABLE")
    copy = folder / "flux.fits"
    with fits.open(path) as hdus:
        for key, value in units.items():
            if key == "unit":
                hdus[2].columns["flux"].unit = value
            else:
                hdus[2].header[key] = value
                hdus[1].header[key] = value
        hdus.writeto(copy)
    return [*field.frames(without=["STD_FLUX_TABLE"]), (copy, "STD_FLUX_TABLE")]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"unit": "Jy"}, "unit of flux: expected erg/s/cm"),
        ({"DEC": 10.0}, "nearest reference table"),
        ({"RA": "x"}, "keywords RA, DEC: expected degrees"),
    ],
)
def test_wrong_references_are_refused(change, told, field, tmp_path):
    with pytest.raises(InputError, match=told):
        reduce(field, tmp_path / "out", changed_table(field, tmp_path, **change))


def edited(field, folder, tag, **columns):
    """The frames of the field with other columns in the table of a tag."""
    (path,) = field.paths(tag)
    copy = folder / f"{tag}.fits"
    with fits.open(path) as hdus:
        for table in hdus[1:]:
            for name, change in columns.items():
                table.data[name] = change(table.data[name])
        hdus.writeto(copy)
    return [*field.frames(without=[tag]), (copy, tag)]


@pytest.mark.parametrize(
    ("tag", "columns", "told"),
    [
        ("EXTINCT_TABLE", {"lambda": lambda lam: lam / lam.max() * 4000.0}, "EXTINCT_TABLE, column lambda"),
        ("FILTER_LIST", {"throughput": lambda values: -values}, "column throughput"),
    ],
)
def test_curves_that_cannot_be_are_refused(tag, columns, told, field, tmp_path):
    with pytest.raises(InputError, match=told):
        reduce(field, tmp_path / "out", edited(field, tmp_path, tag, **columns), filter="white,Cousins_R")


def test_curves_that_end_within_the_data_are_told(field, tmp_path, caplog):
    frames = edited(field, tmp_path, "EXTINCT_TABLE", **{"lambda": lambda lam: lam / lam.max() * 6800.0})
    reduce(field, tmp_path / "out", frames, profile="square")
    assert "EXTINCT_TABLE covers only" in caplog.text
    assert "not corrected for extinction" in caplog.text


def test_what_is_needed_is_named(field, tmp_path):
    frames = field.frames(without=["STD_FLUX_TABLE"])
    with pytest.raises(InputError, match="STD_FLUX_TABLE"):
        reduce(field, tmp_path / "out", frames)


def test_no_star(tmp_path):
    plan = dataclasses.replace(PLAN, n_lam=20, stars=((0.0, 0.0, 1e-9),))
    field = simulate_standard(tmp_path / "in", plan, seed=1)
    with pytest.raises(RecipeError, match="No object for flux integration found"):
        reduce(field, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_bands_of_the_user(field, tmp_path):
    bands = write_bands(tmp_path / "b.fits", [(6700.0, 6720.0, 6660.0, 6760.0)])
    frames = [*field.frames(), (bands, "TELLURIC_REGIONS")]
    made = reduce(field, tmp_path / "out", frames, profile="square", smooth="median")
    lam = fits.getdata(made["STD_TELLURIC"], 1)["lambda"]
    assert 6690.0 < lam.min() < lam.max() < 6730.0

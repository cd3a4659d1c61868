# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost with an OFFSET_LIST: whose exposures it is of, and rotations."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from muse_core.framework import InputError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.law
OPTIONS = {"skymethod": "none", "save": "cube", "rvcorr": "none"}


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("offsets"),
        seed=9,
        n_ifu=1,
        n_exposures=2,
        slices=6,
        columns=24,
        lambda_range=(6290.0, 6305.0),
        lsf=None,
        posang=20.0,
    )


@pytest.fixture
def run(observation, tmp_path):
    """Return a function that reduces the observation with a table of offsets."""

    def run(frames=None, table=None, **options):
        frames = list(frames or observation.frames(without=("OFFSET_LIST",)))
        if table is not None:
            table.write(tmp_path / "offsets.fits", overwrite=True)
            frames.append((tmp_path / "offsets.fits", "OFFSET_LIST"))
        folder = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        run_recipe("muse_scipost", frames, {**OPTIONS, **options}, workdir=folder)
        return fits.getdata(folder / "DATACUBE_FINAL.fits", 1), fits.getheader(folder / "DATACUBE_FINAL.fits")

    return run


def offsets(observation, **columns):
    tables = [path for path, tag in observation.frames() if tag == "PIXTABLE_OBJECT"]
    headers = [fits.getheader(path) for path in tables]
    return Table(
        {
            "DATE_OBS": [header["DATE-OBS"] for header in headers],
            "MJD_OBS": [header["MJD-OBS"] for header in headers],
            "RA_OFFSET": [0.0, 1e-4],
            "DEC_OFFSET": [0.0, -1e-4],
            **columns,
        }
    )


def test_dates_written_with_fewer_digits_change_nothing(observation, run):
    exact, _ = run(table=offsets(observation))
    table = offsets(observation)
    table["DATE_OBS"] = [date[:19] for date in table["DATE_OBS"]]
    rounded, header = run(table=table)
    np.testing.assert_array_equal(rounded, exact)
    assert header["ESO DRS MUSE OFFSET2 DRA"] == 1e-4


def test_offsets_in_arcseconds(observation, run):
    degrees, _ = run(table=offsets(observation))
    table = offsets(observation, RA_OFFSET=[0.0, 0.36], DEC_OFFSET=[0.0, -0.36])
    table["RA_OFFSET"].unit = table["DEC_OFFSET"].unit = "arcsec"
    np.testing.assert_allclose(run(table=table)[0], degrees, rtol=1e-6)


def test_a_list_of_other_exposures_is_refused(observation, run):
    table = offsets(
        observation, DATE_OBS=["2001-01-01T00:00:00", "2001-01-02T00:00:00"], MJD_OBS=[51910.0, 51911.0]
    )
    with pytest.raises(InputError, match="a row of one of the exposures"):
        run(table=table)


def test_a_list_that_misses_an_exposure_is_a_warning(observation, run, caplog):
    run(table=offsets(observation)[:1])
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert sum("OFFSET_LIST" in text for text in warnings) == 1


def test_rows_that_contradict_each_other_are_refused(observation, run):
    table = offsets(observation)
    table["DATE_OBS"][1], table["MJD_OBS"][1] = table["DATE_OBS"][0], table["MJD_OBS"][0]
    with pytest.raises(InputError, match="OFFSET_LIST rows of DATE_OBS"):
        run(table=table)


def test_rotations_are_applied_on_request(observation, run, tmp_path):
    true, _ = run(table=offsets(observation))
    frames = []
    for path, tag in observation.frames(without=("OFFSET_LIST",)):
        if "_0002-" in path.name:
            path = shutil.copy(path, tmp_path / path.name)
            with fits.open(path, mode="update") as hdus:
                hdus[0].header["ESO INS DROT POSANG"] += 3.0
        frames.append((path, tag))
    table = offsets(observation, ROT_OFFSET=[0.0, 3.0])
    wrong, header = run(frames, table)
    assert "ESO DRS MUSE OFFSET2 DROT" not in header
    right, header = run(frames, table, rot_offset=True)
    assert header["ESO DRS MUSE OFFSET2 DROT"] == 3.0
    np.testing.assert_allclose(right, true, rtol=1e-4, atol=1e-3 * np.nanmax(np.abs(true)))
    assert not np.allclose(np.nan_to_num(wrong)[:, :20, :20], np.nan_to_num(true)[:, :20, :20], rtol=1e-2)
    with pytest.raises(InputError, match="column ROT_OFFSET"):
        run(frames, offsets(observation), rot_offset=True)


def test_rotations_are_applied_in_compatible_mode_too(observation, run, caplog):
    table = offsets(observation, ROT_OFFSET=[0.0, 3.0])
    plain, header = run(table=table, compat=True)
    assert "ESO DRS MUSE OFFSET2 DROT" not in header
    turned, header = run(table=table, compat=True, rot_offset=True)
    assert header["ESO DRS MUSE OFFSET2 DROT"] == 3.0
    assert "ROT_OFFSET" in " ".join(r.getMessage() for r in caplog.records)
    assert turned.shape != plain.shape or not np.allclose(turned, plain, equal_nan=True)


@pytest.mark.parametrize("trusted", [True, False])
def test_offsets_that_cannot_be_trusted_are_told(observation, tmp_path, caplog, trusted):
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(offsets(observation))])
    for n, value in enumerate((True, trusted), 1):
        hdus[0].header[f"HIERARCH ESO QC EXPALIGN TRUST{n}"] = value
    hdus.writeto(tmp_path / "o.fits")
    frames = [*observation.frames(without=("OFFSET_LIST",)), (tmp_path / "o.fits", "OFFSET_LIST")]
    run_recipe("muse_scipost", frames, {**OPTIONS, "save": "individual,cube"}, workdir=tmp_path)
    header = fits.getheader(tmp_path / "DATACUBE_FINAL.fits")
    assert header["ESO QC SCIPOST OFFSETS TRUSTED"] is trusted
    reduced = [(path, "PIXTABLE_REDUCED") for path in sorted(tmp_path.glob("PIXTABLE_REDUCED*"))]
    run_recipe("muse_exp_combine", [*reduced, frames[-1]], {}, workdir=tmp_path)
    header = fits.getheader(tmp_path / "DATACUBE_FINAL.fits")
    assert header["ESO QC EXPCOMB OFFSETS TRUSTED"] is trusted
    texts = [r.getMessage() for r in caplog.records if "exposure 2: its offset in" in r.getMessage()]
    assert len(texts) == (0 if trusted else 2)

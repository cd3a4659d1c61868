# SPDX-License-Identifier: BSD-3-Clause
"""TWILIGHT_CUBE, Strehl ratio, ranges of wavelength."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.basic.adaptive_optics import read_strehl
from muse_core.basic.twilight_cube import divide_by_cube, read_twilight_cube
from muse_core.detector.pixels import crop_range
from muse_core.framework import InputError
from tests.basic.runs import columns, run

pytestmark = pytest.mark.unit
WCS = {"CRPIX1": 1.0, "CRPIX2": 1.0, "CRPIX3": 1.0, "CRVAL1": -10.0, "CRVAL2": 100.0, "CRVAL3": 5500.0}
STEPS = {"CD1_1": 1.0, "CD2_2": 1.0, "CD3_3": 250.0}


def write_cube(path, data, **changes):
    hdu = fits.ImageHDU(np.asarray(data, np.float32), name="DATA")
    for key, value in {**WCS, **STEPS, **changes}.items():
        hdu.header[key] = value
    primary = fits.PrimaryHDU()
    for ifu in range(1, 25):
        primary.header[f"HIERARCH ESO DRS MUSE FLAT FLUX SKY{ifu}"] = 1e7 + ifu
    fits.HDUList([primary, hdu]).writeto(path, overwrite=True)
    return path


def test_rows_are_divided_by_the_nearest_spaxel_and_between_planes(tmp_path):
    rng = np.random.default_rng(0)
    data = rng.uniform(0.8, 1.2, (4, 30, 25)).astype(np.float32)
    cube = read_twilight_cube(write_cube(tmp_path / "c.fits", data))
    assert cube.fluxes[24] == 1e7 + 24
    n = 500
    x, y = (rng.uniform(low, high, n).astype(np.float32) for low, high in ((-12, 16), (98, 131)))
    lam = rng.uniform(5300, 6600, n).astype(np.float32)
    values, stat = np.ones(n, np.float32), np.ones(n, np.float32)
    divide_by_cube(x, y, lam, values, stat, cube)
    for i in range(n):
        ix = min(max(int(np.floor(x[i] + 10.5)), 0), 24)
        iy = min(max(int(np.floor(y[i] - 99.5)), 0), 29)
        expected = np.interp((float(lam[i]) - 5500) / 250, np.arange(4), data[:, iy, ix])
        assert values[i] == pytest.approx(1 / expected, rel=1e-6)
        assert stat[i] == pytest.approx(1 / expected**2, rel=1e-6)


@pytest.mark.parametrize(
    ("data", "changes", "text"),
    [
        (np.ones((3, 4)), {}, "cube"),
        (np.ones((2, 3, 4)), {"CD3_3": 0.0}, "positive step"),
        (np.ones((2, 3, 4)), {"CRVAL1": "left"}, "CRVAL1"),
        (np.zeros((2, 3, 4)), {}, "positive values"),
    ],
)
def test_bad_cubes_are_refused(tmp_path, data, changes, text):
    path = tmp_path / "c.fits"
    write_cube(path, data, **changes)
    with pytest.raises(InputError, match=text):
        read_twilight_cube(path)


def test_all_cubes_are_applied(tiny, tmp_path):
    """Two times the same cube is its square."""
    cube = write_cube(tmp_path / "c.fits", np.full((3, 400, 400), 0.9), CRVAL1=-200.0, CRVAL2=-200.0)
    name, options = "PIXTABLE_OBJECT_0001-02.fits", {"nifu": 2, "skylines": "none", "saveimage": False}
    plain = columns(run(tiny.raw, tmp_path / "a", **options)[name])
    path = run([*tiny.raw, *[(cube, "TWILIGHT_CUBE")] * 2], tmp_path / "b", **options)[name]
    twice = columns(path)
    assert np.allclose(twice["data"] * 0.9**2, plain["data"], rtol=3e-7)
    assert np.array_equal(twice["dq"], plain["dq"])
    assert fits.getheader(path)["ESO DRS MUSE FLAT FLUX SKY"] == 1e7 + 2


def test_strehl_ratio_is_median_and_deviation_of_all_stars(tmp_path):
    values = np.arange(40, dtype=np.float32).reshape(4, 10)
    stars = [fits.Column(f"LGS{i + 1}_STREHL", "E", array=values[i]) for i in range(4)]
    table = fits.BinTableHDU.from_columns(stars, name="SPARTA_ATM_DATA")
    other = fits.BinTableHDU.from_columns([fits.Column("X", "E", array=[1.0])], name="SPARTA_CN2_DATA")
    path = tmp_path / "raw.fits"
    fits.HDUList([fits.PrimaryHDU(), table, other]).writeto(path)
    strehl, warning = read_strehl(path)
    assert warning == ""
    assert strehl.ratio == 19.5
    assert strehl.deviation == np.median(np.abs(values - 19.5))
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, overwrite=True)
    strehl, warning = read_strehl(path)
    assert strehl is None
    assert "SPARTA_CN2_DATA" in warning


@pytest.mark.parametrize(
    ("mode", "low"),
    [
        ("WFM-NOAO-N", 4750),
        ("NFM-AO-N", 4750),
        ("WFM-AO-N", 4700),
        ("WFM-AO-E", 4600),
        ("WFM-NOAO-E", 4600),
        ("", 4750),
    ],
)
def test_ranges_of_the_modes(mode, low):
    assert crop_range(mode) == (low, 9350)

# SPDX-License-Identifier: BSD-3-Clause
"""The measuring tools, on products made by hand."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.simulate import recovery
from muse_core.simulate.scene import GRID_SIZE, GRID_START, GRID_STEP, Star

pytestmark = pytest.mark.unit


@pytest.fixture
def cube(tmp_path):
    """A star 0.1" east, 0.04" north of its place with 90 % of its flux, that drifts by 0.2", and a line."""
    star = {"xi": 0.0, "eta": 0.0, "flux": 5000.0, "temperature": 5500.0, "ra": 10.0, "dec": -30.0}
    galaxy = {"ra": 10.0 + 6.0 / 3600 / np.cos(np.deg2rad(30)), "dec": -30.0, "line_wavelength": 7050.0}
    galaxy["line_flux"] = 8000.0
    n, size = 80, 101
    wave = 7000 + 1.25 * np.arange(n)
    spectrum = np.interp(wave, GRID_START + GRID_STEP * np.arange(GRID_SIZE), Star(0, 0, 5000.0).spectrum())
    yy, xx = np.mgrid[:size, :size]
    data = np.empty((n, size, size))
    line = np.exp(-0.5 * ((wave - 7050) / 2.5) ** 2) / (2.5 * np.sqrt(2 * np.pi)) * 8000.0
    patch = np.exp(-0.5 * ((xx - 20) ** 2 + (yy - 50) ** 2) / 9) / (18 * np.pi)
    for k in range(n):
        x0, y0 = 49.5 + (k - (n - 1) / 2) / n * 1.25, 50.2  # 0.1" east is half a pixel to the left
        alpha = 3.0
        moffat = 1.8 / np.pi / alpha**2 * (1 + ((xx - x0) ** 2 + (yy - y0) ** 2) / alpha**2) ** -2.8
        data[k] = 0.9 * spectrum[k] * moffat + line[k] * patch
    hdu = fits.ImageHDU(data.astype(np.float32), name="DATA")
    hdu.header.update(
        {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg", "CRVAL1": 10.0,
            "CRVAL2": -30.0, "CRPIX1": 51.0, "CRPIX2": 51.0, "CD1_1": -0.2 / 3600, "CD1_2": 0.0, "CD2_1": 0.0,
            "CD2_2": 0.2 / 3600, "CTYPE3": "AWAV", "CUNIT3": "Angstrom", "CD3_3": 1.25,
            "CRPIX3": 1.0, "CRVAL3": 7000.0,
        }
    )  # fmt: skip
    path = tmp_path / "cube.fits"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path, star, galaxy


def test_stars_and_lines_are_measured(cube):
    path, star, galaxy = cube
    outside = {**star, "ra": 11.0}
    found, nothing = recovery.recover_stars(path, [star, outside])
    assert found.east == pytest.approx(0.1, abs=0.01)
    assert found.north == pytest.approx(0.04, abs=0.01)
    assert found.flux_ratio == pytest.approx(0.9, rel=0.02)
    assert np.isnan(nothing.east)
    assert recovery.recover_line_flux(path, galaxy, 3.0) == pytest.approx(1.0, rel=0.02)
    assert recovery.centroid_drift(path, star) == pytest.approx(0.2, abs=0.02)


def _table(path, **columns):
    units = [fits.ImageHDU(np.asarray(v)[:, None]) for v in columns.values()]
    for hdu, name in zip(units, columns, strict=True):
        hdu.header["EXTNAME"] = name
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(path)
    return path


def test_sky_residual_sees_residuals_and_not_noise(tmp_path):
    rng = np.random.default_rng(1)
    lam = rng.uniform(7000, 7100, 400_000).astype(np.float32)
    stat = np.full(lam.size, 25.0, np.float32)
    data = rng.normal(0, 5, lam.size).astype(np.float32)
    dq = np.zeros(lam.size, np.int32)
    clean = recovery.sky_residual(
        _table(tmp_path / "a", **{"lambda": lam, "data": data, "stat": stat, "dq": dq})
    )
    assert clean["between"] < 0.03  # noise of a plane: 0.07
    assert clean["between_scatter"] == pytest.approx(1.0, abs=0.01)
    data += np.where(np.abs(lam - 7050) < 2, 3.0, 0).astype(np.float32)
    dq[::7] = 0x200
    data[::7] = 1e5
    dirty = recovery.sky_residual(
        _table(tmp_path / "b", **{"lambda": lam, "data": data, "stat": stat, "dq": dq}), 30.0, [7050.0]
    )
    assert dirty["lines"] == pytest.approx(3 * np.sqrt(3.2 / 6.6), rel=0.15)
    assert dirty["lines_percent"] == pytest.approx(dirty["lines"] / 0.3)
    assert dirty["between"] < 0.03


def test_slice_pattern_is_the_scatter_of_the_levels(tmp_path):
    rng = np.random.default_rng(2)
    level = 1 + rng.normal(0, 0.01, 480)
    key = np.repeat(np.arange(480), 200)
    origin = ((key // 48 + 1) << 6 | (key % 48 + 1)).astype(np.int32)
    data = (100 * level[key] + rng.normal(0, 1, key.size)).astype(np.float32)
    path = _table(tmp_path / "a", origin=origin, data=data, dq=np.zeros(key.size, np.int32))
    assert recovery.slice_pattern(path) == pytest.approx(0.01, rel=0.15)

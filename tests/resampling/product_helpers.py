# SPDX-License-Identifier: BSD-3-Clause
"""Grids and golden files for the tests of what is made from the final cube."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from astropy.io import fits

FLUX = "10**(-20)*erg/s/cm**2/Angstrom"


@dataclass
class Grid:
    nx: int = 12
    ny: int = 9
    nz: int = 6
    crpix: tuple = (6.25, 5.5, 1.0)
    crval: tuple = (150.1, -30.2, 6000.0)
    cd: np.ndarray = field(default_factory=lambda: np.diag([-0.2 / 3600, 0.2 / 3600, 1.25]))
    ctype: tuple = ("RA---TAN", "DEC--TAN", "AWAV")
    cunit: tuple = ("deg", "deg", "Angstrom")
    log_wavelength: bool = False


def pixel_grid(**changes):
    values = {
        "crpix": (1.0, 1.0, 1.0),
        "crval": (0.5, -36.5, 6000.0),
        "cd": np.diag([1.0, 1.0, 1.25]),
        "ctype": ("PIXEL", "PIXEL", "AWAV"),
        "cunit": ("pixel", "pixel", "Angstrom"),
    }
    return Grid(**{**values, **changes})


def random_cube(grid, seed=1, gaps=0.2):
    """Data and variance, float32[nz, ny, nx], with NaN in both for a part of the voxels."""
    rng = np.random.default_rng(seed)
    shape = (grid.nz, grid.ny, grid.nx)
    data = rng.normal(10.0, 3.0, shape).astype(np.float32)
    stat = rng.uniform(1.0, 4.0, shape).astype(np.float32)
    empty = rng.random(shape) < gaps
    data[empty] = np.nan
    stat[empty] = np.nan
    return data, stat


def primary(**cards):
    header = fits.PrimaryHDU().header
    header["OBJECT"] = "FIELD"
    for key, value in cards.items():
        header[key] = value
    return header


def open_golden(path):
    """All HDUs of a stored file in memory."""
    return fits.HDUList.fromstring(path.read_bytes())


def grid_of(header):
    cd = np.array([[header.get(f"CD{i}_{j}", 0.0) for j in (1, 2, 3)] for i in (1, 2, 3)])
    return Grid(
        nx=header["NAXIS1"],
        ny=header["NAXIS2"],
        nz=header["NAXIS3"],
        crpix=tuple(header[f"CRPIX{i}"] for i in (1, 2, 3)),
        crval=tuple(header[f"CRVAL{i}"] for i in (1, 2, 3)),
        cd=cd,
        ctype=tuple(header[f"CTYPE{i}"] for i in (1, 2, 3)),
        cunit=("deg", "deg", "Angstrom"),
        log_wavelength=header["CTYPE3"].endswith("LOG"),
    )


def assert_same_cards(ours, theirs, without=("CHECKSUM", "DATASUM"), order=True):
    """Same keywords in the same order with the same values (numbers to 15 digits as CPL writes them)."""
    keys = [key for key in theirs if key not in without]
    ours_keys = [key for key in ours if key not in without]
    assert ours_keys == keys if order else sorted(ours_keys) == sorted(keys)
    for key in keys:
        if isinstance(theirs[key], float):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-13), key
        else:
            assert ours[key] == theirs[key], key

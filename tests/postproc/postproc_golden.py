# SPDX-License-Identifier: BSD-3-Clause
"""Access to the golden data of muse_scipost for tests that compare with the C pipeline."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.golden import golden_set


def golden(name: str, *parts: str) -> Path:
    """Path of a file of one of the stored sets of muse_scipost."""
    return golden_set(f"scipost_{name}").joinpath(*parts)


def load_table(path: Path) -> tuple[fits.Header, dict[str, np.ndarray]]:
    """Header and columns of a pixel table in image layout."""
    with fits.open(path) as hdus:
        columns = {}
        for hdu in hdus[1:]:
            column = hdu.data.ravel()
            columns[hdu.name.lower()] = column.astype(column.dtype.newbyteorder("="))
        return hdus[0].header.copy(), columns


def load_columns(path: Path, *names: str, ext: int = 1) -> tuple[np.ndarray, ...]:
    """Columns of a binary table as float64."""
    with fits.open(path) as hdus:
        return tuple(np.array(hdus[ext].data[name], dtype=np.float64) for name in names)


def ulps(mine: np.ndarray, peer: np.ndarray) -> np.ndarray:
    """Difference in units of the float32 spacing of the peer's value."""
    return np.abs(mine.astype(np.float64) - peer) / np.spacing(np.abs(peer)).astype(np.float64)

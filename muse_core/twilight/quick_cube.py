# SPDX-License-Identifier: BSD-3-Clause
"""A quick cube: the mean of the rows of each voxel, good enough to tell the levels of the IFUs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from muse_core.detector.pixels import field_position, wavelength_at
from muse_core.framework.kernels import njit
from muse_core.resampling.grid import OutputGrid
from muse_core.twilight.rows import cell_of
from muse_core.twilight.store import RowStore, SlicePixels, StoredValues


@njit(cache=True, nogil=True, error_model="numpy")
def _bin_rows(
    stored: StoredValues,
    pixels: SlicePixels,
    origin: np.ndarray,
    dlambda: float,
    row0: int,
    sums: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Add the good rows of one slice to the voxels.

    Parameters
    ----------
    stored : StoredValues
    pixels : SlicePixels
    origin : float64[3]
        Smallest x, y, wavelength: the centre of the first voxel of the cube.
    dlambda : float
    row0 : int
        Row of the cube that is the first one of ``sums``.
    sums, counts : float64[nz, ny, nx], int32[nz, ny, nx]
        Added to.
    """
    value, _, flag = stored
    first, last, left, right, wave, place, low, high = pixels
    nz, ny, nx = sums.shape
    k = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            lam = wavelength_at(wave[y], x)
            if lam < low or lam > high:
                continue
            if flag[k] == 0:
                px, py = field_position(x, left[y], right[y], place)
                iz = cell_of((np.float64(lam) - origin[2]) / dlambda, nz)
                iy = cell_of(np.float64(py) - origin[1] - row0, ny)
                ix = cell_of(np.float64(px) - origin[0], nx)
                sums[iz, iy, ix] += value[k]
                counts[iz, iy, ix] += 1
            k += 1


def quick_cube(store: RowStore, grid: OutputGrid, threads: int = 1) -> np.ndarray:
    """Mean of the good rows of each voxel (float32[nz, ny, nx]), NaN without any.

    Cosmic rays stay in. The result does not depend on the number of threads: every IFU has its own sums.
    """
    total = np.zeros((grid.nz, grid.ny, grid.nx))
    number = np.zeros(total.shape, np.int32)
    origin = np.array(store.limits[0::2])

    def bin_ifu(ifu: int) -> tuple[slice, np.ndarray, np.ndarray]:
        slices = store.slices(ifu)
        low, high = (f(s) for f, s in ((min, [s.y_low for s in slices]), (max, [s.y_high for s in slices])))
        row0 = max(int(low - origin[1]) - 1, 0)
        row1 = min(int(high - origin[1]) + 3, grid.ny)
        sums = np.zeros((grid.nz, row1 - row0, grid.nx))
        counts = np.zeros(sums.shape, np.int32)
        for entry in slices:
            _bin_rows(store.read(entry), store.pixels(entry), origin, grid.dlambda, row0, sums, counts)
        return slice(row0, row1), sums / store.scale(ifu), counts

    with ThreadPoolExecutor(threads) as pool:
        for rows, sums, counts in pool.map(bin_ifu, store.geometries):
            total[:, rows] += sums
            number[:, rows] += counts
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / number).astype(np.float32)

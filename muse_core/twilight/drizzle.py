# SPDX-License-Identifier: BSD-3-Clause
"""Drizzle on the plain grid of the sky-flat cube.

The shared kernel `muse_core.resampling.weights.add_rows` serves any projection and method; here voxels are
one pixel wide, rows have the size of a pixel, and most neighbours get nothing. The same weights
in the same order, three times faster.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def _share(distance, size):
    """Part of an interval of length 1 inside a cell of length ``size``."""
    return max(min(0.5 * (1.0 + size) - distance, min(1.0, size)), 0.0)


@njit(cache=True, nogil=True)
def drizzle_rows(
    xpos, ypos, lam, data, stat, dq, starts, origin1, origin2, row, plane_lam, size3, first, last, sums
):  # fmt: skip
    """Add rows in voxel order to the voxels around them.

    Parameters
    ----------
    xpos, ypos, lam, data, stat : float32[n]
    dq : int32[n]
        Rows with dq != 0 are left out.
    starts : int32[nz * ny * nx + 1]
        First row of each voxel.
    origin1, origin2 : float
        Position of the centre of the first spaxel of the cube; steps are 1 pixel.
    row : int
        Row of the cube that ``sums`` begins with.
    plane_lam : float64[nz]
        Wavelength of the planes.
    size3 : float
        Step between planes in units of 1.25 Angstrom.
    first, last : int
        Rows of voxels (y) ``first`` to ``last`` (exclusive) are wanted; those beside them are not complete.
    sums : float64[nz, ny, nx, 3]
        Sums of w d, of w, of w^2 s, updated.
    """
    nz, ny, nx, _ = sums.shape
    share1 = np.empty(3)
    share2 = np.empty(3)
    share3 = np.empty(3)
    for k in range(nz):
        for iy in range(max(first - 1, 0), min(last + 1, ny)):
            for ix in range(nx):
                voxel = (k * ny + iy) * nx + ix
                for i in range(starts[voxel], starts[voxel + 1]):
                    if dq[i] != 0:
                        continue
                    value, variance = np.float64(data[i]), np.float64(stat[i])
                    for j in range(-1, 2):
                        share1[j + 1] = _share(abs(origin1 + (ix + j) - np.float64(xpos[i])), 1.0)
                        share2[j + 1] = _share(abs(origin2 + (row + iy + j) - np.float64(ypos[i])), 1.0)
                        inside = (k + j >= 0) & (k + j < nz)
                        plane = plane_lam[k + j] if inside else np.inf
                        share3[j + 1] = _share(abs(plane - np.float64(lam[i])) / 1.25, size3)
                    for c in range(3):
                        if share3[c] == 0.0:
                            continue
                        for b in range(max(0, 1 - iy), min(3, ny - iy + 1)):
                            if share2[b] == 0.0:
                                continue
                            for a in range(max(0, 1 - ix), min(3, nx - ix + 1)):
                                w = share1[a] * share2[b] * share3[c]
                                if w != 0.0:
                                    total = sums[k + c - 1, iy + b - 1, ix + a - 1]
                                    total[0] += w * value
                                    total[1] += w
                                    total[2] += w * w * variance

# SPDX-License-Identifier: BSD-3-Clause
"""Rows as an image: each is shared by the four pixels around it."""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True, error_model="numpy")
def share_rows(
    xpos: np.ndarray,
    ypos: np.ndarray,
    data: np.ndarray,
    dq: np.ndarray,
    corner: tuple[float, float],
    cosine: float,
    step: float,
    total: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Add the good rows to an image; those outside of it are left out.

    Parameters
    ----------
    xpos, ypos, data : float32[n] or float64[n]
    dq : int32[n]
    corner, cosine, step
        of the pixels, see `field_images.FieldGrid`
    total, weight : float64[ny, nx]
        sum of the shares times data, and of the shares; updated in place
    """
    ny, nx = total.shape
    # one sum for each of the four neighbours, added at the end, as if the rows came once for each of them
    own = np.zeros((ny, nx, 4, 2), np.float64)
    for i in range(data.size):
        if dq[i] != 0 or not math.isfinite(data[i]):
            continue
        x = (corner[0] - np.float64(xpos[i])) * cosine / step + 1.0
        y = (np.float64(ypos[i]) - corner[1]) / step + 1.0
        if not (x >= 0.0 and x < nx - 1 and y >= 0.0 and y < ny - 1):
            continue
        ix, iy = int(x), int(y)
        fx, fy = x - ix, y - iy
        value = np.float64(data[i])
        for neighbour in range(4):
            right, up = neighbour & 1, neighbour >> 1
            share = (fx if right else 1.0 - fx) * (fy if up else 1.0 - fy)
            own[iy + up, ix + right, neighbour, 0] += share * value
            own[iy + up, ix + right, neighbour, 1] += share
    for iy in range(ny):
        for ix in range(nx):
            for neighbour in range(4):
                total[iy, ix] += own[iy, ix, neighbour, 0]
                weight[iy, ix] += own[iy, ix, neighbour, 1]

# SPDX-License-Identifier: BSD-3-Clause
"""Bad columns of a master bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from muse_core.detector.quadrants import Quadrant
from muse_core.framework.kernels import njit

DQ_BAD_COLUMN = 0x2000


@njit(cache=True, nogil=True)
def column_statistics(data: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> None:
    """Mean and standard deviation (n-1) of the columns of an image.

    Parameters
    ----------
    data : float32[ny, nx]
    mean, deviation : float64[nx], written
    """
    ny, nx = data.shape
    mean[:] = 0.0
    deviation[:] = 0.0
    for y in range(ny):
        for x in range(nx):
            mean[x] += np.float64(data[y, x])
    for x in range(nx):
        mean[x] /= ny
    for y in range(ny):
        for x in range(nx):
            deviation[x] += (np.float64(data[y, x]) - mean[x]) ** 2
    for x in range(nx):
        deviation[x] = np.sqrt(deviation[x] / max(ny - 1, 1))


def _flag_run(column: npt.NDArray[np.bool_], dq: npt.NDArray[np.int32]) -> int:
    """Flag a column from its first to its last bad pixel; returns how many that are."""
    rows = np.flatnonzero(column)
    if not rows.size:
        return 0
    dq[rows[0] : rows[-1] + 1] |= DQ_BAD_COLUMN
    return int(rows[-1] + 1 - rows[0])


def flag_bad_columns(
    data: npt.NDArray[np.float32],
    dq: npt.NDArray[np.int32],
    quadrants: Sequence[Quadrant],
    noise: dict[int, float],
    limits: tuple[float, float],
) -> int:
    """Flag bad columns (DQ 0x2000) and return the number of their pixels.

    Measured against 2.8.7: in each quadrant a column is hot if its mean lies above the upper limit and its
    values scatter more than the noise, dark if its mean lies below the lower limit; flagged are the rows from
    the first to the last pixel beyond the limit. (A hot column of constant level is no bad one: the bias
    takes it away.)

    Parameters
    ----------
    data : float32[ny, nx]
        Master bias in adu.
    dq : int32[ny, nx]
        Updated in place; flagged pixels count like others.
    quadrants : sequence of Quadrant
    noise : dict of int to float
        By quadrant, in adu.
    limits : tuple of float
        Lower and upper limit in mean absolute deviations of the column means.
    """
    found = 0
    for quadrant in quadrants:
        part, flags = data[quadrant.trimmed], dq[quadrant.trimmed]
        mean, deviation = np.empty(quadrant.nx), np.empty(quadrant.nx)
        column_statistics(part, mean, deviation)
        centre = float(np.median(mean))
        spread = float(np.abs(mean - centre).mean())
        low, high = centre - limits[0] * spread, centre + limits[1] * spread
        for x in np.flatnonzero((mean > high) & (deviation > noise[quadrant.number])):
            found += _flag_run(part[:, x] > high, flags[:, x])
        for x in np.flatnonzero(mean < low):
            found += _flag_run(part[:, x] < low, flags[:, x])
    return found

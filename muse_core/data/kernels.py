# SPDX-License-Identifier: BSD-3-Clause
"""Array kernels of pixel-table columns."""

from __future__ import annotations

import numpy as np

from muse_core.data.file_kernels import lane_limits
from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True)
def finite_limits(values):
    """Return (smallest, largest) of a float32 array, NaN left out; (inf, -inf) if there is none."""
    scratch = np.empty((2, 64), np.float32)
    unlimited = np.float32(np.inf)
    return lane_limits(values, values, -unlimited, unlimited, scratch[0], scratch[1])


@njit(cache=True, nogil=True)
def last_not_above(values, x, low, high):
    """Return the index of the largest value <= x between two indices, `low` if there is none.

    Parameters
    ----------
    values : float64[n] or int64[n], increasing
    low, high : first index that counts, and the one after the last
    """
    while high - low > 1:
        middle = (low + high) // 2
        if values[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def number_rows(places, firsts, start, rows):
    """Write the numbers of the rows at the places `start` and following.

    Parameters
    ----------
    places : int64[m], increasing
        place of the first row of each run
    firsts : int64[m]
        number of that row; the others follow it
    rows : int64[n]
        filled
    """
    low = last_not_above(places, start, 0, places.size)
    i = 0
    while i < rows.size:
        stop = places[low + 1] - start if low + 1 < places.size else rows.size
        first = firsts[low] - places[low] + start + i
        part = rows[i : max(i, stop)]
        for k in range(part.size):
            part[k] = first + k
        i = max(i, stop)
        low += 1


@njit(cache=True, nogil=True)
def shift_positions(xpos, ypos, dx, dy):
    """Add float64 offsets to float32[n] positions, in place."""
    if dx == 0.0 and dy == 0.0:
        return
    for i in range(xpos.size):
        xpos[i] = float(xpos[i]) + dx
        ypos[i] = float(ypos[i]) + dy


@njit(cache=True, nogil=True)
def scale_rows(data, stat, factor):
    """Multiply float32[n] data by a float64 factor and the variance by its square, in place."""
    for i in range(data.size):
        data[i] = float(data[i]) * factor
        stat[i] = float(stat[i]) * (factor * factor)


@njit(cache=True, nogil=True)
def scale_wavelengths(lam, factor):
    """Multiply float32[n] wavelengths by a float64 factor, in place."""
    for i in range(lam.size):
        lam[i] = float(lam[i]) * factor


@njit(cache=True, nogil=True)
def drop_rows(bits, rows, selected):
    """Unselect rows whose bit is set; ``bits`` : uint8[n], ``rows`` : int64[m], ``selected`` : bool[m]."""
    for i in range(rows.size):
        if selected[i] and (bits[rows[i] >> 3] >> (rows[i] & 7)) & 1:
            selected[i] = False

# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the refinement of the sky per slice: sums of products of the rows, correction of rows."""

from __future__ import annotations

import numpy as np

from muse_core.data.exact_sums import split
from muse_core.data.slices import slice_key_of
from muse_core.framework.kernels import njit

N_TERM = 7
"""Sky, its slope along wavelength, first derivative, its slope, second derivative, constant, slope."""
COARSE, FINE = 2.0**-4, 2.0**-34
AT_ONCE = 64
"""Rows of a slice whose products are added together: the processor takes several in one step."""


@njit(cache=True, nogil=True, inline="always")
def fill_terms(lam, first, step, sky, slope, bend, middle, half, term):
    """Compute the terms at a wavelength; return whether it lies on the grid.

    Parameters
    ----------
    first, step : grid of the templates
    sky, slope, bend : float64[n]   spectrum of the sky and its first and second derivative
    middle, half : wavelengths run from -1 to 1 over ``middle - half`` .. ``middle + half``
    term : float64[7]   filled
    """
    place = (lam - first) / step
    if not (place >= 0.0 and place <= sky.size - 1.0):
        return False
    k = min(int(place), sky.size - 2)
    t = place - k
    x = (lam - middle) / half
    term[0] = sky[k] + t * (sky[k + 1] - sky[k])
    term[1] = term[0] * x
    term[2] = slope[k] + t * (slope[k + 1] - slope[k])
    term[3] = term[2] * x
    term[4] = bend[k] + t * (bend[k + 1] - bend[k])
    term[5] = 1.0
    term[6] = x
    return True


@njit(cache=True, nogil=True)
def sum_products(
    lam, data, stat, origin, good, first, step, sky, slope, bend, middle, half, clip, coarse, fine, count,
    columns,
):  # fmt: skip
    """Add the weighted products of the terms with each other and with the data, slice by slice.

    Parameters
    ----------
    lam, data, stat : float32[n], origin : int32[n], good : bool[n]
    clip : rows that are off by more than this many standard deviations do not count
    coarse, fine : float64[2, 1152, 8, 8]   upper triangles of both halves of the detector columns (groups of
        sixteen in turn, wider than a star); exact sums, updated, as are
    count : int64[1152]   rows
    columns : bool[1152, 128]   detector columns seen
    """
    term = np.empty(N_TERM + 1)
    waiting = np.empty((2, N_TERM + 1, AT_ONCE))
    weighted = np.empty((2, N_TERM + 1, AT_ONCE))
    used = np.zeros(2, np.int64)
    key_of_waiting = -1
    for i in range(lam.size):
        key = slice_key_of(origin[i])
        variance = np.float64(stat[i])
        value = np.float64(data[i])
        if key < 0 or not good[i] or not variance > 0.0 or not value * value <= clip * clip * variance:
            continue
        if not fill_terms(np.float64(lam[i]), first, step, sky, slope, bend, middle, half, term):
            continue
        term[N_TERM] = value
        column = (origin[i] >> 24) & 0x7F
        half_of = (column >> 4) & 1
        count[key] += 1
        columns[key, column] = True
        if key != key_of_waiting:
            for of in range(2):
                add_waiting(waiting[of], weighted[of], used[of], coarse, fine, of, key_of_waiting)
                used[of] = 0
            key_of_waiting = key
        place = used[half_of]
        for a in range(N_TERM + 1):
            waiting[half_of, a, place] = term[a]
            weighted[half_of, a, place] = term[a] / variance
        used[half_of] = place + 1
        if used[half_of] == AT_ONCE:
            add_waiting(waiting[half_of], weighted[half_of], AT_ONCE, coarse, fine, half_of, key)
            used[half_of] = 0
    for of in range(2):
        add_waiting(waiting[of], weighted[of], used[of], coarse, fine, of, key_of_waiting)


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def add_waiting(waiting, weighted, used, coarse, fine, half_of, key):
    """Add the products of rows of one slice and one half of its columns.

    The sums are exact, so that they may be made in any order, several at a time.

    Parameters
    ----------
    waiting, weighted : float64[8, AT_ONCE]   terms of the rows, and those divided by the variance
    used : number of rows
    """
    for a in range(N_TERM + 1):
        for b in range(a, N_TERM + 1):
            sum_high, sum_low = 0.0, 0.0
            for n in range(used):
                high, low = split(weighted[a, n] * waiting[b, n], COARSE, FINE)
                sum_high += high
                sum_low += low
            coarse[half_of, key, a, b] += sum_high
            fine[half_of, key, a, b] += sum_low


@njit(cache=True, nogil=True)
def subtract_terms(lam, data, origin, first, step, sky, slope, bend, middle, half, amount):
    """Subtract what was fitted from the rows, in place.

    Parameters
    ----------
    lam, data : float32[n], origin : int32[n]
    amount : float64[1152, 7]
    """
    term = np.empty(N_TERM)
    for i in range(lam.size):
        key = slice_key_of(origin[i])
        if key < 0 or not fill_terms(np.float64(lam[i]), first, step, sky, slope, bend, middle, half, term):
            continue
        total = 0.0
        for a in range(N_TERM):
            total += amount[key, a] * term[a]
        data[i] = np.float32(np.float64(data[i]) - total)

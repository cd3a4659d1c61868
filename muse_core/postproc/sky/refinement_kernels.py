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
        for a in range(N_TERM + 1):
            scaled = term[a] / variance
            for b in range(a, N_TERM + 1):
                high, low = split(scaled * term[b], COARSE, FINE)
                coarse[half_of, key, a, b] += high
                fine[half_of, key, a, b] += low


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

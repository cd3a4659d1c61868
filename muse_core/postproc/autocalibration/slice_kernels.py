# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the autocalibration: sums over the columns of slices, factors on rows."""

from __future__ import annotations

import numpy as np

from muse_core.data.exact_sums import split
from muse_core.framework.kernels import njit

COARSE, FINE = 2.0**-8, 2.0**-40


@njit(cache=True, nogil=True)
def find_range(edges, lam):
    """Index of the range with edges[k] <= lam < edges[k + 1], -1 outside."""
    n = edges.size - 1
    if not (lam >= edges[0] and lam < edges[n]):
        return -1
    k = 0
    while lam >= edges[k + 1]:
        k += 1
    return k


@njit(cache=True, nogil=True)
def add_rows(lam, data, origin, selected, edges, count, coarse, fine, rows):
    """Add the selected rows to the sums of `SliceSums`, in place.

    Values enter as multiples of 2^-8 and of 2^-40, so that the order of the rows does not matter.
    """
    k = 0
    for i in range(lam.size):
        if not selected[i]:
            continue
        wavelength = float(lam[i])
        if not (k >= 0 and wavelength >= edges[k] and wavelength < edges[k + 1]):
            k = find_range(edges, wavelength)
            if k < 0:
                k = 0
                continue
        word = np.int64(origin[i])
        ifu, sli = ((word >> 6) & 0x1F) - 1, (word & 0x3F) - 1
        if ifu < 0 or ifu >= rows.shape[1] or sli < 0 or sli >= rows.shape[2]:
            continue
        rows[k, ifu, sli] += 1
        value = float(data[i])
        if not np.isfinite(value):
            continue
        column = (word >> 24) & 0x7F
        high, low = split(value, COARSE, FINE)
        count[k, ifu, sli, column] += 1
        coarse[k, ifu, sli, column] += high
        fine[k, ifu, sli, column] += low


@njit(cache=True, nogil=True)
def correct_rows(lam, data, stat, origin, edges, factors, outside):
    """Multiply data by factors and stat by their squares, in place.

    Parameters
    ----------
    lam, data, stat : float32[n], origin : int32[n]
    edges : float64[m + 1], factors : float64[m, 24, 48]
    outside : factor of rows outside of all ranges
    """
    k = 0
    for i in range(lam.size):
        wavelength = float(lam[i])
        if not (wavelength >= edges[k] and wavelength < edges[k + 1]):
            k = find_range(edges, wavelength)
            if k < 0:
                k = 0
                data[i] = data[i] * outside
                stat[i] = stat[i] * outside * outside
                continue
        ifu, sli = ((origin[i] >> 6) & 0x1F) - 1, (origin[i] & 0x3F) - 1
        if ifu < 0 or ifu >= factors.shape[1] or sli < 0 or sli >= factors.shape[2]:
            continue
        factor = factors[k, ifu, sli]
        data[i] = float(data[i]) * factor
        stat[i] = float(stat[i]) * factor * factor

# SPDX-License-Identifier: BSD-3-Clause
"""Array kernels of pixel-table input: byte order, zone map, selection by wavelength."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def swap_words(source, target):
    """Turn big-endian 32-bit words into native ones.

    Parameters
    ----------
    source, target : uint32[n]
        `target` is filled
    """
    for i in range(source.size):
        v = source[i]
        target[i] = ((v & 0xFF) << 24) | ((v & 0xFF00) << 8) | ((v >> 8) & 0xFF00) | (v >> 24)


@njit(cache=True, nogil=True)
def zone_limits(lam, rows_per_zone, lam_lo, lam_hi, zone_min, zone_max):
    """Find the wavelength range of each zone and count the rows within limits.

    Parameters
    ----------
    lam : float32[n]
    rows_per_zone : int
    lam_lo, lam_hi : float
        limits (inclusive) of the rows that count
    zone_min, zone_max : float32[ceil(n / rows_per_zone)]
        filled with the range of the rows within the limits (min > max where there is none)

    Returns
    -------
    int
        rows within the limits
    """
    count = 0
    for zone in range(zone_min.size):
        low = np.float32(np.inf)
        high = np.float32(-np.inf)
        for i in range(zone * rows_per_zone, min((zone + 1) * rows_per_zone, lam.size)):
            value = lam[i]
            if value >= lam_lo and value <= lam_hi:
                count += 1
                low = min(low, value)
                high = max(high, value)
        zone_min[zone] = low
        zone_max[zone] = high
    return count


@njit(cache=True, nogil=True)
def select_rows(lam, lam_lo, lam_hi, index):
    """Write the rows with lam_lo <= lam <= lam_hi into `index` (int64[n]) and return their number."""
    count = 0
    for i in range(lam.size):
        if lam[i] >= lam_lo and lam[i] <= lam_hi:
            index[count] = i
            count += 1
    return count


@njit(cache=True, nogil=True)
def take_swapped(source, index, target):
    """Gather big-endian words `source` (uint32) at `index` (int64[n]) into native `target` (uint32[n])."""
    for i in range(index.size):
        v = source[index[i]]
        target[i] = ((v & 0xFF) << 24) | ((v & 0xFF00) << 8) | ((v >> 8) & 0xFF00) | (v >> 24)


@njit(cache=True, nogil=True)
def scale_rows(data, stat, scale):
    """Multiply data by `scale` and stat by its square, in place (float32 storage, float64 arithmetic)."""
    for i in range(data.size):
        data[i] = np.float32(np.float64(data[i]) * scale)
        stat[i] = np.float32(np.float64(stat[i]) * scale * scale)


@njit(cache=True, nogil=True)
def finite_limits(values):
    """Return (smallest, largest) of a float32 array, NaN left out; (inf, -inf) if there is none."""
    low = np.float32(np.inf)
    high = np.float32(-np.inf)
    for i in range(values.size):
        v = values[i]
        if v < low:
            low = v
        if v > high:
            high = v
    return low, high

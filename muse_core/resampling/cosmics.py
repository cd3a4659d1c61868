# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray rejection: each row against the statistics of the rows in the 27 voxels around it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

COSMIC_RAY = 0x20
ALL_NEIGHBOURS, NOT_SAME_Y, NOT_SAME_X = 0, 1, 2
IRAF, MEAN, MEDIAN = 0, 1, 2
METHODS = {"iraf": IRAF, "mean": MEAN, "median": MEDIAN}


def neighbourhood(position_angle: float | None) -> int:
    """Tell which neighbours count, from the position angle in degrees (None: cube in pixel coordinates).

    Slices run along x near 0 and 180 degrees: neighbours of the same y share the slice and with it the track
    of a cosmic ray, so they are left out; near 90 and 270 degrees the same holds for x.
    """
    if position_angle is None:
        return NOT_SAME_Y
    angle = abs(position_angle)
    if any(abs(angle - centre) < 5.0 for centre in (0.0, 180.0, 360.0)):
        return NOT_SAME_Y
    if any(abs(angle - centre) < 5.0 for centre in (90.0, 270.0)):
        return NOT_SAME_X
    return ALL_NEIGHBOURS


@njit(cache=True, nogil=True)
def _select(values, n, k):
    """Return the k-th smallest (from 0) of values[:n]; reorders them (Hoare's quickselect)."""
    low = 0
    high = n - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i = low
        j = high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                t = values[i]
                values[i] = values[j]
                values[j] = t
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@njit(cache=True, nogil=True)
def _median(values, n):
    """Return the median of values[:n] (mean of the two middle ones for even n); reorders them."""
    half = n // 2
    upper = _select(values, n, half)
    if n % 2:
        return upper
    lower = values[0]
    for i in range(1, half):
        lower = max(lower, values[i])
    return 0.5 * (lower + upper)


@njit(cache=True, nogil=True)
def flag_cosmics(data, stat, dq, starts, nx, ny, n_planes, first, last, method, sigma, rule, flags):
    """Flag rows far above the rows around them.

    Parameters
    ----------
    data, stat : float32[n]
    dq : int32[n]
        only rows with dq == 0 enter the statistics; all rows of a voxel are judged; `data` etc. are in voxel
        order
    starts : int32[n_planes * ny * nx + 1]
        first row of each voxel
    first, last : int
        planes first .. last - 1 are judged
    method : int
        median: limit = median + sigma * (median absolute deviation); mean: mean + sigma * standard
        deviation (n-1); iraf: mean + sigma * sqrt(sum of variances) / n
    rule : int
        which neighbours count, see `neighbourhood`
    flags : uint8[n]
        set to 1 for cosmic rays
    """
    size = 256
    sample = np.empty(size, np.float64)
    work = np.empty(size, np.float64)
    n_spaxels = nx * ny
    for k in range(first, last):
        for iy in range(ny):
            for ix in range(nx):
                own = k * n_spaxels + iy * nx + ix
                begin = starts[own]
                end = starts[own + 1]
                if begin == end:
                    continue
                highest = -np.inf
                for i in range(begin, end):
                    highest = max(highest, np.float64(data[i]))
                n = 0
                above = 0
                variance = 0.0
                for kk in range(max(k - 1, 0), min(k + 2, n_planes)):
                    for jy in range(max(iy - 1, 0), min(iy + 2, ny)):
                        if rule == NOT_SAME_Y and jy == iy:
                            x_low = x_high = ix
                            if kk != k:
                                continue
                        elif rule == NOT_SAME_X:
                            x_low = max(ix - 1, 0)
                            x_high = min(ix + 1, nx - 1)
                        else:
                            x_low = max(ix - 1, 0)
                            x_high = min(ix + 1, nx - 1)
                        base = kk * n_spaxels + jy * nx
                        if rule != NOT_SAME_X:
                            a = starts[base + x_low]
                            b = starts[base + x_high + 1]
                            if n + b - a > size:
                                size = max(2 * size, n + b - a)
                                bigger = np.empty(size, np.float64)
                                bigger[:n] = sample[:n]
                                sample = bigger
                                work = np.empty(size, np.float64)
                            for i in range(a, b):
                                if dq[i] == 0:
                                    value = np.float64(data[i])
                                    sample[n] = value
                                    n += 1
                                    above += value >= highest
                                    variance += np.float64(stat[i])
                        else:
                            for jx in range(x_low, x_high + 1):
                                if jx == ix and not (jy == iy and kk == k):
                                    continue
                                a = starts[base + jx]
                                b = starts[base + jx + 1]
                                if n + b - a > size:
                                    size = max(2 * size, n + b - a)
                                    bigger = np.empty(size, np.float64)
                                    bigger[:n] = sample[:n]
                                    sample = bigger
                                    work = np.empty(size, np.float64)
                                for i in range(a, b):
                                    if dq[i] == 0:
                                        value = np.float64(data[i])
                                        sample[n] = value
                                        n += 1
                                        above += value >= highest
                                        variance += np.float64(stat[i])
                if n < 2:
                    continue
                if method == MEDIAN:
                    # with half of the sample at or above the highest row the median is no lower:
                    # nothing to flag
                    if 2 * above > n:
                        continue
                    for i in range(n):
                        work[i] = sample[i]
                    centre = _median(work, n)
                    if not highest > centre:
                        continue
                    # the deviation is at least `reach` when more than half of the sample is that far away
                    reach = (highest - centre) / sigma
                    far = 0
                    for i in range(n):
                        far += abs(sample[i] - centre) > reach
                    if 2 * far > n:
                        continue
                    for i in range(n):
                        work[i] = abs(sample[i] - centre)
                    limit = centre + sigma * _median(work, n)
                else:
                    total = 0.0
                    for i in range(n):
                        total += sample[i]
                    centre = total / n
                    if method == MEAN:
                        square = 0.0
                        for i in range(n):
                            square += (sample[i] - centre) ** 2
                        limit = centre + sigma * math.sqrt(square / (n - 1))
                    else:
                        limit = centre + sigma * math.sqrt(variance) / n
                for i in range(begin, end):
                    if np.float64(data[i]) > limit:
                        flags[i] = 1

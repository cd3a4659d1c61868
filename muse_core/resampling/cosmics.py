# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray rejection: each row against the statistics of the rows in the 27 voxels around it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from muse_core.resampling.cosmic_screen import (
    ALL_NEIGHBOURS,
    NOT_SAME_X,
    NOT_SAME_Y,
    highest_row,
    is_harmless,
    settle_plane,
)

COSMIC_RAY = 0x20
IRAF, MEAN, MEDIAN = 0, 1, 2
_COPIED = 8
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
def _median(values, n):
    """Return the median of values[:n] (mean of the two middle ones for even n).

    Found by counting: for the few tens of values here that is faster than selecting, because the counts run
    in vector registers.
    """
    half = n // 2
    for i in range(n):
        value = values[i]
        below = 0
        same = 0
        for j in range(n):
            below += values[j] < value
            same += values[j] == value
        if below <= half < below + same:
            if n % 2 or below < half:
                return np.float64(value)
            lower = np.float64(-np.inf)
            for j in range(n):
                if values[j] < value:
                    lower = max(lower, np.float64(values[j]))
            return 0.5 * (lower + np.float64(value))
    return np.nan


@njit(cache=True, nogil=True)
def keep_good(column, dq, starts, kept, kept_starts):
    """Copy the good rows (dq == 0) of a column one behind the other.

    Parameters
    ----------
    column, dq : float32[n], int32[n]
        in voxel order
    starts : int32[m + 1]
        first row of each voxel
    kept : float32[>= n + 1]
        filled with the good rows
    kept_starts : int32[m + 1]
        filled with the first good row of each voxel
    """
    before = np.empty(column.size + 1, np.int32)
    count = 0
    for i in range(column.size):
        before[i] = count
        kept[count] = column[i]
        count += dq[i] == 0
    before[column.size] = count
    for voxel in range(starts.size):
        kept_starts[voxel] = before[starts[voxel]]


@njit(cache=True, nogil=True, inline="always")
def _copy(source, first, last, target, at):
    """Copy source[first:last] to target[at:], eight at a time and eight at least.

    Both arrays must have room for eight more. The processor cannot foresee how few rows a voxel has, so
    copying just these costs more.
    """
    i, j = np.uint64(first), np.uint64(at)
    while True:
        a, b, c, d = source[i], source[i + np.uint64(1)], source[i + np.uint64(2)], source[i + np.uint64(3)]
        e, f, g, h = (
            source[i + np.uint64(4)],
            source[i + np.uint64(5)],
            source[i + np.uint64(6)],
            source[i + np.uint64(7)],
        )
        target[j], target[j + np.uint64(1)], target[j + np.uint64(2)], target[j + np.uint64(3)] = a, b, c, d
        (
            target[j + np.uint64(4)],
            target[j + np.uint64(5)],
            target[j + np.uint64(6)],
            target[j + np.uint64(7)],
        ) = e, f, g, h
        i += np.uint64(8)
        j += np.uint64(8)
        if i >= np.uint64(last):
            break


@njit(cache=True, nogil=True)
def _limit(sample, variance, work, n, highest, method, sigma):
    """Return the value above which a row is a cosmic ray (infinity if `highest` cannot be one)."""
    if method == MEDIAN:
        above = 0
        for i in range(n):
            above += sample[i] >= highest
        # with half of the sample at or above the highest row the median is no lower: nothing to flag
        if 2 * above > n:
            return np.inf
        centre = _median(sample, n)
        if not highest > centre:
            return np.inf
        # the deviation is at least `reach` when more than half of the sample is that far away
        reach = (np.float64(highest) - centre) / sigma
        far = 0
        for i in range(n):
            work[i] = abs(np.float64(sample[i]) - centre)
            far += work[i] > reach
        if 2 * far > n:
            return np.inf
        return centre + sigma * _median(work, n)
    total = 0.0
    for i in range(n):
        total += np.float64(sample[i])
    centre = total / n
    if method == IRAF:
        return centre + sigma * math.sqrt(variance) / n
    square = 0.0
    for i in range(n):
        square += (np.float64(sample[i]) - centre) ** 2
    return centre + sigma * math.sqrt(square / (n - 1))


@njit(cache=True, nogil=True)
def flag_cosmics(data, stat, dq, starts, nx, ny, n_planes, first, last, method, sigma, rule, flags):
    """Flag rows far above the rows around them.

    Parameters
    ----------
    data, stat : float32[n]
    dq : int32[n]
        only rows with dq == 0 enter the statistics; all rows of a voxel are judged; all in voxel order
    starts : int32[n_planes * ny * nx + 1]
        first row of each voxel
    first, last : int
        planes first .. last - 1 are judged
    method : int
        median: limit = median + sigma * (median absolute deviation); mean: mean + sigma * standard deviation
        (n-1); iraf: mean + sigma * sqrt(sum of variances) / n
    rule : int
        which neighbours count, see `neighbourhood`
    flags : uint8[n]
        set to 1 for cosmic rays
    """
    values = np.empty(data.size + _COPIED, np.float32)
    good = np.empty(starts.size, np.int32)
    keep_good(data, dq, starts, values, good)
    variances = np.empty(data.size + 1 if method == IRAF else 0, np.float32)
    if method == IRAF:
        keep_good(stat, dq, starts, variances, good)
    size = 256
    sample = np.empty(size, np.float32)
    work = np.empty(size, np.float64)
    n_spaxels = nx * ny
    settled = np.zeros(n_spaxels, np.uint8)
    # counts of 27 voxels with up to nine rows fit into eight bits
    bits = 16 if good[starts.size - 1] > 7 * (starts.size - 1) else 8
    for k in range(first, last):
        if method == MEDIAN:
            settle_plane(data, starts, values, good, nx, ny, n_planes, k, bits, sigma, rule, settled)
        k_low, k_high = max(k - 1, 0), min(k + 2, n_planes)
        for iy in range(ny):
            y_low, y_high = max(iy - 1, 0), min(iy + 2, ny)
            for ix in range(nx):
                own = k * n_spaxels + iy * nx + ix
                begin = starts[own]
                end = starts[own + 1]
                if begin == end or settled[iy * nx + ix]:
                    continue
                highest = highest_row(data, begin, end)
                x_low, x_high = max(ix - 1, 0), min(ix + 1, nx - 1)
                n = 0
                variance = 0.0
                for kk in range(k_low, k_high):
                    for jy in range(y_low, y_high):
                        base = kk * n_spaxels + jy * nx
                        is_own = kk == k and jy == iy
                        from_x, to_x = x_low, x_high
                        if rule == NOT_SAME_Y and jy == iy:
                            if not is_own:
                                continue
                            from_x = to_x = ix
                        a = good[base + from_x]
                        b = good[base + to_x + 1]
                        if n + b - a + _COPIED > size:
                            size = 2 * (n + b - a + _COPIED)
                            sample = _grown(sample, n, size)
                            work = np.empty(size, np.float64)
                        if rule == NOT_SAME_X and not is_own:
                            # the voxels left and right, without the one between them
                            hole, after = good[base + ix], good[base + ix + 1]
                            _copy(values, a, hole, sample, n)
                            n += hole - a
                            if method == IRAF:
                                for i in range(a, hole):
                                    variance += np.float64(variances[i])
                            a = after
                        _copy(values, a, b, sample, n)
                        n += b - a
                        if method == IRAF:
                            for i in range(a, b):
                                variance += np.float64(variances[i])
                if n < 2:
                    continue
                if method == MEDIAN and is_harmless(highest, sample, n, sigma):
                    continue
                limit = _limit(sample, variance, work, n, highest, method, sigma)
                for i in range(begin, end):
                    if np.float64(data[i]) > limit:
                        flags[i] = 1


@njit(cache=True, nogil=True)
def _grown(values, n, size):
    """Return a copy of values[:n] with room for `size`."""
    bigger = np.empty(size, np.float32)
    for i in range(n):
        bigger[i] = values[i]
    return bigger

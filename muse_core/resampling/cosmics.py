# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray rejection: each row against the statistics of the rows in the 27 voxels around it."""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit
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
COPIED = 8
_MANY = 80  # values from which on a median bit by bit is faster
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
def median_of(values, n):
    """Return the median of float64 values[:n] (mean of the two middle ones for even n).

    Found by counting: for the few tens of values here that is faster than selecting, because the counts run
    in vector registers.
    """
    if n > _MANY:
        return _median_of_many(values, n)
    half = n // 2
    for i in range(n):
        value = values[i]
        below = 0
        same = 0
        for j in range(n):
            below += values[j] < value
            same += values[j] == value
        if below <= half < below + same:
            return value if n % 2 or below < half else 0.5 * (_next_below(values, n, value) + value)
    return np.nan


@njit(cache=True, nogil=True)
def _next_below(values, n, limit):
    lower = -np.inf
    for j in range(n):
        if values[j] < limit:
            lower = max(lower, values[j])
    return lower


@njit(cache=True, nogil=True)
def _median_of_many(values, n):
    """Return the median of float64 values[:n], found bit by bit in a time that grows with n only.

    The bits of a number, read as an integer, have the order of the numbers (turned round for negative ones).
    """
    half = n // 2
    bits = values[:n].view(np.int64)
    # the largest key with no more than `half` keys below it is that of the upper middle value
    low, high = np.int64(-(2**63)), np.int64(2**63 - 1)
    while low < high:
        middle = (low & high) + ((low ^ high) >> 1)
        if low + 1 == high or middle == low:
            middle = high
        below = 0
        for i in range(n):
            key = bits[i] ^ ((bits[i] >> 63) & np.int64(2**63 - 1))
            below += key < middle
        if below <= half:
            low = middle
        else:
            high = middle - 1
    same, below = 0, 0
    upper = 0.0
    for i in range(n):
        key = bits[i] ^ ((bits[i] >> 63) & np.int64(2**63 - 1))
        below += key < low
        if key == low:
            upper = values[i]
            same += 1
    if n % 2 or below < half:
        return upper
    return 0.5 * (_next_below(values, n, upper) + upper)


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


@njit(cache=True, nogil=True)
def room_for_neighbours(good):
    """Return scratch memory for the rows around any voxel, and how wide `settle_plane` has to count.

    Parameters
    ----------
    good : int32[m + 1]
        first good row of each voxel

    Returns
    -------
    float32[n], float32[n], float64[n], int
        for values, for variances, for what is worked out of them; bits
    """
    most = 0
    for voxel in range(good.size - 1):
        most = max(most, good[voxel + 1] - good[voxel])
    n = 27 * most + COPIED
    # counts of 27 voxels with up to nine rows fit into eight bits
    bits = 16 if good[good.size - 1] > 7 * (good.size - 1) else 8
    return np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.float64), bits


@njit(cache=True, nogil=True)
def _copy(source, first, last, target, at):
    """Copy source[first:last] to target[at:], eight at a time and eight at least.

    Both arrays must have room for eight more. The processor cannot foresee how few rows a voxel has, so
    copying just these costs more.
    """
    i, j = np.uint64(first), np.uint64(at)
    end = np.uint64(last)
    while True:
        for _ in range(8):
            target[j] = source[i]
            i += np.uint64(1)
            j += np.uint64(1)
        if i >= end:
            break


@njit(cache=True, nogil=True)
def collect_neighbours(values, good, nx, ny, n_planes, k, iy, ix, rule, sample):
    """Copy the good rows around voxel (k, iy, ix) to `sample` and return their number."""
    n = 0
    x_low, x_high = max(ix - 1, 0), min(ix + 1, nx - 1)
    for kk in range(max(k - 1, 0), min(k + 2, n_planes)):
        for jy in range(max(iy - 1, 0), min(iy + 2, ny)):
            base = (kk * ny + jy) * nx
            is_own = kk == k and jy == iy
            from_x, to_x = x_low, x_high
            if rule == NOT_SAME_Y and jy == iy:
                if not is_own:
                    continue
                from_x = to_x = ix
            a, b = good[base + from_x], good[base + to_x + 1]
            if rule == NOT_SAME_X and not is_own:
                # the voxels left and right, without the one between them
                hole, after = good[base + ix], good[base + ix + 1]
                _copy(values, a, hole, sample, n)
                n += hole - a
                a = after
            _copy(values, a, b, sample, n)
            n += b - a
    return n


@njit(cache=True, nogil=True)
def _limit(sample, variances, work, n, highest, method, sigma):
    """Return the value above which a row is a cosmic ray (infinity if `highest` cannot be one)."""
    for i in range(n):
        work[i] = sample[i]
    if method == MEDIAN:
        above = 0
        for i in range(n):
            above += sample[i] >= highest
        # with half of the sample at or above the highest row the median is no lower: nothing to flag
        if 2 * above > n:
            return np.inf
        centre = median_of(work, n)
        if not highest > centre:
            return np.inf
        for i in range(n):
            work[i] = abs(work[i] - centre)
        return centre + sigma * median_of(work, n)
    total = 0.0
    for i in range(n):
        total += work[i]
    centre = total / n
    if method == IRAF:
        variance = 0.0
        for i in range(n):
            variance += np.float64(variances[i])
        return centre + sigma * math.sqrt(variance) / n
    square = 0.0
    for i in range(n):
        square += (work[i] - centre) ** 2
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
    values = np.empty(data.size + COPIED, np.float32)
    good = np.empty(starts.size, np.int32)
    keep_good(data, dq, starts, values, good)
    errors = np.empty(data.size + COPIED if method == IRAF else 0, np.float32)
    if method == IRAF:
        keep_good(stat, dq, starts, errors, good)
    sample, variances, work, bits = room_for_neighbours(good)
    n_spaxels = nx * ny
    settled = np.zeros(n_spaxels, np.uint8)
    for k in range(first, last):
        if method == MEDIAN:
            settle_plane(data, starts, values, good, nx, ny, n_planes, k, bits, sigma, rule, settled)
        for spaxel in range(n_spaxels):
            begin = starts[k * n_spaxels + spaxel]
            end = starts[k * n_spaxels + spaxel + 1]
            if begin == end or settled[spaxel]:
                continue
            highest = highest_row(data, begin, end)
            iy = spaxel // nx
            ix = spaxel - iy * nx
            n = collect_neighbours(values, good, nx, ny, n_planes, k, iy, ix, rule, sample)
            if n < 3 or (method == MEDIAN and is_harmless(highest, sample, n, sigma)):
                continue
            if method == IRAF:
                collect_neighbours(errors, good, nx, ny, n_planes, k, iy, ix, rule, variances)
            limit = _limit(sample, variances, work, n, highest, method, sigma)
            for i in range(begin, end):
                if np.float64(data[i]) > limit:
                    flags[i] = 1

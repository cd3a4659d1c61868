# SPDX-License-Identifier: BSD-3-Clause
"""Which voxels cannot hold a cosmic ray: shown by counting, so that the medians of the others are enough.

The limit of a voxel is the median of the rows around it plus sigma times their median absolute deviation.
Both have lower bounds that follow from how many rows lie above a few chosen values, and such counts are
cheap: they are kept side by side in one 64-bit word per row, and the count of a neighbourhood is a sum.
"""

from __future__ import annotations

import numpy as np

from muse_core.framework.kernels import njit

ALL_NEIGHBOURS, NOT_SAME_Y, NOT_SAME_X = 0, 1, 2
_TILE_X, _TILE_Y = 64, 32


@njit(cache=True, nogil=True)
def sort_few(values, n):
    """Sort values[:n] in place, for some tens of them; NaN ends anywhere."""
    for i in range(1, n):
        value = values[i]
        j = i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@njit(cache=True, nogil=True)
def _place_pivots(values, good, nx, ny, k_low, k_high, y0, y1, x0, x1, sample, pivots, n_pivots):
    """Choose pivots that divide the rows of a tile about evenly; those not used are infinite.

    Returns
    -------
    bool
        False: too few rows, or no spread
    """
    total = 0
    for k in range(k_low, k_high):
        for y in range(y0, y1):
            base = (k * ny + y) * nx
            total += good[base + x1] - good[base + x0]
    if 2 * total < (k_high - k_low) * (y1 - y0) * (x1 - x0):
        return False
    stride = max(total // sample.size, 1)
    count = 0
    skip = 0
    for k in range(k_low, k_high):
        for y in range(y0, y1):
            base = (k * ny + y) * nx
            i = good[base + x0] + skip
            end = good[base + x1]
            while i < end and count < sample.size:
                sample[count] = values[i]
                count += 1
                i += stride
            skip = max(i - end, 0)
    sort_few(sample, count)
    # so far apart that the median of some twenty rows is seldom outside, and few enough rows between two
    span = 0.7 if n_pivots == 8 else 0.5
    pivots[:] = np.inf
    for p in range(n_pivots):
        at = int((0.5 + span * ((p + 0.5) / n_pivots - 0.5)) * (count - 1) + 0.5)
        low, high = max(at - 4, 0), min(at + 5, count)
        total_near = np.float32(0.0)
        for i in range(low, high):
            total_near += sample[i]
        pivots[p] = total_near / np.float32(high - low)
    return pivots[n_pivots - 1] > pivots[0]


@njit(cache=True, nogil=True)
def _count_above(values, first, last, pivots, bits, total):
    """Count rows above the pivots, one bit field per pivot, running along the rows.

    Parameters
    ----------
    values : float32[n]
        rows first .. last - 1 are counted
    total : uint64[last - first + 1]
        filled; the difference of two elements holds the counts between them if these fit their fields

    Returns
    -------
    bool
        whether a row is NaN, which has no place in the order
    """
    width = np.uint64(bits)
    # with four wide fields the last four pivots are infinite and count nothing
    upper = np.uint64(4) * width if bits == 8 else np.uint64(0)
    one, two, three = width, np.uint64(2) * width, np.uint64(3) * width
    p0, p1, p2, p3, p4, p5, p6, p7 = pivots
    unordered = 0
    total[0] = np.uint64(0)
    for i in range(last - first):
        v = values[first + i]
        unordered += v != v
        low = np.uint64(v > p0) + (np.uint64(v > p1) << one) + (np.uint64(v > p2) << two)
        low += np.uint64(v > p3) << three
        high = np.uint64(v > p4) + (np.uint64(v > p5) << one) + (np.uint64(v > p6) << two)
        high += np.uint64(v > p7) << three
        total[i + 1] = low + (high << upper)
    for i in range(last - first):
        total[i + 1] += total[i]
    return unordered > 0


@njit(cache=True, nogil=True)
def _prove_harmless(highest, words, counts, pivots, bits, sigma, settled, least):
    """Mark the voxels whose highest row the counts alone prove to be no cosmic ray.

    With more than half of the n rows above pivot a, the median is above it; with less than half above b, it
    is not above that. If less than half of the rows lie between two pivots at least r below a and above b,
    the median absolute deviation is at least r, and the limit at least a + sigma r.

    Parameters
    ----------
    highest : float32[m]
        highest row of each voxel
    words : uint64[m]
        rows of the neighbourhood above each pivot (8 fields of 8 bits or 4 of 16)
    counts : uint64[m]
        rows of the neighbourhood
    settled : uint8[m]
        filled
    """
    n_pivots = 64 // bits
    if bits == 8:
        ones = np.uint64(0x0101010101010101)
    else:
        ones = np.uint64(0x0001000100010001)
    last_field = np.uint64(64 - bits)
    top = np.uint64(bits - 1)
    half_range = np.int64(1) << np.int64(bits - 1)
    mask = np.uint64((1 << bits) - 1)
    for x in range(highest.size):
        n = np.int64(counts[x])
        word = words[x]
        # the highest bit of each field of the sum tells whether its count is above n / 2 (not below n / 2)
        above = word + np.uint64(half_range - 1 - n // 2) * ones
        reach = word + np.uint64(half_range - 1 - (n - 1) // 2) * ones
        a = np.int64((((above >> top) & ones) * ones) >> last_field) - 1
        b = np.int64((((reach >> top) & ones) * ones) >> last_field)
        value = np.float64(highest[x])
        harmless = False
        if n <= 2 * half_range - 1 and n >= least and a >= 0:
            at = np.float64(pivots[a])
            harmless = value <= at
            for step in range(1, 3):
                if a - step >= 0 and b + step < n_pivots:
                    low, high = pivots[a - step], pivots[b + step]
                    inside = np.int64((word >> np.uint64((a - step) * bits)) & mask) - np.int64(
                        (word >> np.uint64((b + step) * bits)) & mask
                    )
                    spread = min(at - np.float64(low), np.float64(high) - np.float64(pivots[b]))
                    bound = at + sigma * spread
                    # the margin is far above any rounding of the statistics themselves
                    harmless |= (2 * inside < n) & (value <= bound - 1e-9 * (abs(bound) + abs(value)))
        settled[x] = harmless


@njit(cache=True, nogil=True)
def settle_plane(data, starts, values, good, nx, ny, n_planes, k, bits, sigma, rule, settled, least=1):
    """Mark the voxels of plane k that cannot hold a cosmic ray, without any median.

    The rows above eight (or, with many rows in a voxel, four) values chosen per tile are counted in bit
    fields of one word; counts of the rows around a voxel are then sums of such words.

    Parameters
    ----------
    data : float32[n]
        all rows in voxel order, `starts` their first one in each voxel
    values : float32[m]
        the good rows, `good` their first one in each voxel
    bits : int
        width of a field, 8 or 16
    settled : uint8[ny * nx]
        set to 1 where nothing can be flagged, else to 0
    least : int
        voxels with fewer rows around them stay unsettled
    """
    sample = np.empty(64, np.float32)
    pivots = np.empty(8, np.float32)
    # counts above the pivots (0) and of rows (1): before the voxels of a line, in the three voxels along x,
    # in the voxels themselves, and in whole neighbourhoods
    before = np.empty((2, _TILE_X + 3), np.uint64)
    own_before = np.empty((2, _TILE_X + 3), np.uint64)
    three = np.empty((2, _TILE_Y + 2, _TILE_X), np.uint64)
    own = np.empty((2, _TILE_Y + 2, _TILE_X), np.uint64)
    around = np.empty((2, _TILE_X), np.uint64)
    highest = np.empty(_TILE_X, np.float32)
    total = np.empty(1024, np.uint64)
    nothing, everything = np.uint64(0), ~np.uint64(0)
    without_centre = everything if rule == NOT_SAME_X else nothing
    own_line = nothing if rule == NOT_SAME_Y else everything
    own_voxel = nothing if rule == ALL_NEIGHBOURS else everything
    k_low, k_high = max(k - 1, 0), min(k + 2, n_planes)
    n_pivots = 64 // bits
    settled[:] = 0
    for y0 in range(0, ny, _TILE_Y):
        y1 = min(y0 + _TILE_Y, ny)
        for x0 in range(0, nx, _TILE_X):
            x1 = min(x0 + _TILE_X, nx)
            width = x1 - x0
            if not _place_pivots(
                values, good, nx, ny, k_low, k_high, y0, y1, x0, x1, sample, pivots, n_pivots
            ):
                continue
            three[:] = nothing
            own[:] = nothing
            unordered = False
            # places in `before` of the voxels x_first .. x_last; outside of the cube there is nothing
            x_first, x_last = max(x0 - 1, 0), min(x1 + 1, nx)
            lead, tail = x_first - (x0 - 1), x_last - (x0 - 1)
            for y in range(max(y0 - 1, 0), min(y1 + 1, ny)):
                line = y - y0 + 1
                before[:] = nothing
                own_before[:] = nothing
                for kk in range(k_low, k_high):
                    base = (kk * ny + y) * nx
                    first = good[base + x_first]
                    last = good[base + x_last]
                    if last - first + 1 > total.size:
                        total = np.empty(2 * (last - first + 1), np.uint64)
                    unordered |= _count_above(values, first, last, pivots, bits, total)
                    for x in range(lead, tail + 1):
                        at = good[base + x0 - 1 + x]
                        before[0, x] += total[at - first]
                        before[1, x] += np.uint64(at)
                        if kk == k:
                            own_before[0, x] = total[at - first]
                            own_before[1, x] = np.uint64(at)
                for c in range(2):
                    if lead == 1:
                        before[c, 0] = before[c, 1]
                    for x in range(tail + 1, width + 3):
                        before[c, x] = before[c, tail]
                    for x in range(width):
                        centre = before[c, x + 2] - before[c, x + 1]
                        three[c, line, x] = before[c, x + 3] - before[c, x] - (centre & without_centre)
                        own[c, line, x] = own_before[c, x + 2] - own_before[c, x + 1]
            if unordered:
                continue
            for y in range(y0, y1):
                line = y - y0 + 1
                for c in range(2):
                    for x in range(width):
                        around[c, x] = three[c, line - 1, x] + three[c, line + 1, x]
                        around[c, x] += (three[c, line, x] & own_line) + (own[c, line, x] & own_voxel)
                voxel = (k * ny + y) * nx + x0
                for x in range(width):
                    highest[x] = highest_row(data, starts[voxel + x], starts[voxel + x + 1])
                here = settled[y * nx + x0 : y * nx + x1]
                _prove_harmless(highest[:width], around[0], around[1], pivots, bits, sigma, here, least)


# the order of the sums does not matter here: the proof holds for any interval
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def is_harmless(highest, sample, n, sigma):
    """Prove without a median that the highest row is no cosmic ray, if that is easy.

    The median is looked for in an interval about the mean, which counting confirms or not. If more than half
    of the sample is further than r + e from a point within e of the median, it is further than r from the
    median, and r is less than the median absolute deviation.
    """
    mean = 0.0
    for i in range(n):
        mean += np.float64(sample[i])
    mean /= n
    if not mean - mean == 0.0:  # infinite or NaN
        return False
    spread = 0.0
    for i in range(n):
        spread += abs(np.float64(sample[i]) - mean)
    spread /= n
    top = np.float64(highest)
    centre = mean
    for _ in range(3):
        lower, upper = centre - 0.3 * spread, centre + 0.3 * spread
        above_lower, above_upper, far = 0, 0, 0
        reach = (top - lower) / sigma + 0.3 * spread
        reach += 1e-9 * (abs(centre) + abs(reach))  # far above any rounding of the statistics themselves
        for i in range(n):
            value = np.float64(sample[i])
            above_lower += value > lower
            above_upper += value > upper
            far += abs(value - centre) > reach
        if 2 * above_lower <= n:
            centre -= 0.5 * spread
        elif 2 * above_upper >= n:
            centre += 0.5 * spread
        else:
            return 2 * far > n
    return False


@njit(cache=True, nogil=True, inline="always")
def highest_row(data, begin, end):
    """Return the highest of some rows: NaN if all are, -inf if there is none."""
    if begin == end:
        return np.float32(-np.inf)
    highest = data[begin]
    for i in range(begin + 1, end):
        if data[i] > highest or highest != highest:
            highest = data[i]
    return highest

# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray rejection with a noise that knows the image: what the default mode uses.

A row is a cosmic ray if it is far above the rows around it, and if that light is not spread as light is.

* The noise of a row is expected from the variances of its neighbours, and the variation of the image (their
  scatter) is added where it is larger. The C pipeline has one of the two only: it misses cosmic rays where
  few rows scatter much by chance, and takes the middle of stars where they scatter little.
* The limit counts alike for all statistics: in units of 0.6745 times that noise, which is the median absolute
  deviation of normal noise.
* For means the judged row is left out, and so are neighbours that stand out themselves (at most a fifth).
* Where few neighbours of other slices are near (gaps, the border of the field) those of the same slice count
  as well.
* Stars and lines reach over their neighbours in all directions. A cosmic ray is a point or a narrow track: in
  one direction at least the neighbours are as dark as the darker ones of all.
"""

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
    sort_few,
)
from muse_core.resampling.cosmics import (
    COPIED,
    MEAN,
    MEDIAN,
    collect_neighbours,
    keep_good,
    median_of,
    room_for_neighbours,
)

_TO_SIGMA = 1.4826  # standard deviation over median absolute deviation of normal noise
_SPREAD = 0.15  # part of its height that the light of a source leaves on each of its neighbours, at least
_BRIGHTEST = 0.3  # the same for the brightest of several rows: those of two slices may differ much
_DARK = 0.25  # part of the neighbours that is darker than what counts as dark
_ENOUGH = 8  # neighbours; with fewer, those on the same slice count as well
_LEAST_NOISE = 0.5  # of the expected one, where the scatter of few rows is taken
_LEAST_SCATTER = 1.5  # the noise is no less than the scatter over this
_LARGEST_VARIANCE = 30.0  # of a neighbour, times that of the row
_KEPT = 0.8  # part of the neighbours that is taken for clean in the beginning


@njit(cache=True, nogil=True)
def flag_outliers(data, stat, dq, starts, nx, ny, n_planes, first, last, method, sigma, rule, flags):
    """Flag rows far above the rows around them; the parameters are those of `cosmics.flag_cosmics`.

    Parameters
    ----------
    method : int
        median: median of the neighbours, noise from their variances plus what their median absolute deviation
        exceeds it; mean: mean, noise from variances and standard deviation; iraf: mean, noise from the
        variances plus what the standard deviation exceeds it
    sigma : float
        limit in units of 0.6745 times the noise
    """
    values = np.empty(data.size + COPIED, np.float32)
    good = np.empty(starts.size, np.int32)
    keep_good(stat, dq, starts, values, good)
    errors = values.copy()
    keep_good(data, dq, starts, values, good)
    sample, variances, work, bits = room_for_neighbours(good)
    n_spaxels = nx * ny
    settled = np.zeros(n_spaxels, np.uint8)
    proven = sigma / _LEAST_SCATTER
    for k in range(first, last):
        if method == MEDIAN:
            settle_plane(
                data, starts, values, good, nx, ny, n_planes, k, bits, proven, rule, settled, _ENOUGH
            )
        for spaxel in range(n_spaxels):
            begin = starts[k * n_spaxels + spaxel]
            end = starts[k * n_spaxels + spaxel + 1]
            if begin == end or settled[spaxel]:
                continue
            highest = highest_row(data, begin, end)
            iy = spaxel // nx
            ix = spaxel - iy * nx
            n = collect_neighbours(values, good, nx, ny, n_planes, k, iy, ix, rule, sample)
            chosen = rule
            if n < _ENOUGH and rule != ALL_NEIGHBOURS:
                chosen = ALL_NEIGHBOURS
                n = collect_neighbours(values, good, nx, ny, n_planes, k, iy, ix, chosen, sample)
            if n < 3 or not _may_stand_out(sample, n, np.float64(highest), method, proven, work):
                continue
            collect_neighbours(errors, good, nx, ny, n_planes, k, iy, ix, chosen, variances)
            own = _own_plane(good, nx, ny, k, iy, ix, chosen)
            before = _before_own_plane(good, nx, ny, k, iy, ix, chosen)
            expected = _expected_variance(variances, n, before, own, work)
            place = (k, iy, ix)
            shape = (n_planes, ny, nx)
            if method == MEDIAN:
                centre, scatter = _centre_and_scatter(sample, n, work)
                for i in range(begin, end):
                    value = np.float64(data[i])
                    limit = centre + _median_reach(scatter, n, _variance_of_row(expected, stat[i]), sigma)
                    if value > limit and not _is_light(
                        values, good, shape, place, value, _dark_level(sample, n, work), rule
                    ):
                        flags[i] = 1
            else:
                _judge_by_means(
                    data, stat, dq, begin, end, sample, n, expected, sigma, method, values, good, shape,
                    place, rule, work, flags,
                )  # fmt: skip


@njit(cache=True, nogil=True)
def _may_stand_out(sample, n, highest, method, proven, work):
    """Tell whether the highest row of a voxel needs a closer look, which costs more."""
    if method == MEDIAN:
        if is_harmless(np.float32(highest), sample, n, proven):
            return False
        for i in range(n):
            work[i] = sample[i]
        centre = median_of(work, n)
        if not highest > centre:
            return False
        for i in range(n):
            work[i] = abs(work[i] - centre)
        return highest > centre + proven * median_of(work, n)
    # a fifth of the sample, far above the rest, is two standard deviations above the mean of all (less where
    # the image varies)
    total, square = 0.0, 0.0
    for i in range(n):
        total += np.float64(sample[i])
    mean = total / n
    for i in range(n):
        square += (np.float64(sample[i]) - mean) ** 2
    return highest > mean + min(1.3, 0.12 * proven) * math.sqrt(square / n)


@njit(cache=True, nogil=True)
def _rows_between(good, nx, ny, k, y_low, y_high, ix, iy, rule):
    """Count the neighbours of a voxel in the lines y_low .. y_high - 1 of plane k, which is its own."""
    n = 0
    x_low, x_high = max(ix - 1, 0), min(ix + 1, nx - 1)
    for jy in range(max(y_low, 0), min(y_high, ny)):
        base = (k * ny + jy) * nx
        if jy == iy:
            if rule == NOT_SAME_Y:
                n += good[base + ix + 1] - good[base + ix]
            else:
                n += good[base + x_high + 1] - good[base + x_low]
        else:
            n += good[base + x_high + 1] - good[base + x_low]
            if rule == NOT_SAME_X:
                n -= good[base + ix + 1] - good[base + ix]
    return n


@njit(cache=True, nogil=True)
def _own_plane(good, nx, ny, k, iy, ix, rule):
    """Count the neighbours in the voxel's own plane."""
    return _rows_between(good, nx, ny, k, iy - 1, iy + 2, ix, iy, rule)


@njit(cache=True, nogil=True)
def _before_own_plane(good, nx, ny, k, iy, ix, rule):
    """Count the neighbours in the plane below, which come first in the sample."""
    if k == 0:
        return 0
    n = 0
    x_low, x_high = max(ix - 1, 0), min(ix + 1, nx - 1)
    for jy in range(max(iy - 1, 0), min(iy + 2, ny)):
        if rule == NOT_SAME_Y and jy == iy:
            continue
        base = ((k - 1) * ny + jy) * nx
        n += good[base + x_high + 1] - good[base + x_low]
        if rule == NOT_SAME_X:
            n -= good[base + ix + 1] - good[base + ix]
    return n


@njit(cache=True, nogil=True)
def _expected_variance(variances, n, before, own, work):
    """Return the variance of a row, and the mean variance of its neighbours.

    That of the row is the median of the neighbours, or that in its own plane if it is larger: next to a
    bright sky line most neighbours have less noise than the row itself.
    """
    for i in range(n):
        work[i] = variances[i]
    everywhere = median_of(work, n)
    for i in range(own):
        work[i] = variances[before + i]
    here = median_of(work, own) if own > 0 else 0.0
    expected = max(everywhere, here)
    if not (expected > 0.0 and math.isfinite(expected)):
        return 0.0, 0.0
    total = 0.0
    for i in range(n):
        # a cosmic ray has a large variance
        total += min(max(np.float64(variances[i]), 0.0), _LARGEST_VARIANCE * expected)
    return expected, total / n


@njit(cache=True, nogil=True)
def _variance_of_row(expected, variance):
    """Return the expected variance of a row, and the mean one of its neighbours.

    Its own variance counts if it is smaller: on the flank of a sky line the neighbours may have more noise. A
    larger one does not count, because a cosmic ray adds to it.
    """
    own, near = expected
    if 0.0 < variance < own:
        own = np.float64(variance)
    return own, near


@njit(cache=True, nogil=True)
def _centre_and_scatter(sample, n, work):
    """Return median and median absolute deviation (as a standard deviation) of the neighbours."""
    for i in range(n):
        work[i] = sample[i]
    centre = median_of(work, n)
    for i in range(n):
        work[i] = abs(work[i] - centre)
    return centre, _TO_SIGMA * median_of(work, n)


@njit(cache=True, nogil=True)
def _median_reach(scatter, n, expected, sigma):
    """Return how far above the median of its neighbours a row may be.

    The median absolute deviation of n rows is uncertain by 1.17 / sqrt(n) of itself: the image varies where
    it is twice that above the expected one.
    """
    own, near = expected
    chance = 1.0 + 2.3 / math.sqrt(n)
    variance = own + max(0.0, scatter * scatter - chance * chance * near)
    return sigma / _TO_SIGMA * max(math.sqrt(variance), scatter / _LEAST_SCATTER)


@njit(cache=True, nogil=True)
def _judge_by_means(
    data,
    stat,
    dq,
    begin,
    end,
    sample,
    n,
    expected,
    sigma,
    method,
    values,
    good,
    shape,
    place,
    rule,
    work,
    flags,
):
    """Judge the rows of a voxel from the highest down, each against those that are left."""
    for i in range(n):
        work[i] = sample[i]
    sort_few(work, n)
    while True:
        candidate = -1
        for i in range(begin, end):
            # NaN is no candidate
            if flags[i] == 0 and data[i] == data[i] and (candidate < 0 or data[i] > data[candidate]):
                candidate = i
        if candidate < 0:
            return
        value = np.float64(data[candidate])
        if dq[candidate] == 0:
            _remove(work, n, value)
            n -= 1
        if n < 2:
            return
        limit, kept = _mean_limit(work, n, _variance_of_row(expected, stat[candidate]), sigma, method)
        if not value > limit:
            return
        if _is_light(values, good, shape, place, value, work[int(_DARK * kept)], rule):
            return
        flags[candidate] = 1


@njit(cache=True, nogil=True)
def _mean_limit(ordered, n, expected, sigma, method):
    """Return the limit and how many neighbours count: those above the limit of the lower ones do not."""
    kept = 0
    mean, square = 0.0, 0.0  # running mean and sum of squares about it
    limit = np.inf
    least = int(math.ceil(_KEPT * n))
    own, near = expected
    while kept < n:
        value = ordered[kept]
        if kept >= least and value > limit:
            break
        kept += 1
        step = value - mean
        mean += step / kept
        square += step * (value - mean)
        scatter = square / max(kept - 1, 1)
        if method == MEAN:
            # the scatter of few rows is uncertain: only a part of what it differs from the expected counts
            excess = scatter - near
            variance = own + max(0.25 * excess, excess - 0.75 * near)
            variance = max(variance, _LEAST_NOISE * _LEAST_NOISE * own)
        else:
            variance = own + max(0.0, scatter - 1.5 * near)
        limit = mean + sigma / _TO_SIGMA * math.sqrt(variance)
    return limit, kept


@njit(cache=True, nogil=True)
def _dark_level(sample, n, work):
    """Return a value that a quarter of the neighbours is below."""
    for i in range(n):
        work[i] = sample[i]
    sort_few(work, n)
    return work[int(_DARK * n)]


@njit(cache=True, nogil=True)
def _is_light(values, good, shape, place, value, dark, rule):
    """Tell whether the light is spread over the neighbours on both sides in all directions: a source.

    Only sides with rows count. Across the slices one side of two is enough: an image of a star may be narrow
    there.
    """
    n_planes, ny, nx = shape
    k, iy, ix = place
    mean_least = dark + _SPREAD * (value - dark)
    brightest_least = dark + _BRIGHTEST * (value - dark)
    wide = 0
    for axis in range(3):
        sides, bright = 0, 0
        for step in (-1, 1):
            kk = k + step if axis == 0 else k
            jy = iy + step if axis == 1 else iy
            jx = ix + step if axis == 2 else ix
            if kk < 0 or kk >= n_planes or jy < 0 or jy >= ny or jx < 0 or jx >= nx:
                continue
            voxel = (kk * ny + jy) * nx + jx
            a, b = good[voxel], good[voxel + 1]
            if a == b:
                continue
            total, brightest = 0.0, -np.inf
            for i in range(a, b):
                total += np.float64(values[i])
                brightest = max(brightest, np.float64(values[i]))
            sides += 1
            bright += total > mean_least * (b - a) or brightest > brightest_least
        across = (axis == 1 and rule == NOT_SAME_Y) or (axis == 2 and rule == NOT_SAME_X)
        needed = sides - 1 if across else sides
        if bright < needed:
            return False
        wide += sides > 0
    return wide > 0


@njit(cache=True, nogil=True)
def _remove(ordered, n, value):
    """Take one value out of ordered[:n]; the others move up."""
    place = n - 1
    while place > 0 and ordered[place] != value:
        place -= 1
    for i in range(place, n - 1):
        ordered[i] = ordered[i + 1]

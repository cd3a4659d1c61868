# SPDX-License-Identifier: BSD-3-Clause
"""Fits of arc lines along the columns of a slice, each starting from its neighbour."""

from __future__ import annotations

import math

import numpy as np

from muse_core.arcs.gaussian_kernels import fit_gaussians
from muse_core.arcs.single_kernels import WORK, fit_single
from muse_core.framework.kernels import njit

HALF = 6  # rows beside a line that take part in its fit
FIXED_SIGMA = 2.61 / 1.25 / 2.35482  # pixels, of lines whose width is not fitted
NARROWEST, WIDEST = 0.3, 4.0  # pixels; another width is no line


@njit(cache=True, nogil=True, error_model="numpy")
def _guess(p, lines, backs, y, weight, expected):
    """Start from the places that are expected, the lowest value as background, and the heights there."""
    lowest = math.inf
    for j in range(y.size):
        if weight[j] > 0.0:
            lowest = min(lowest, y[j])
    for k in range(backs):
        p[2 * lines + k] = 0.0
    p[2 * lines] = lowest
    p[2 * lines + backs] = FIXED_SIGMA
    for i in range(lines):
        p[i] = expected[i]
        j = min(max(int(expected[i] + 0.5), 0), y.size - 1)
        height = 1.0
        for k in range(max(j - 1, 0), min(j + 2, y.size)):
            if weight[k] > 0.0:
                height = max(height, y[k] - lowest)
        p[lines + i] = height * FIXED_SIGMA * 2.5066282746310002


@njit(cache=True, nogil=True, error_model="numpy")
def _read_column(data, stat, dq, column, use_flagged, first, last, y, weight):
    """Copy the rows ``first`` to ``last`` (from 0) of a column, and their weights; 0 what has no weight."""
    for j in range(last - first + 1):
        variance = stat[first + j, column]
        usable = variance > 0.0 and (use_flagged or dq[first + j, column] == 0)
        weight[j] = 1.0 / variance if usable else 0.0
        # a flagged pixel may hold anything: 0 times NaN would spoil the sums
        y[j] = data[first + j, column] if weight[j] > 0.0 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _plausible(centre, area, error, expected, n):
    """Whether a line is near the place where it is expected, and above its background."""
    inside = -0.5 <= centre <= n - 0.5 and abs(centre - expected) <= HALF
    return inside and area > 0.0 and 0.0 < error < HALF


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(p, known, lines, backs, free_width, y, weight, n, expected, errors, work):
    """Fit the lines of a column: from those of the neighbour if they are ``known``, else from a guess."""
    for from_guess in (False, True):
        if from_guess:
            _guess(p, lines, backs, y[:n], weight[:n], expected)
        elif known:
            p[:lines] = expected
        else:
            continue
        if lines == 1 and backs == 1:
            errors[0] = fit_single(p, free_width, y, weight, n, work)
            good = True
        else:
            good = fit_gaussians(p, lines, backs, free_width, y[:n], weight[:n], errors)
        good = good and NARROWEST <= p[2 * lines + backs] <= WIDEST
        for i in range(lines):
            good = good and _plausible(p[i], p[lines + i], errors[i], expected[i], n)
        if good:
            return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def fit_along(
    data,
    stat,
    dq,
    x0,
    first,
    middle,
    last,
    use_flagged,
    lines,
    backs,
    free_width,
    below,
    above,
    expected,
    out,
):
    """Fit the lines of a group in all columns of a slice.

    Parameters
    ----------
    data, stat : float32[ny, n]; dq : int32[ny, n]
        All rows of the detector, from column ``x0`` (from 0) on.
    first, middle, last : int
        Columns from 1: from the middle down to the first, then from the middle up to the last.
    use_flagged : bool
        Whether flagged pixels count like others.
    lines, backs : int
        Gaussians, and coefficients of the background.
    free_width : bool
        Whether the common width is fitted.
    below, above : int
        Rows of the window before the first line and beyond the last one.
    expected : float64[lines]
        Rows (from 1) in the middle column.
    out : float64[last - first + 1, lines, 4], written
        Centre (row from 1), its error, sigma, area; NaN where the fit failed.
    """
    ny = data.shape[0]
    total = 2 * lines + backs + 1
    p, errors = np.empty(total), np.empty(total)
    previous, local = expected.copy(), np.empty(lines)
    start = expected.copy()
    # the window moves with the lines, and their distances may change a little from column to column
    room = int(expected[lines - 1] - expected[0]) + 4 * HALF + above
    y, weight, work = np.empty(room), np.empty(room), np.empty(WORK)
    known = False
    out[:] = math.nan
    x, step = middle, -1
    while step < 0 or x <= last:
        if step < 0 and x < first:
            step, x, known = 1, middle + 1, False
            previous[:] = start
            continue
        low = max(int(previous[0]) - below - 1, 0)
        high = min(int(previous[lines - 1]) + above - 1, ny - 1)
        n = high - low + 1
        good = False
        if 2 * lines + backs + 2 <= n <= room:
            _read_column(data, stat, dq, x - 1 - x0, use_flagged, low, high, y, weight)
            for i in range(lines):
                local[i] = previous[i] - 1 - low
            good = _fit(p, known, lines, backs, free_width, y, weight, n, local, errors, work)
        known = good
        if good:
            for i in range(lines):
                previous[i] = p[i] + low + 1
                out[x - first, i, 0] = previous[i]
                out[x - first, i, 1] = errors[i]
                out[x - first, i, 2] = p[2 * lines + backs]
                out[x - first, i, 3] = p[lines + i]
        if x == middle:
            start[:] = previous
        x += step

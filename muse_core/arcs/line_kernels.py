# SPDX-License-Identifier: BSD-3-Clause
"""Fits of arc lines along the columns of a slice, each starting from its neighbour."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from muse_core.arcs.gaussian_kernels import fit_gaussians

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
def _fit_column(data, stat, dq, column, use_flagged, lines, backs, free_width, above, expected, p, errors):
    """Fit the lines of one column; True if the result can be used. ``expected`` are rows from 1.

    ``above``: rows beyond the last line. ``p`` is as for `fit_gaussians`, with centres as rows from 1.
    """
    ny = data.shape[0]
    first = int(expected[0]) - HALF - 1
    last = int(expected[lines - 1]) + above - 1
    first, last = max(first, 0), min(last, ny - 1)
    n = last - first + 1
    if n < 2 * lines + backs + 2:
        return False
    y = np.empty(n)
    weight = np.empty(n)
    for j in range(n):
        y[j] = data[first + j, column]
        variance = stat[first + j, column]
        usable = variance > 0.0 and (use_flagged or dq[first + j, column] == 0)
        weight[j] = 1.0 / variance if usable else 0.0
    local = np.empty(lines)
    for i in range(lines):
        local[i] = expected[i] - 1 - first
    _guess(p, lines, backs, y, weight, local)
    if not fit_gaussians(p, lines, backs, free_width, y, weight, errors):
        return False
    sigma = p[2 * lines + backs]
    if not (NARROWEST <= sigma <= WIDEST):
        return False
    for i in range(lines):
        inside = -0.5 <= p[i] <= n - 0.5 and abs(p[i] - local[i]) <= HALF
        if not (inside and p[lines + i] > 0.0 and errors[i] > 0.0 and errors[i] < HALF):
            return False
        p[i] += first + 1
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def fit_along(
    data, stat, dq, x0, first, middle, last, use_flagged, lines, backs, free_width, above, expected, out
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
    above : int
        Rows of the window beyond the last line.
    expected : float64[lines]
        Rows (from 1) in the middle column.
    out : float64[last - first + 1, lines, 4], written
        Centre (row from 1), its error, sigma, area; NaN where the fit failed.
    """
    p = np.empty(2 * lines + backs + 1)
    errors = np.empty(2 * lines + backs + 1)
    previous = np.empty(lines)
    start = np.empty(lines)
    for i in range(lines):
        previous[i] = expected[i]
        start[i] = expected[i]
    out[:] = math.nan
    x = middle
    step = -1
    while True:
        if step < 0 and x < first:
            step = 1
            x = middle + 1
            for i in range(lines):
                previous[i] = start[i]
        if step > 0 and x > last:
            break
        if _fit_column(
            data, stat, dq, x - 1 - x0, use_flagged, lines, backs, free_width, above, previous, p, errors
        ):
            for i in range(lines):
                previous[i] = p[i]
                out[x - first, i, 0] = p[i]
                out[x - first, i, 1] = errors[i]
                out[x - first, i, 2] = p[2 * lines + backs]
                out[x - first, i, 3] = p[lines + i]
        if x == middle:
            for i in range(lines):
                start[i] = previous[i]
        x += step

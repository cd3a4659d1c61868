# SPDX-License-Identifier: BSD-3-Clause
"""Polynomials of one variable in a Legendre basis, with rejection."""

from __future__ import annotations

import math

import numpy as np

from muse_core.arcs.linear_kernels import solve
from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True, error_model="numpy")
def legendre(u, order, out):
    """Values of the Legendre polynomials at ``u``, to ``out`` (float64[order + 1])."""
    out[0] = 1.0
    if order > 0:
        out[1] = u
    for k in range(1, order):
        out[k + 1] = ((2 * k + 1) * u * out[k] - k * out[k - 1]) / (k + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def fit_legendre(u, y, kept, order, coefficients):
    """Least squares of the kept points; False if it is singular.

    ``u, y``: float64[n], ``u`` from -1 to 1; ``kept``: bool[n]; ``coefficients``: float64[order + 1],
    written.
    """
    terms = order + 1
    normal = np.zeros((terms, terms))
    row = np.empty(terms)
    # about their mean the values are small, and so are the errors of rounding
    mean = 0.0
    used = 0
    for i in range(u.size):
        if kept[i]:
            mean += y[i]
            used += 1
    if used < terms:
        return False
    mean /= used
    for k in range(terms):
        coefficients[k] = 0.0
    for i in range(u.size):
        if kept[i]:
            legendre(u[i], order, row)
            for a in range(terms):
                coefficients[a] += row[a] * (y[i] - mean)
                for b in range(a + 1):
                    normal[a, b] += row[a] * row[b]
    if not solve(normal, coefficients, terms):
        return False
    coefficients[0] += mean
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def fit_clipped(u, y, order, limit, kept, coefficients):
    """Fit, drop what is off by more than ``limit`` rms, and again; returns the mean square, NaN if singular.

    It ends when nothing is dropped or no more points than coefficients are left. Arrays as in
    `fit_legendre`; ``kept`` is updated.
    """
    row = np.empty(order + 1)
    residual = np.empty(u.size)
    good = np.empty(u.size, np.bool_)
    while True:
        if not fit_legendre(u, y, kept, order, coefficients):
            return np.nan
        square = 0.0
        used = 0
        for i in range(u.size):
            legendre(u[i], order, row)
            value = 0.0
            for a in range(order + 1):
                value += coefficients[a] * row[a]
            residual[i] = y[i] - value
            if kept[i]:
                square += residual[i] ** 2
                used += 1
        square /= used
        left = 0
        for i in range(u.size):
            good[i] = kept[i] and abs(residual[i]) <= limit * np.sqrt(square)
            left += good[i]
        if left == used or used <= order + 1 or left <= order:
            return square
        for i in range(u.size):
            kept[i] = good[i]


@njit(cache=True, nogil=True, error_model="numpy")
def series(u, coefficients, slope):
    """Value of a Legendre series at ``u``, and its derivative to ``slope[0]``."""
    last, now = 1.0, u
    last_slope, now_slope = 0.0, 1.0
    value, change = coefficients[0], 0.0
    for k in range(1, coefficients.size):
        value += coefficients[k] * now
        change += coefficients[k] * now_slope
        following = ((2 * k + 1) * u * now - k * last) / (k + 1)
        following_slope = last_slope + (2 * k + 1) * now
        last, now, last_slope, now_slope = now, following, now_slope, following_slope
    slope[0] = change
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def clip_line(fits, low, middle, order, limit, columns):
    """Choose the columns in which a line is on its smooth course, as `fit_clipped` does.

    Parameters
    ----------
    fits : float64[n, 4]
        From `fit_along`: of the columns from ``low`` on; NaN where there is none.
    low, middle : int
        First column, and the one the fits began in.
    order : int
        Of the polynomial.
    limit : float
        In rms.
    columns : int64[n], written
        The chosen ones, in the order of the fits: from the middle down, then up.

    Returns
    -------
    int, float
        Their number (0 if too few), and the mean square of their deviations.
    """
    n = fits.shape[0]
    found = 0
    for i in range(n):
        x = middle - i if i <= middle - low else low + i
        if math.isfinite(fits[x - low, 0]):
            columns[found] = x
            found += 1
    if found <= order:
        return 0, 0.0
    first, last = columns[0], columns[0]
    for i in range(found):
        first, last = min(first, columns[i]), max(last, columns[i])
    centre, half = 0.5 * (first + last), max(0.5 * (last - first), 1e-9)
    u, y, kept = np.empty(found), np.empty(found), np.ones(found, np.bool_)
    for i in range(found):
        u[i] = (columns[i] - centre) / half
        y[i] = fits[columns[i] - low, 0]
    square = fit_clipped(u, y, order, limit, kept, np.empty(order + 1))
    if not math.isfinite(square):
        return 0, 0.0
    left = 0
    for i in range(found):
        if kept[i]:
            columns[left] = columns[i]
            left += 1
    return left, square

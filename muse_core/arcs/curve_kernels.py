# SPDX-License-Identifier: BSD-3-Clause
"""Polynomials of one variable in a Legendre basis, with rejection."""

from __future__ import annotations

import numpy as np
from numba import njit

from muse_core.arcs.gaussian_kernels import solve


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

# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians on a straight background, fitted to a piece of a column (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

MOST_STEPS = 60
MOST_DAMPING = 1e10
PRECISION = 1e-12  # a relative gain in chi square below this is the end
NORM = 1.0 / math.sqrt(2.0 * math.pi)


@njit(cache=True, nogil=True, error_model="numpy")
def solve(matrix, rhs, n):
    """Solve ``n`` equations of a positive definite matrix in place (Cholesky); False if it is singular."""
    for j in range(n):
        for k in range(j):
            matrix[j, j] -= matrix[j, k] * matrix[j, k]
        if not matrix[j, j] > 0.0:
            return False
        matrix[j, j] = math.sqrt(matrix[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
    for i in range(n):
        for k in range(i):
            rhs[i] -= matrix[i, k] * rhs[k]
        rhs[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            rhs[i] -= matrix[k, i] * rhs[k]
        rhs[i] /= matrix[i, i]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(p, lines, backs, x, slope):
    """Model at ``x``; its derivatives go to ``slope`` (width last)."""
    sigma = p[2 * lines + backs]
    value = 0.0
    power = 1.0
    for k in range(backs):
        value += p[2 * lines + k] * power
        slope[2 * lines + k] = power
        power *= x
    wide = 0.0
    for i in range(lines):
        z = (x - p[i]) / sigma
        g = NORM / sigma * math.exp(-0.5 * z * z)
        area = p[lines + i]
        value += area * g
        slope[i] = area * g * z / sigma
        slope[lines + i] = g
        wide += area * g * (z * z - 1.0) / sigma
    slope[2 * lines + backs] = wide
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _sums(p, lines, backs, free, y, weight, matrix, rhs, slope):
    """Chi square; normal equations of the ``free`` first parameters go to ``matrix`` and ``rhs``."""
    chi = 0.0
    for a in range(free):
        rhs[a] = 0.0
        for b in range(a + 1):
            matrix[a, b] = 0.0
    for j in range(y.size):
        if weight[j] == 0.0:
            continue
        residual = y[j] - _evaluate(p, lines, backs, float(j), slope)
        chi += weight[j] * residual * residual
        for a in range(free):
            part = weight[j] * slope[a]
            rhs[a] += part * residual
            for b in range(a + 1):
                matrix[a, b] += part * slope[b]
    return chi


@njit(cache=True, nogil=True, error_model="numpy")
def fit_gaussians(p, lines, backs, free_width, y, weight, errors):
    """Fit Gaussians of one width on a polynomial to values at 0, 1, 2, ...

    Parameters
    ----------
    p : float64[2 * lines + backs + 1], updated
        Centres, areas, background (ascending powers), sigma; at the start a guess.
    lines, backs : int
        Number of Gaussians and of coefficients of the background.
    free_width : bool
        Whether sigma is fitted.
    y, weight : float64[n]
        Values and inverse variances; weight 0 leaves a value out.
    errors : float64[2 * lines + backs + 1], written
        From the covariance, not scaled with chi square; 0 for a fixed width.

    Returns
    -------
    bool
        False if there are too few values or the fit does not settle.
    """
    total = 2 * lines + backs + 1
    free = total if free_width else total - 1
    used = 0
    for j in range(y.size):
        used += weight[j] > 0.0
    if used < free:
        return False
    normal = np.zeros((total, total))
    matrix = np.zeros((total, total))
    rhs = np.zeros(total)
    step = np.zeros(total)
    slope = np.zeros(total)
    trial = p.copy()
    chi = _sums(p, lines, backs, free, y, weight, normal, rhs, slope)
    damping = 1e-3
    settled = False
    for _ in range(MOST_STEPS):
        for a in range(free):
            step[a] = rhs[a]
            for b in range(a + 1):
                matrix[a, b] = normal[a, b]
            matrix[a, a] *= 1.0 + damping
        if not solve(matrix, step, free):
            return False
        for a in range(free):
            trial[a] = p[a] + step[a]
        good = trial[total - 1] > 0.0
        new = math.inf
        if good:
            new = _sums(trial, lines, backs, free, y, weight, matrix, step, slope)
        if new <= chi:
            gain = chi - new
            for a in range(free):
                p[a] = trial[a]
                rhs[a] = step[a]
                for b in range(a + 1):
                    normal[a, b] = matrix[a, b]
            settled = gain <= PRECISION * chi
            chi = new
            damping = max(damping * 0.1, 1e-9)
            if settled:
                break
        else:
            damping *= 10.0
            if damping > MOST_DAMPING:
                settled = True
                break
    if not settled or not chi < math.inf:
        return False
    for a in range(total):
        errors[a] = 0.0
    for a in range(free):
        for b in range(free):
            step[b] = 1.0 if b == a else 0.0
            for c in range(b + 1):
                matrix[b, c] = normal[b, c]
        if not solve(matrix, step, free):
            return False
        errors[a] = math.sqrt(step[a])
    return True

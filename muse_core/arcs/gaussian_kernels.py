# SPDX-License-Identifier: BSD-3-Clause
"""Gaussians on a straight background, fitted to a piece of a column (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

import math

import numpy as np

from muse_core.arcs.linear_kernels import solve, take_step, try_step
from muse_core.framework.kernels import njit

MOST_STEPS = 60
MOST_DAMPING = 1e10
PRECISION = 1e-12  # a relative gain in chi square below this is the end
NORM = 1.0 / math.sqrt(2.0 * math.pi)


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
        if not try_step(p, normal, rhs, damping, free, matrix, step, trial):
            return False
        new = math.inf
        if trial[total - 1] > 0.0:
            new = _sums(trial, lines, backs, free, y, weight, matrix, step, slope)
        if new <= chi:
            settled = chi - new <= PRECISION * chi
            take_step(p, normal, rhs, free, matrix, step, trial)
            chi = new
            damping = max(damping * 0.1, 1e-9)
        else:
            damping *= 10.0
            settled = damping > MOST_DAMPING
        if settled:
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

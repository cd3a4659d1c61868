# SPDX-License-Identifier: BSD-3-Clause
"""Weighted fits of a two-dimensional Gaussian or Moffat profile to a star, by Levenberg and Marquardt.

Parameters, in this order: background, flux (of the whole profile), x, y, ax, ay, rho and, of a Moffat
profile, beta. With X = (x' - x) / ax, Y = (y' - y) / ay and q = (X^2 + Y^2 - 2 rho X Y) / (1 - rho^2):

    Gaussian   bg + flux / (2 pi ax ay sqrt(1 - rho^2)) exp(-q / 2)
    Moffat     bg + flux (beta - 1) / (pi ax ay sqrt(1 - rho^2)) (1 + q)^-beta
"""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit

GAUSSIAN, MOFFAT = 0, 1
BACKGROUND, FLUX, X, Y, AX, AY, RHO, BETA = range(8)
START_DAMPING, LARGEST_DAMPING = 1e-3, 1e40
STEEPEST = 50.0
"""Exponent beyond which a Moffat profile is a Gaussian, and not determined."""


@njit(cache=True, nogil=True)
def valid(kind, p):
    """Say whether parameters describe a profile."""
    if not (p[AX] > 0.0 and p[AY] > 0.0 and abs(p[RHO]) < 1.0):
        return False
    return kind == GAUSSIAN or 1.0 < p[BETA] < STEEPEST


@njit(cache=True, nogil=True)
def shape_at(kind, p, px, py, gradient):
    """Return the profile of flux 1 and its derivatives by x, y, ax, ay, rho and beta.

    Parameters
    ----------
    p : float64[8]
    px, py : float
        position
    gradient : float64[6], written
    """
    rho = p[RHO]
    u = 1.0 - rho * rho
    xs, ys = (px - p[X]) / p[AX], (py - p[Y]) / p[AY]
    q = (xs * xs + ys * ys - 2.0 * rho * xs * ys) / u
    if kind == GAUSSIAN:
        value = math.exp(-0.5 * q) / (2.0 * math.pi * p[AX] * p[AY] * math.sqrt(u))
        slope = -0.5 * value
    else:
        beta = p[BETA]
        log = math.log1p(q)
        value = (beta - 1.0) / (math.pi * p[AX] * p[AY] * math.sqrt(u)) * math.exp(-beta * log)
        slope = -beta * value / (1.0 + q)
        gradient[5] = value * (1.0 / (beta - 1.0) - log)
    dqx = 2.0 * (xs - rho * ys) / u
    dqy = 2.0 * (ys - rho * xs) / u
    gradient[0] = -slope * dqx / p[AX]
    gradient[1] = -slope * dqy / p[AY]
    gradient[2] = -slope * dqx * xs / p[AX] - value / p[AX]
    gradient[3] = -slope * dqy * ys / p[AY] - value / p[AY]
    gradient[4] = slope * (2.0 * rho * q - 2.0 * xs * ys) / u + value * rho / u
    return value


@njit(cache=True, nogil=True)
def chi_square(kind, p, data, weight, x0, y0):
    """Sum of the weighted squared residuals.

    Parameters
    ----------
    data, weight : float64[ny, nx]
        a window; weight is the inverse variance, 0 for pixels that do not count
    x0, y0 : float
        coordinates of its first pixel
    """
    gradient = np.empty(6)
    total = 0.0
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            if weight[y, x] > 0.0:
                model = p[BACKGROUND] + p[FLUX] * shape_at(kind, p, x0 + x, y0 + y, gradient)
                total += weight[y, x] * (data[y, x] - model) ** 2
    return total


@njit(cache=True, nogil=True)
def _normal_equations(kind, p, free, data, weight, x0, y0, matrix, vector):
    n = free.size
    matrix[:] = 0.0
    vector[:] = 0.0
    gradient = np.empty(6)
    full = np.empty(8)
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            w = weight[y, x]
            if not w > 0.0:
                continue
            shape = shape_at(kind, p, x0 + x, y0 + y, gradient)
            residual = data[y, x] - p[BACKGROUND] - p[FLUX] * shape
            full[BACKGROUND], full[FLUX] = 1.0, shape
            for k in range(6):
                full[2 + k] = p[FLUX] * gradient[k]
            for a in range(n):
                wa = w * full[free[a]]
                vector[a] += wa * residual
                for b in range(a + 1):
                    matrix[a, b] += wa * full[free[b]]
    for a in range(n):
        for b in range(a):
            matrix[b, a] = matrix[a, b]


@njit(cache=True, nogil=True)
def solve(matrix, vector, out):
    """Solve positive definite equations by Cholesky's method; False if they are not.

    Parameters
    ----------
    matrix : float64[n, n], overwritten
    vector : float64[n]
    out : float64[n], written
    """
    n = vector.size
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                matrix[i, i] = math.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(n):
        total = vector[i]
        for k in range(i):
            total -= matrix[i, k] * out[k]
        out[i] = total / matrix[i, i]
    for i in range(n - 1, -1, -1):
        total = out[i]
        for k in range(i + 1, n):
            total -= matrix[k, i] * out[k]
        out[i] = total / matrix[i, i]
    return True


@njit(cache=True, nogil=True)
def fit_profile(kind, p, free, data, weight, x0, y0, tolerance, times, most, variance):
    """Fit some parameters of a profile in a window.

    Parameters
    ----------
    kind : GAUSSIAN or MOFFAT
    p : float64[8], start values, become the result
    free : int64[n]
        numbers of the parameters that are fitted
    data, weight : float64[ny, nx]
    x0, y0 : float
        coordinates of the first pixel
    tolerance, times : float, int
        the fit ends when chi-square has shrunk by less than this part, so many times one after the other
    most : int
        steps at most
    variance : float64[8], written
        of the fitted parameters, from the curvature of chi-square (0 of the others)

    Returns
    -------
    float
        chi-square; -1 if the fit failed
    """
    n = free.size
    matrix, damped = np.empty((n, n)), np.empty((n, n))
    vector, step, trial = np.empty(n), np.empty(n), p.copy()
    variance[:] = 0.0
    if not valid(kind, p):
        return -1.0
    chi2 = chi_square(kind, p, data, weight, x0, y0)
    damping, count = START_DAMPING, 0
    _normal_equations(kind, p, free, data, weight, x0, y0, matrix, vector)
    for _ in range(most):
        if count >= times or damping > LARGEST_DAMPING or not np.isfinite(chi2):
            break
        damped[:] = matrix
        for a in range(n):
            damped[a, a] *= 1.0 + damping
        if not solve(damped, vector, step):
            damping *= 10.0
            continue
        trial[:] = p
        for a in range(n):
            trial[free[a]] += step[a]
        new = chi_square(kind, trial, data, weight, x0, y0) if valid(kind, trial) else np.inf
        if not new <= chi2:
            damping *= 10.0
            if np.isfinite(new) and new - chi2 < 1e-13 * chi2:  # nothing but rounding is left
                count += 1
            continue
        count = count + 1 if chi2 - new < tolerance * chi2 else 0
        damping *= 0.1
        chi2 = new
        p[:] = trial
        _normal_equations(kind, p, free, data, weight, x0, y0, matrix, vector)
    if not np.isfinite(chi2):
        return -1.0
    unit = np.zeros(n)
    for a in range(n):
        damped[:] = matrix
        unit[:] = 0.0
        unit[a] = 1.0
        if not solve(damped, unit, step):
            return -1.0
        variance[free[a]] = step[a]
    return chi2


@njit(cache=True, nogil=True)
def fit_flux(kind, p, data, weight, x0, y0):
    """Fit background and flux of a profile of known shape, in place: linear least squares.

    Returns
    -------
    float
        variance of the flux; -1 if the fit failed
    """
    gradient = np.empty(6)
    s, sm, smm, sd, smd = 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            w = weight[y, x]
            if w > 0.0:
                m = shape_at(kind, p, x0 + x, y0 + y, gradient)
                s += w
                sm += w * m
                smm += w * m * m
                sd += w * data[y, x]
                smd += w * m * data[y, x]
    det = s * smm - sm * sm
    if not det > 0.0:
        return -1.0
    p[FLUX] = (s * smd - sm * sd) / det
    p[BACKGROUND] = (smm * sd - sm * smd) / det
    return s / det

# SPDX-License-Identifier: BSD-3-Clause
"""Line profiles from the pixels of arc lines: Gaussians for their places, and local regressions."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from muse_core.arcs.gaussian_kernels import solve
from muse_core.postproc.lsf.profile_kernels import place_line, sample

MOST_STEPS = 100
PRECISION = 1e-13  # a relative gain below this is the end
NORM = 1.0 / math.sqrt(2.0 * math.pi)
TERMS_X, TERMS_L = 3, 4  # powers of the offset and of the wavelength
LEAST_ROWS = 21


@njit(cache=True, nogil=True, error_model="numpy")
def _profile_sums(x, y, p, matrix, rhs):
    total = 0.0
    for a in range(3):
        rhs[a] = 0.0
        for b in range(a + 1):
            matrix[a, b] = 0.0
    slope = np.empty(3)
    for i in range(x.size):
        z = (x[i] - p[0]) / p[2]
        g = NORM / p[2] * math.exp(-0.5 * z * z)
        residual = y[i] - p[1] * g
        slope[0] = p[1] * g * z / p[2]
        slope[1] = g
        slope[2] = p[1] * g * (z * z - 1.0) / p[2]
        total += residual * residual
        for a in range(3):
            rhs[a] += slope[a] * residual
            for b in range(a + 1):
                matrix[a, b] += slope[a] * slope[b]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def fit_line(x, y, p):
    """Fit a Gaussian without background, all values alike; False if it does not settle.

    Parameters
    ----------
    x, y : float64[n]
        Offset from the catalogue wavelength, value without background.
    p : float64[3], updated
        Centre, area, sigma; at the start a guess.
    """
    normal, matrix = np.zeros((3, 3)), np.zeros((3, 3))
    rhs, step, trial = np.zeros(3), np.zeros(3), np.zeros(3)
    total = _profile_sums(x, y, p, normal, rhs)
    damping = 1e-3
    for _ in range(MOST_STEPS):
        for a in range(3):
            step[a] = rhs[a]
            for b in range(a + 1):
                matrix[a, b] = normal[a, b]
            matrix[a, a] *= 1.0 + damping
        if not solve(matrix, step, 3):
            return False
        for a in range(3):
            trial[a] = p[a] + step[a]
        new = math.inf
        if trial[2] > 0.0:
            new = _profile_sums(x, y, trial, matrix, step)
        if new <= total:
            gain = total - new
            for a in range(3):
                p[a] = trial[a]
                rhs[a] = step[a]
                for b in range(a + 1):
                    normal[a, b] = matrix[a, b]
            total = new
            damping = max(damping * 0.1, 1e-9)
            if gain <= PRECISION * total:
                return True
        else:
            damping *= 10.0
            if damping > 1e10:
                return True
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def add_rows(x, z, v, first, step, half, normal, rhs, counts):
    """Add the rows of a slice to the normal equations of all samples.

    Parameters
    ----------
    x, z, v : float64[n]
        Offset from the line (Angstrom), normalised value, scaled wavelength of the line.
    first, step : float
        Offset of the first sample, and between two.
    half : float
        Half width of the window of a sample (Angstrom), both ends included.
    normal : float64[samples, 12, 12], rhs : float64[samples, 12], counts : int64[samples]
        Updated; of ``normal`` the lower half.
    """
    basis = np.empty(TERMS_X * TERMS_L)
    for i in range(x.size):
        low = max(int(math.floor((x[i] - half - first) / step)) - 1, 0)
        high = min(int(math.ceil((x[i] + half - first) / step)) + 1, rhs.shape[0] - 1)
        for j in range(low, high + 1):
            place = first + j * step
            if not (place - half <= x[i] <= place + half):
                continue
            u = (x[i] - place) / half
            power = 1.0
            for a in range(TERMS_X):
                wave = power
                for b in range(TERMS_L):
                    basis[a * TERMS_L + b] = wave
                    wave *= v[i]
                power *= u
            counts[j] += 1
            for a in range(TERMS_X * TERMS_L):
                rhs[j, a] += basis[a] * z[i]
                for b in range(a + 1):
                    normal[j, a, b] += basis[a] * basis[b]


@njit(cache=True, nogil=True, error_model="numpy")
def solve_samples(normal, rhs, counts, v, image):
    """Solve the samples of a slice; values at wavelengths ``v`` (scaled) go to ``image``; returns failures.

    ``image``: float64[wavelengths, samples]; samples that cannot be solved stay 0.
    """
    failed = 0
    for j in range(counts.size):
        if counts[j] < LEAST_ROWS or not solve(normal[j], rhs[j], TERMS_X * TERMS_L):
            failed += 1
            continue
        for k in range(v.size):
            value, power = 0.0, 1.0
            for b in range(TERMS_L):
                value += rhs[j, b] * power
                power *= v[k]
            image[k, j] = value
    return failed


@njit(cache=True, nogil=True, error_model="numpy")
def subtract_lines(image, total, moment, x_first, x_step, lam_first, lam_step, lam, line, flux, data):
    """Subtract the profile of each row's line, times its flux, from ``data`` (float32[n]).

    ``image``: float32[wavelengths, offsets + 2] with a zero on each side; ``total``, ``moment``: of its rows;
    ``lam``, ``line``, ``flux``: float32[n].
    """
    for i in range(lam.size):
        k, f, scale, shift = place_line(
            total, moment, x_first, x_step, lam_first, lam_step, np.float64(line[i])
        )
        x = np.float64(lam[i]) - np.float64(line[i]) + shift
        data[i] = np.float32(data[i] - flux[i] * scale * sample(image, k, f, x, x_first, x_step))

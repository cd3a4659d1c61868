# SPDX-License-Identifier: BSD-3-Clause
"""Pixels near an arc line, and the Gaussian that gives its wavelength and flux."""

from __future__ import annotations

import math

import numpy as np

from muse_core.arcs.linear_kernels import take_step, try_step
from muse_core.framework.kernels import njit

MOST_STEPS = 100
PRECISION = 1e-13  # a relative gain below this is the end
NORM = 1.0 / math.sqrt(2.0 * math.pi)
BACKGROUND_FROM = 5.5  # Angstrom from the line; measured against 2.8.7: whatever lsf_range is
START_SIGMA = 1.1  # Angstrom
FAR_SHARE, FAR_ROOT = 0.15, 0.5  # of the flux, and of its root: how far 2.8.7 lets a pixel be from its line
FITTED, NO_ROW, UNSETTLED = range(3)


@njit(cache=True, nogil=True)
def gather_line(
    data, stat, dq, x0, first, last, begin, lam, limits, line, half, offset, code, out_lam, out_data,
    out_stat, out_origin,
):  # fmt: skip
    """Copy the unflagged pixels of a slice near a line to flat arrays; returns their number.

    Parameters
    ----------
    data, stat : float32[ny, n]; dq : int32[ny, n]
        All rows of the detector, from column ``x0`` (from 0) on.
    first, last : int32[ny]
        Columns (from 1) of the slice.
    begin : int64[ny]
        Place in ``lam`` of the first pixel of each row.
    lam : float32[m]
        Wavelengths of all pixels of the slice, row by row.
    limits : float32[ny, 2]
        Smallest and largest wavelength of each row.
    line, half : float32
        Pixels with ``-half < lam - line <= half`` are taken (Angstrom).
    offset, code : int
        Of the column ``origin`` of a pixel table: where x begins, IFU and slice.
    out_lam, out_data, out_stat : float32[m]; out_origin : int32[m], written
    """
    n = 0
    low, high = line - half - 1, line + half + 1
    for y in range(first.size):
        if limits[y, 0] > high or limits[y, 1] < low:
            continue
        i = begin[y]
        for x in range(first[y], last[y] + 1):
            if dq[y, x - 1 - x0] == 0 and -half < lam[i] - line <= half:
                out_lam[n] = lam[i]
                out_data[n] = data[y, x - 1 - x0]
                out_stat[n] = stat[y, x - 1 - x0]
                out_origin[n] = ((x - offset) << 24) | ((y + 1) << 11) | code
                n += 1
            i += 1
    return n


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
        if not try_step(p, normal, rhs, damping, 3, matrix, step, trial):
            return False
        new = math.inf
        if trial[2] > 0.0:
            new = _profile_sums(x, y, trial, matrix, step)
        if new <= total:
            gain = total - new
            take_step(p, normal, rhs, 3, matrix, step, trial)
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
def measure_line(lam, data, stat, line, extra, result):
    """Measure the background of a line, and fit a Gaussian to the rest.

    Parameters
    ----------
    lam, data, stat : float32[n]
        Pixels near the line.
    line : float
        Its wavelength (Angstrom).
    extra : int
        Added to the number of the pixels of the background.
    result : float64[5], written
        Centre from the line (Angstrom), flux, sigma (Angstrom), background, noise of a pixel.

    Returns
    -------
    int
        FITTED, or why there is no result.
    """
    total, variance = 0.0, 0.0
    count = extra
    x, y = np.empty(lam.size), np.empty(lam.size)
    for i in range(lam.size):
        x[i] = np.float64(lam[i]) - line
        variance += np.float64(stat[i])
        if abs(x[i]) > BACKGROUND_FROM:
            total += np.float64(data[i])
            count += 1
    background = total / count if count > 0 else 0.0
    peak = -1
    for i in range(lam.size):
        y[i] = np.float64(data[i]) - background
        if abs(x[i]) < 3.0 * START_SIGMA and (peak < 0 or y[i] > y[peak]):
            peak = i
    if peak < 0:
        return NO_ROW
    p = result[:3]
    p[0], p[1], p[2] = x[peak], max(y[peak], 1.0) * START_SIGMA / NORM, START_SIGMA
    if not fit_line(x, y, p):
        return UNSETTLED
    result[3] = background
    result[4] = math.sqrt(variance / lam.size)
    return FITTED


@njit(cache=True, nogil=True, error_model="numpy")
def mark_near(lam, data, line, result, kept):
    """Mark the pixels that C 2.8.7 keeps of a line: those near the Gaussian, less (not plus) the background.

    Measured: ``abs(data - (gaussian - background)) <= 0.15 flux + 0.5 sqrt(flux)`` for 91 639 pixels.

    Parameters
    ----------
    lam, data : float32[n]
    line : float
        Wavelength of the catalogue (Angstrom).
    result : float64[5]
        Of `measure_line`.
    kept : bool[n], written
    """
    centre, flux, sigma, background = result[0], result[1], result[2], result[3]
    most = FAR_SHARE * flux + FAR_ROOT * math.sqrt(flux)
    for i in range(lam.size):
        z = (np.float64(lam[i]) - line - centre) / sigma
        model = flux * NORM / sigma * math.exp(-0.5 * z * z) - background
        kept[i] = abs(np.float64(data[i]) - model) <= most

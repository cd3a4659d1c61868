# SPDX-License-Identifier: BSD-3-Clause
"""Line profiles from the pixels of arc lines: local regressions."""

from __future__ import annotations

import math

import numpy as np

from muse_core.arcs.linear_kernels import solve
from muse_core.framework.kernels import njit
from muse_core.postproc.lsf.profile_kernels import place_line, sample

TERMS_X, TERMS_L = 3, 4  # powers of the offset and of the wavelength
LEAST_ROWS = 21


@njit(cache=True, nogil=True, error_model="numpy")
def _add_line(sums, values, seen, wave, normal, rhs, counts):
    """Add the sums of one line, whose scaled wavelength is ``wave``, to the normal equations; clear them."""
    powers = np.empty(2 * TERMS_L - 1)
    powers[0] = 1.0
    for b in range(1, powers.size):
        powers[b] = powers[b - 1] * wave
    for j in range(seen.size):
        if seen[j] == 0:
            continue
        counts[j] += seen[j]
        for row in range(TERMS_X * TERMS_L):
            a, b = row // TERMS_L, row % TERMS_L
            rhs[j, row] += values[j, a] * powers[b]
            for column in range(row + 1):
                c, d = column // TERMS_L, column % TERMS_L
                normal[j, row, column] += sums[j, a + c] * powers[b + d]
        sums[j] = 0.0
        values[j] = 0.0
        seen[j] = 0


@njit(cache=True, nogil=True, error_model="numpy")
def add_rows(x, z, v, first, step, half, normal, rhs, counts):
    """Add the rows of a slice to the normal equations of all samples.

    A line has one wavelength: sums over its rows, of powers of the offset alone, are enough.

    Parameters
    ----------
    x, z, v : float64[n]
        Offset from the line (Angstrom), normalised value, scaled wavelength of the line; line by line.
    first, step : float
        Offset of the first sample, and between two.
    half : float
        Half width of the window of a sample (Angstrom); measured against 2.8.7: the upper end is part of it.
    normal : float64[samples, 12, 12], rhs : float64[samples, 12], counts : int64[samples]
        Updated; of ``normal`` the lower half.
    """
    samples = counts.size
    sums, values = np.zeros((samples, 2 * TERMS_X - 1)), np.zeros((samples, TERMS_X))
    seen = np.zeros(samples, np.int64)
    for i in range(x.size):
        if i > 0 and v[i] != v[i - 1]:
            _add_line(sums, values, seen, v[i - 1], normal, rhs, counts)
        low = max(int(math.floor((x[i] - half - first) / step)) - 1, 0)
        high = min(int(math.ceil((x[i] + half - first) / step)) + 1, samples - 1)
        for j in range(low, high + 1):
            place = first + j * step
            if not (place - half < x[i] <= place + half):
                continue
            u = (x[i] - place) / half
            square = u * u
            sums[j, 0] += 1.0
            sums[j, 1] += u
            sums[j, 2] += square
            sums[j, 3] += square * u
            sums[j, 4] += square * square
            values[j, 0] += z[i]
            values[j, 1] += u * z[i]
            values[j, 2] += square * z[i]
            seen[j] += 1
    if x.size:
        _add_line(sums, values, seen, v[x.size - 1], normal, rhs, counts)


def change_sample(u, z, v, sign, normal, rhs):
    """Add rows to the normal equations of a sample, or take them away (``sign`` -1).

    ``u``: their distances from the sample in half windows, ``z``, ``v``: as of `add_rows` (float64[n]);
    ``normal``: float64[12, 12]; ``rhs``: float64[12].
    """
    powers = u[:, None, None] ** np.arange(TERMS_X)[:, None] * v[:, None, None] ** np.arange(TERMS_L)
    terms = powers.reshape(u.size, TERMS_X * TERMS_L)
    normal += sign * np.einsum("ni,nj->ij", terms, terms)
    rhs += sign * np.einsum("ni,n->i", terms, z)


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

# SPDX-License-Identifier: BSD-3-Clause
"""Flux of a star in one plane, in a circle or a square, with the background around it.

Positions are FITS pixels (the centre of the first one is 1). Rules measured against 2.8.7: fluxes to 1e-7,
errors to 1e-6.
"""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit

RING = 10.0
"""Width of the ring [pixel] in which the background of a circle is measured."""
STRIP = 5
"""Width of the strips [pixel] beside a square."""
CLIP = 3.0


@njit(cache=True, nogil=True)
def clipped_mean(values):
    """Mean, variance and number of values, again and again without those beyond three standard deviations.

    Parameters
    ----------
    values : float64[n], overwritten
    """
    n = values.size
    mean, variance = 0.0, 0.0
    while n > 0:
        mean = 0.0
        for i in range(n):
            mean += values[i]
        mean /= n
        variance = 0.0
        for i in range(n):
            variance += (values[i] - mean) ** 2
        variance /= n
        limit = CLIP * math.sqrt(variance)
        kept = 0
        for i in range(n):
            if abs(values[i] - mean) <= limit:
                values[kept] = values[i]
                kept += 1
        if kept == n:
            break
        n = kept
    return mean, variance, n


@njit(cache=True, nogil=True)
def circle_flux(data, stat, x, y, radius, inner):
    """Sum the pixels within a radius, above the background of a ring.

    Parameters
    ----------
    data, stat : float64[ny, nx]
    inner : float
        radius at which the ring begins

    Returns
    -------
    flux, error
        error -1 if it failed
    """
    ny, nx = data.shape
    ring = np.empty(ny * nx)
    n, members = 0, 0
    total, variance = 0.0, 0.0
    for iy in range(ny):
        for ix in range(nx):
            distance = math.sqrt((ix + 1 - x) ** 2 + (iy + 1 - y) ** 2)
            if distance <= radius:
                total += data[iy, ix]
                variance += stat[iy, ix]
                members += 1
            elif inner <= distance <= inner + RING:
                ring[n] = data[iy, ix]
                n += 1
    if members == 0 or n == 0:
        return 0.0, -1.0
    mean, spread, kept = clipped_mean(ring[:n])
    if kept == 0:
        return 0.0, -1.0
    error = math.sqrt(max(variance + members * spread + members * members * spread / kept, 0.0))
    return total - members * mean, error


@njit(cache=True, nogil=True)
def square_limits(x, y, half):
    """First and last column, first and last row (from 0, inclusive) of a square about a position."""
    return int(x - half) - 1, int(x + half) - 1, int(y - half) - 1, int(y + half) - 1


@njit(cache=True, nogil=True)
def square_background(data, x1, x2, y1, y2):
    """Mean of the medians of the strips on four sides, and the variance of the mean; -1 outside of the image.

    Parameters
    ----------
    data : float64[ny, nx]
    x1, x2, y1, y2 : int
        limits of the square, inclusive
    """
    ny, nx = data.shape
    if x1 - STRIP < 0 or y1 - STRIP < 0 or x2 + STRIP >= nx or y2 + STRIP >= ny or x2 < x1 or y2 < y1:
        return 0.0, -1.0
    level, variance = 0.0, 0.0
    for side in range(4):
        if side == 0:
            strip = data[y1 : y2 + 1, x1 - STRIP : x1].copy().ravel()
        elif side == 1:
            strip = data[y1 : y2 + 1, x2 + 1 : x2 + 1 + STRIP].copy().ravel()
        elif side == 2:
            strip = data[y1 - STRIP : y1, x1 : x2 + 1].copy().ravel()
        else:
            strip = data[y2 + 1 : y2 + 1 + STRIP, x1 : x2 + 1].copy().ravel()
        median = np.median(strip)
        deviation = 0.0
        for value in strip:
            deviation += abs(value - median)
        level += median / 4.0
        variance += (deviation / strip.size) ** 2 / 16.0
    return level, variance


@njit(cache=True, nogil=True)
def square_flux(data, stat, x, y, half):
    """Sum the pixels of a square, above the background beside it.

    Returns
    -------
    flux, error
        error -1 if it failed
    """
    x1, x2, y1, y2 = square_limits(x, y, half)
    level, spread = square_background(data, x1, x2, y1, y2)
    if spread < 0.0:
        return 0.0, -1.0
    total, variance = 0.0, 0.0
    for iy in range(y1, y2 + 1):
        for ix in range(x1, x2 + 1):
            total += data[iy, ix]
            variance += stat[iy, ix]
    n = (x2 - x1 + 1) * (y2 - y1 + 1)
    around = 2 * STRIP * (x2 - x1 + 1 + y2 - y1 + 1)
    return total - n * level, math.sqrt(max(variance + n * spread + n * n * spread / around, 0.0))

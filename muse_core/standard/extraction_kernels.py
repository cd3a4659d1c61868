# SPDX-License-Identifier: BSD-3-Clause
"""Flux of a star in a run of planes: apertures, or fits of a profile."""

from __future__ import annotations

import numpy as np

from muse_core.framework.kernels import njit
from muse_core.standard.aperture_kernels import circle_flux, square_background, square_flux, square_limits
from muse_core.stars.plane_kernels import fill_gaps, mean_width
from muse_core.stars.profile_kernels import FLUX, GAUSSIAN, MOFFAT, fit_flux, fit_profile

CIRCLE, SQUARE, FIT_GAUSSIAN, FIT_MOFFAT = range(4)
CIRCLE_SIZE, SQUARE_SIZE = 4.0, 3.0
"""Radius of the circle, half size of the square, in units of the full width at half maximum."""
RING_START = 1.25
START_BETA = 2.5
GAUSSIAN_SIGMA = 1.1774100225154747
"""Half width at half maximum over the standard deviation."""


@njit(cache=True, nogil=True)
def measure_planes(
    data, stat, x, y, ix, iy, reference, edge, method, tolerance, times, most, flux, error, sizes, parameters
):
    """Measure a star in planes.

    Parameters
    ----------
    data, stat : float32[n, ny, nx]
    x, y : float
        place of the star, FITS pixels
    ix, iy : int
        its pixel, from 0
    reference : float
        smallest width of the star that is believed [pixel]
    edge : float
        largest half size of the aperture
    method : CIRCLE, SQUARE, FIT_GAUSSIAN or FIT_MOFFAT
    tolerance, times, most : float, int, int
        see `profile_kernels.fit_profile`
    flux, error : float64[n], written
        error -1 where a plane failed
    sizes : float64[n, 2], written
        width of the star, radius or half size
    parameters : float64[n, 9], written
        of the profile, and chi-square
    """
    ny, nx = data.shape[1:]
    plane, variance = np.empty((ny, nx)), np.empty((ny, nx))
    scatter = np.empty(8)
    n_free = 8 if method == FIT_MOFFAT else 7
    free = np.arange(n_free)
    kind = MOFFAT if method == FIT_MOFFAT else GAUSSIAN
    for k in range(data.shape[0]):
        flux[k], error[k] = 0.0, -1.0
        sizes[k, :] = 0.0
        parameters[k, :] = np.nan
        fill_gaps(data[k], stat[k], plane, variance)
        if np.isnan(plane[iy, ix]):
            continue
        width = max(reference, mean_width(plane, ix, iy))
        sizes[k, 0] = width
        if method == CIRCLE:
            wanted = CIRCLE_SIZE * width
            radius = min(wanted, edge)
            sizes[k, 1] = radius
            inner = radius + 1.0 if wanted > edge else RING_START * radius
            flux[k], error[k] = circle_flux(plane, variance, x, y, radius, inner)
            continue
        half = min(SQUARE_SIZE * width, edge)
        sizes[k, 1] = half
        if half < 1.0:
            continue
        if method == SQUARE:
            flux[k], error[k] = square_flux(plane, variance, x, y, half)
            continue
        x1, x2, y1, y2 = square_limits(x, y, half)
        level, spread = square_background(plane, x1, x2, y1, y2)
        if method == FIT_GAUSSIAN:
            x1, x2 = int(x) - int(half) - 1, int(x) + int(half) - 1
            y1, y2 = int(y) - int(half) - 1, int(y) + int(half) - 1
        if x1 < 0 or y1 < 0 or x2 >= nx or y2 >= ny:
            continue
        window = plane[y1 : y2 + 1, x1 : x2 + 1]
        if spread < 0.0:
            level = np.median(window.copy().ravel())
        weight = np.zeros(window.shape)
        for j in range(window.shape[0]):
            for i in range(window.shape[1]):
                if variance[y1 + j, x1 + i] > 0.0:
                    weight[j, i] = 1.0 / variance[y1 + j, x1 + i]
        p = parameters[k, :8]
        size = 0.5 * width / GAUSSIAN_SIGMA
        if kind == MOFFAT:
            size = 0.5 * width / np.sqrt(2.0 ** (1.0 / START_BETA) - 1.0)
        p[:] = np.array([level, (window - level).sum(), x, y, size, size, 0.0, START_BETA])
        chi2 = fit_profile(kind, p, free, window, weight, x1 + 1.0, y1 + 1.0, tolerance, times, most, scatter)
        parameters[k, 8] = chi2
        if chi2 >= 0.0 and scatter[FLUX] > 0.0:
            flux[k], error[k] = p[FLUX], np.sqrt(scatter[FLUX])


@njit(cache=True, nogil=True)
def fluxes_of_shapes(data, stat, shapes, x, y, half, flux, error):
    """Fit background and flux of a Moffat profile of known shape in planes.

    Parameters
    ----------
    data, stat : float32[n, ny, nx]
    shapes : float64[n, 8]
        parameters of the profile; background and flux are written
    x, y, half : float
        the window, as in `square_limits`
    flux, error : float64[n], written
    """
    ny, nx = data.shape[1:]
    plane, variance = np.empty((ny, nx)), np.empty((ny, nx))
    x1, x2, y1, y2 = square_limits(x, y, half)
    x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, nx - 1), min(y2, ny - 1)
    for k in range(data.shape[0]):
        flux[k], error[k] = 0.0, -1.0
        fill_gaps(data[k], stat[k], plane, variance)
        if np.isnan(plane[y1, x1]):
            continue
        weight = np.zeros((y2 + 1 - y1, x2 + 1 - x1))
        for j in range(weight.shape[0]):
            for i in range(weight.shape[1]):
                if variance[y1 + j, x1 + i] > 0.0:
                    weight[j, i] = 1.0 / variance[y1 + j, x1 + i]
        window = plane[y1 : y2 + 1, x1 : x2 + 1]
        found = fit_flux(MOFFAT, shapes[k], window, weight, x1 + 1.0, y1 + 1.0)
        if found > 0.0:
            flux[k], error[k] = shapes[k, FLUX], np.sqrt(found)

# SPDX-License-Identifier: BSD-3-Clause
"""Line profiles on rows: placed and sampled images, Gauss-Hermite shapes."""

from __future__ import annotations

import math

from muse_core.framework.kernels import njit
from muse_core.postproc.lsf.gauss_hermite import INV_SQRT_2PI, NORM_3, NORM_4, NORM_5, NORM_6


@njit(cache=True, nogil=True)
def place_line(total, moment, x_first, x_step, lam_first, lam_step, lam_line):  # noqa: ARG001
    """Return (row, weight of the next row, factor to unit integral, first moment) of a line in one slice.

    Parameters
    ----------
    total, moment : float64[n_lambda]
    """
    n = total.size
    place = min(max(0.0, (lam_line - lam_first) / lam_step), n - 1.0)  # in this order NaN becomes 0
    k = max(min(int(place), n - 2), 0)
    f = place - k
    k1 = min(k + 1, n - 1)
    s = (1.0 - f) * total[k] + f * total[k1]
    if s == 0.0 or math.isnan(s):
        return k, f, 0.0, 0.0
    m = (1.0 - f) * moment[k] + f * moment[k1]
    return k, f, 1.0 / (s * x_step), m / s


@njit(cache=True, nogil=True)
def place_lines(total, moment, x_first, x_step, lam_first, lam_step, lam, first_row, weight, scale, shift):
    """Fill the place, factor and centre of every line in every image (see `place_line`)."""
    for i in range(total.shape[0]):
        for j in range(lam.size):
            k, f, c, m = place_line(total[i], moment[i], x_first, x_step, lam_first, lam_step, lam[j])
            first_row[j] = k
            weight[j] = f
            scale[i, j] = c
            shift[i, j] = m


@njit(cache=True, nogil=True, inline="always")
def sample(image, k, f, x, x_first, x_step):
    """Return the (not normalised) value of the row ``k + f`` of a padded image at offset ``x``."""
    u = (x - x_first) / x_step + 1.0
    if not (u > 0.0 and u < image.shape[1] - 1):  # outside, or not a number
        return 0.0
    i = int(u)
    t = u - i
    k1 = min(k + 1, image.shape[0] - 1)
    low = (1.0 - t) * image[k, i] + t * image[k, i + 1]
    high = (1.0 - t) * image[k1, i] + t * image[k1, i + 1]
    return (1.0 - f) * low + f * high


@njit(cache=True, nogil=True, inline="always")
def double_integral(t, sigma, h3, h4, h5, h6):
    """Return F(t), see the head of the module."""
    u = t / sigma
    e = math.exp(-0.5 * u * u)
    u2 = u * u
    hermite = (
        h3 * NORM_3 * 2.0 * u
        + h4 * NORM_4 * (4.0 * u2 - 2.0)
        + h5 * NORM_5 * (8.0 * u2 - 12.0) * u
        + h6 * NORM_6 * ((16.0 * u2 - 48.0) * u2 + 12.0)
    )
    return sigma * (0.5 * u * math.erf(u * math.sqrt(0.5)) + (e + hermite * e * e) * INV_SQRT_2PI)


@njit(cache=True, nogil=True)
def hermite_profile(x, half_slit, half_bin, sigma, h3, h4, h5, h6):
    """Return the profile at an offset from the line, per Angstrom."""
    s, b = half_slit, half_bin
    value = double_integral(x + s + b, sigma, h3, h4, h5, h6) - double_integral(
        x + s - b, sigma, h3, h4, h5, h6
    )
    value -= double_integral(x - s + b, sigma, h3, h4, h5, h6) - double_integral(
        x - s - b, sigma, h3, h4, h5, h6
    )
    return value / (4.0 * s * b)

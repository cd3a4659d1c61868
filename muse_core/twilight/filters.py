# SPDX-License-Identifier: BSD-3-Clause
"""Image filters that know about masks."""

from __future__ import annotations

import numpy as np

from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True)
def masked_median(image, good, half_y, half_x, out):
    """Median of the good pixels around each pixel, bad ones included as centres.

    Parameters
    ----------
    image : float32[ny, nx]
    good : bool[ny, nx]
        Pixels that count; NaN never does.
    half_y, half_x : int
        The window has 2*half+1 pixels and is cut at the borders.
    out : float32[ny, nx]
        Written; NaN where the window holds no good pixel.
    """
    ny, nx = image.shape
    window = np.empty((2 * half_y + 1) * (2 * half_x + 1), image.dtype)
    for y in range(ny):
        for x in range(nx):
            n = 0
            for yy in range(max(y - half_y, 0), min(y + half_y + 1, ny)):
                for xx in range(max(x - half_x, 0), min(x + half_x + 1, nx)):
                    v = image[yy, xx]
                    if good[yy, xx] and not np.isnan(v):
                        j = n
                        while j > 0 and window[j - 1] > v:
                            window[j] = window[j - 1]
                            j -= 1
                        window[j] = v
                        n += 1
            if n == 0:
                out[y, x] = np.nan
            elif n % 2 == 1:
                out[y, x] = window[n // 2]
            else:
                out[y, x] = np.float32(0.5 * (np.float64(window[n // 2 - 1]) + np.float64(window[n // 2])))


@njit(cache=True, nogil=True)
def masked_gaussian(image, good, half, sigma, out):
    """Gaussian mean of the good pixels within ``half`` pixels; NaN where there is none (arrays as above)."""
    ny, nx = image.shape
    profile = np.empty(half + 1)
    for k in range(half + 1):
        profile[k] = np.exp(-0.5 * (k / sigma) ** 2)
    for y in range(ny):
        for x in range(nx):
            total = 0.0
            weight = 0.0
            for yy in range(max(y - half, 0), min(y + half + 1, ny)):
                for xx in range(max(x - half, 0), min(x + half + 1, nx)):
                    if good[yy, xx]:
                        w = profile[abs(yy - y)] * profile[abs(xx - x)]
                        total += w * image[yy, xx]
                        weight += w
            out[y, x] = np.float32(total / weight) if weight > 0 else np.nan


@njit(cache=True, nogil=True)
def exclude_edges(image, limit, region):
    """Take strong steps out of ``region`` (bool[ny, nx], in place).

    Of each pair of neighbours, first along y, then along x, whose values (float32[ny, nx]) differ by more
    than
    ``limit``, the one farther from 1 goes.
    """
    ny, nx = image.shape
    for dy, dx in ((1, 0), (0, 1)):
        for y in range(ny - dy):
            for x in range(nx - dx):
                a, b = image[y, x], image[y + dy, x + dx]
                if abs(a - b) > limit:
                    if abs(a - 1.0) > abs(b - 1.0):
                        region[y, x] = False
                    else:
                        region[y + dy, x + dx] = False

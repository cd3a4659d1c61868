# SPDX-License-Identifier: BSD-3-Clause
"""One plane of a cube: gaps are filled, the width of a star is measured.

Widths are those of `muse_core.resampling.quality` (the function cpl_image_get_fwhm of CPL), here compiled: a
standard star has thousands of planes.
"""

from __future__ import annotations

import numpy as np

from muse_core.framework.kernels import njit

DIAGONAL = 0.2
"""Weight of a diagonal neighbour in a filled gap, against 1 of one at a side (measured against 2.8.7)."""


@njit(cache=True, nogil=True)
def fill_gaps(data, stat, out_data, out_stat):
    """Copy a plane; pixels that are not finite become the mean of their neighbours, as often as it takes.

    Parameters
    ----------
    data, stat : float32[ny, nx]
    out_data, out_stat : float64[ny, nx], written
    """
    ny, nx = data.shape
    missing = 0
    for y in range(ny):
        for x in range(nx):
            good = np.isfinite(data[y, x]) and np.isfinite(stat[y, x])
            out_data[y, x] = data[y, x] if good else np.nan
            out_stat[y, x] = stat[y, x] if good else np.nan
            missing += not good
    if missing == ny * nx:
        return
    while missing > 0:
        new_data, new_stat = out_data.copy(), out_stat.copy()
        missing = 0
        for y in range(ny):
            for x in range(nx):
                if not np.isnan(out_data[y, x]):
                    continue
                total, first, second = 0.0, 0.0, 0.0
                for j in range(max(y - 1, 0), min(y + 2, ny)):
                    for i in range(max(x - 1, 0), min(x + 2, nx)):
                        if not np.isnan(out_data[j, i]):
                            weight = 1.0 if i == x or j == y else DIAGONAL
                            total += weight
                            first += weight * out_data[j, i]
                            second += weight * out_stat[j, i]
                if total > 0.0:
                    new_data[y, x], new_stat[y, x] = first / total, second / total
                else:
                    missing += 1
        out_data[:], out_stat[:] = new_data, new_stat


@njit(cache=True, nogil=True)
def _smoothed(profile, i):
    n = profile.size
    return (profile[max(i - 1, 0)] + profile[i] + profile[min(i + 1, n - 1)]) / 3.0


@njit(cache=True, nogil=True)
def profile_width(profile, centre):
    """Full width at half maximum about a pixel of a profile, -1 if it has none; see `quality.profile_width`.

    Parameters
    ----------
    profile : float64[n]
    centre : int
    """
    n = profile.size
    if n < 5 or not 0 < centre < n - 1 or not profile[centre] > 0.0:
        return -1.0
    left = right = centre
    if _smoothed(profile, centre + 1) > _smoothed(profile, centre):
        right += 1
    elif _smoothed(profile, centre - 1) > _smoothed(profile, centre):
        left -= 1
    while left > 0 and _smoothed(profile, left - 1) < _smoothed(profile, left):
        left -= 1
    while right + 1 < n and _smoothed(profile, right + 1) < _smoothed(profile, right):
        right += 1
    background = 0.5 * (_smoothed(profile, left) + _smoothed(profile, right))
    half = 0.5 * (profile[centre] + background)
    if not profile[centre] > half:
        return -1.0
    width = 0.0
    for step in (-1, 1):
        i = centre
        while profile[i] > half:
            i += step
            if not 0 <= i < n:
                return -1.0
        inner, outer = profile[i - step], profile[i]
        width += abs(i - step - centre) + (inner - half) / (inner - outer)
    return width


@njit(cache=True, nogil=True)
def mean_width(plane, ix, iy):
    """Mean of the widths along x and y about a pixel (from 0), -1 if one of them cannot be measured.

    Parameters
    ----------
    plane : float64[ny, nx]
    """
    ny, nx = plane.shape
    if not (0 <= ix < nx and 0 <= iy < ny):
        return -1.0
    along_x = profile_width(plane[iy, :].copy(), ix)
    along_y = profile_width(plane[:, ix].copy(), iy)
    if along_x <= 0.0 or along_y <= 0.0:
        return -1.0
    return 0.5 * (along_x + along_y)

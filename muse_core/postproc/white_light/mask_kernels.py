# SPDX-License-Identifier: BSD-3-Clause
"""Which rows lie on a mask image, by pixels or on the celestial sphere."""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit

RADIAN = math.pi / 180.0


@njit(cache=True, nogil=True)
def select_linear(x, y, mask, crpix1, crpix2, crval1, crval2, cd11, cd22, out):
    """Fill ``out`` with the mask values at pixel coordinates; return how many lie inside the image.

    Parameters
    ----------
    x, y : float32[n] or float64[n]
    mask : uint8[ny, nx]
    out : bool[n], written; True outside the image
    """
    ny, nx = mask.shape
    n_inside = 0
    for i in range(x.size):
        ix = math.floor((x[i] - crval1) / cd11 + crpix1 + 0.5) - 1
        iy = math.floor((y[i] - crval2) / cd22 + crpix2 + 0.5) - 1
        if 0 <= ix < nx and 0 <= iy < ny:
            out[i] = mask[int(iy), int(ix)] != 0
            n_inside += 1
        else:
            out[i] = True
    return n_inside


@njit(cache=True, nogil=True)
def count_linear(x, y, chosen, crpix1, crpix2, crval1, crval2, cd11, cd22, total):
    """Add the numbers of the chosen rows on the pixels of an image.

    Parameters
    ----------
    x, y : float32[n], chosen : bool[n]
    total : int64[ny, nx]   updated
    """
    ny, nx = total.shape
    for i in range(x.size):
        if not chosen[i]:
            continue
        ix = np.floor((np.float64(x[i]) - crval1) / cd11 + crpix1 + 0.5) - 1.0
        iy = np.floor((np.float64(y[i]) - crval2) / cd22 + crpix2 + 0.5) - 1.0
        if 0.0 <= ix < nx and 0.0 <= iy < ny:
            total[int(iy), int(ix)] += 1


@njit(cache=True, nogil=True)
def select_celestial(ra, dec, mask, crpix1, crpix2, crval1, crval2, cd_inverse, out):
    """Fill ``out`` with the mask values at celestial positions; return how many are inside.

    Parameters
    ----------
    ra, dec : float64[n]   degrees
    mask : uint8[ny, nx]
    cd_inverse : float64[2, 2]   pixels per degree; the projection is gnomonic, written out since a
        kernel works row by row (for arrays: `muse_core.data.tangent_plane`)
    out : bool[n], written; True outside the image
    """
    ny, nx = mask.shape
    n_inside = 0
    sin0 = math.sin(crval2 * RADIAN)
    cos0 = math.cos(crval2 * RADIAN)
    for i in range(ra.size):
        da = (ra[i] - crval1) * RADIAN
        d = dec[i] * RADIAN
        sin_d = math.sin(d)
        cos_d = math.cos(d)
        cos_a = math.cos(da)
        depth = sin_d * sin0 + cos_d * cos0 * cos_a
        out[i] = True
        if depth <= 0.0:
            continue
        xi = cos_d * math.sin(da) / depth / RADIAN
        eta = (sin_d * cos0 - cos_d * sin0 * cos_a) / depth / RADIAN
        ix = math.floor(cd_inverse[0, 0] * xi + cd_inverse[0, 1] * eta + crpix1 + 0.5) - 1
        iy = math.floor(cd_inverse[1, 0] * xi + cd_inverse[1, 1] * eta + crpix2 + 0.5) - 1
        if 0 <= ix < nx and 0 <= iy < ny:
            out[i] = mask[int(iy), int(ix)] != 0
            n_inside += 1
    return n_inside

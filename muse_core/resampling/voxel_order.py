# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that find the voxel of each row and put rows into voxel order."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from muse_core.data.memory import borrow
from muse_core.framework.kernels import njit
from muse_core.resampling.c_rounding import locate_through_angles
from muse_core.resampling.grid import OutputGrid

_SMALL_ANGLE = 0.1  # rad; the series below are good to 1e-17 there


def find_spaxels(
    grid: OutputGrid,
    reference: tuple[float, float],
    xpos: npt.NDArray[np.float32],
    ypos: npt.NDArray[np.float32],
    *,
    round_as_c: bool,
) -> npt.NDArray[np.int32]:
    """Return the spaxel (iy * nx + ix) of each row; rows outside of the grid go to its border.

    Parameters
    ----------
    reference : (float, float)
        coordinates to which the positions are relative (celestial grids)
    round_as_c : bool
        round as the C pipeline does
    """
    spaxel = borrow(xpos.size, np.int32)
    crval1, crval2 = grid.crval[:2]
    if grid.celestial:
        inverse = np.linalg.inv(np.array(grid.matrix))
        pole = (*map(float, reference), crval1, crval2, inverse, grid.crpix[0], grid.crpix[1])
        locate = locate_through_angles if round_as_c else locate_celestial
        locate(xpos, ypos, *pole, grid.nx, grid.ny, spaxel)
    else:
        steps = (grid.matrix[0][0], grid.matrix[1][1])
        locate_pixel(xpos, ypos, crval1, crval2, *steps, grid.nx, grid.ny, spaxel)
    return spaxel


@njit(cache=True, nogil=True)
def locate_celestial(xpos, ypos, ra_ref, dec_ref, ra0, dec0, inverse, crpix1, crpix2, nx, ny, spaxel):
    """Find the spaxel of each row on a tangent-plane grid; rows outside go to the border.

    Parameters
    ----------
    xpos, ypos : float32[n]
        RA - ra_ref, Dec - dec_ref in degrees
    ra_ref, dec_ref, ra0, dec0 : float
        reference of the stored positions and tangent point of the grid, degrees
    inverse : float64[2, 2]
        inverse of the spatial CD matrix
    spaxel : int32[n]
        filled with iy * nx + ix
    """
    rad = math.pi / 180.0
    if _covers_small_angles(inverse, crpix1, crpix2, nx, ny, dec0):
        _locate_near(xpos, ypos, ra_ref, dec_ref, ra0, dec0, inverse, crpix1, crpix2, nx, ny, spaxel)
        return
    deg = 180.0 / math.pi
    sin0 = math.sin(dec0 * rad)
    cos0 = math.cos(dec0 * rad)
    for i in range(xpos.size):
        da = (np.float64(xpos[i]) + ra_ref - ra0) * rad
        d = (np.float64(ypos[i]) + dec_ref) * rad
        sind = math.sin(d)
        cosd = math.cos(d)
        cosa = math.cos(da)
        height = sind * sin0 + cosd * cos0 * cosa
        xi = deg * cosd * math.sin(da) / height
        eta = deg * (sind * cos0 - cosd * sin0 * cosa) / height
        px = inverse[0, 0] * xi + inverse[0, 1] * eta + crpix1 - 1.0
        py = inverse[1, 0] * xi + inverse[1, 1] * eta + crpix2 - 1.0
        spaxel[i] = _nearest(py, ny) * nx + _nearest(px, nx)


@njit(cache=True, nogil=True)
def _covers_small_angles(inverse, crpix1, crpix2, nx, ny, dec0):
    """Tell whether the grid lies within half of `_SMALL_ANGLE` of its tangent point in both coordinates."""
    determinant = inverse[0, 0] * inverse[1, 1] - inverse[0, 1] * inverse[1, 0]
    if determinant == 0.0:
        return False
    widest = 0.0
    for corner in range(4):
        x = (nx if corner & 1 else 1) - crpix1
        y = (ny if corner & 2 else 1) - crpix2
        xi = (inverse[1, 1] * x - inverse[0, 1] * y) / determinant
        eta = (inverse[0, 0] * y - inverse[1, 0] * x) / determinant
        widest = max(widest, math.sqrt(xi * xi + eta * eta) * math.pi / 180.0)
    highest = abs(dec0) * math.pi / 180.0 + widest
    return highest < 1.5 and widest < 0.5 * _SMALL_ANGLE * math.cos(highest)


@njit(cache=True, nogil=True, error_model="numpy")
def _locate_near(xpos, ypos, ra_ref, dec_ref, ra0, dec0, inverse, crpix1, crpix2, nx, ny, spaxel):
    """Do the work of `locate_celestial` with series for small angles, on vector registers.

    Rows further than `_SMALL_ANGLE` from the tangent point are outside of the grid and stay so when their
    angles are limited.
    """
    rad = math.pi / 180.0
    deg = 180.0 / math.pi
    sin0 = math.sin(dec0 * rad)
    cos0 = math.cos(dec0 * rad)
    a11, a12, a21, a22 = deg * inverse[0, 0], deg * inverse[0, 1], deg * inverse[1, 0], deg * inverse[1, 1]
    s3, s5, s7, s9 = -1 / 6, 1 / 120, -1 / 5040, 1 / 362880
    c2, c4, c6, c8, c10 = 1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800
    turn = 1.0 / 360.0
    x0, y0 = crpix1 - 0.5, crpix2 - 0.5
    x_end, y_end = nx - 1.0, ny - 1.0
    for i in range(xpos.size):
        da = np.float64(xpos[i]) + ra_ref - ra0
        da = (da - 360.0 * np.floor(da * turn + 0.5)) * rad
        d = (np.float64(ypos[i]) + dec_ref - dec0) * rad
        da = _SMALL_ANGLE if da > _SMALL_ANGLE else da
        da = -_SMALL_ANGLE if da < -_SMALL_ANGLE else da
        d = _SMALL_ANGLE if d > _SMALL_ANGLE else d
        d = -_SMALL_ANGLE if d < -_SMALL_ANGLE else d
        a2 = da * da
        d2 = d * d
        sina = da * (1.0 + a2 * (s3 + a2 * (s5 + a2 * (s7 + a2 * s9))))
        # 1 - cos: nothing is lost to rounding
        versa = a2 * (c2 + a2 * (c4 + a2 * (c6 + a2 * (c8 + a2 * c10))))
        sin_d = d * (1.0 + d2 * (s3 + d2 * (s5 + d2 * (s7 + d2 * s9))))
        cos_d = 1.0 - d2 * (c2 + d2 * (c4 + d2 * (c6 + d2 * (c8 + d2 * c10))))
        cosd = cos0 * cos_d - sin0 * sin_d
        scale = 1.0 / (cos_d - cos0 * cosd * versa)
        xi = cosd * sina * scale
        eta = (sin_d + sin0 * cosd * versa) * scale
        px = a11 * xi + a12 * eta + x0
        py = a21 * xi + a22 * eta + y0
        # NaN ends in the first voxel, as in `_nearest`
        px = px if px > 0.0 else 0.0
        py = py if py > 0.0 else 0.0
        px = px if px < x_end else x_end
        py = py if py < y_end else y_end
        spaxel[i] = np.int32(py) * nx + np.int32(px)


@njit(cache=True, nogil=True, error_model="numpy")
def locate_pixel(xpos, ypos, crval1, crval2, step1, step2, nx, ny, spaxel):
    """Find the spaxel of each row on a grid in the pixel plane; see `locate_celestial`."""
    for i in range(xpos.size):
        px = (np.float64(xpos[i]) - crval1) / step1
        py = (np.float64(ypos[i]) - crval2) / step2
        spaxel[i] = _nearest(py, ny) * nx + _nearest(px, nx)


@njit(cache=True, nogil=True, error_model="numpy")
def locate_plane(lam, crval, crpix, step, logarithmic, nz, plane):
    """Find the plane of each row (int32[n]); rows outside go to the first or last plane."""
    for i in range(lam.size):
        value = np.float64(lam[i])
        if logarithmic:
            position = crval / step * math.log(value / crval) + crpix - 1.0
        else:
            position = (value - crval) / step + crpix - 1.0
        plane[i] = _nearest(position, nz)


@njit(cache=True, nogil=True, inline="always")
def _nearest(position, size):
    # NaN compares false with everything and ends in the first voxel, as any position below the grid
    if not position >= 0.5:
        return 0
    if position >= size - 0.5:
        return size - 1
    return int(math.floor(position + 0.5))


@njit(cache=True, nogil=True)
def number_voxels(spaxel, first_plane, n_planes, n_spaxels, voxel):
    """Turn planes into voxel numbers.

    Parameters
    ----------
    spaxel : int32[n]
    voxel : int32[n]
        holds the plane of each row; becomes (plane - first_plane) * n_spaxels + spaxel, or -1 outside of
        these planes
    """
    for i in range(voxel.size):
        k = voxel[i] - first_plane
        inside = (k >= 0) & (k < n_planes)
        voxel[i] = k * n_spaxels + spaxel[i] if inside else -1


@njit(cache=True, nogil=True)
def count_rows(voxel, counts):
    """Add the number of rows of each voxel to `counts` (int32); negative voxels do not count."""
    for i in range(voxel.size):
        if voxel[i] >= 0:
            counts[voxel[i]] += 1


@njit(cache=True, nogil=True)
def place_rows(voxel, following, rows, placed, target):
    """Copy rows to their places in voxel order, stable.

    Parameters
    ----------
    voxel : int32[n]
        of each row; negative = left out
    following : int32[m + 1]
        next free place of each voxel; moved on
    rows : tuple
        xpos, ypos, lam, data, stat : float32[n]; dq : int32[n]; weight : float32[n], or float32[1] for all
        rows; number of the exposure
    placed : tuple
        the same with exposure : uint16[m], filled at the places of these rows; weight and exposure may be
        empty, if they are not wanted
    target : int32[n] or int32[0]
        filled with the place of each row, -1 for those left out, if it is wanted
    """
    xpos, ypos, lam, data, stat, dq, weight, number = rows
    xpos_to, ypos_to, lam_to, data_to, stat_to, dq_to, weight_to, exposure_to = placed
    wants_target, weighted, numbered = target.size > 0, weight_to.size > 0, exposure_to.size > 0
    each = np.uint64(1 if weight.size > 1 else 0)
    for i in range(voxel.size):
        v = voxel[i]
        if v < 0:
            if wants_target:
                target[i] = -1
            continue
        place = np.uint64(following[np.uint64(v)])  # unsigned: cannot count from the end, which costs a test
        following[np.uint64(v)] += 1
        xpos_to[place] = xpos[i]
        ypos_to[place] = ypos[i]
        lam_to[place] = lam[i]
        data_to[place] = data[i]
        stat_to[place] = stat[i]
        dq_to[place] = dq[i]
        if weighted:
            weight_to[place] = weight[np.uint64(i) * each]
        if numbered:
            exposure_to[place] = number
        if wants_target:
            target[i] = place

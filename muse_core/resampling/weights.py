# SPDX-License-Identifier: BSD-3-Clause
"""Weighted resampling: every row adds to the voxels around it.

Offsets between a row and a voxel centre are measured in nominal pixels: on the sky (with the cosine of the
voxel's declination) for celestial grids, plainly in the pixel plane, and in units of 1.25 Angstrom along
wavelength.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit
from muse_core.resampling.drizzle import drizzle_rows
from muse_core.resampling.grid import NOMINAL_STEP_A
from muse_core.resampling.voxel_types import VoxelGrid, VoxelRows

NEAREST, LINEAR, QUADRATIC, RENKA, DRIZZLE, LANCZOS = range(6)
METHODS = {
    "nearest": NEAREST,
    "linear": LINEAR,
    "quadratic": QUADRATIC,
    "renka": RENKA,
    "drizzle": DRIZZLE,
    "lanczos": LANCZOS,
}
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Resampling:
    """How rows are distributed over voxels.

    Parameters
    ----------
    method : one of `METHODS`
    pixfrac : 3 floats
        drizzle: size of the dropped pixel along x, y, wavelength
    rc : float
        renka: critical radius in units of the diagonal of an output voxel
    ld : int
        loop distance: rows of the voxels within +- ld take part
    """

    method: str = "drizzle"
    pixfrac: tuple[float, float, float] = (0.8, 0.8, 0.8)
    rc: float = 1.25
    ld: int = 1


@njit(cache=True, nogil=True, inline="always")
def _lanczos(u: float, ld: float) -> float:
    if u >= ld:
        return 0.0
    if u == 0.0:
        return 1.0
    x = math.pi * u
    return math.sin(x) / x * math.sin(x / ld) / (x / ld)


def add_rows(
    rows: VoxelRows,
    grid: VoxelGrid,
    first_plane: int,
    n_planes: int,
    out_first: int,
    resampling: Resampling,
    sums: npt.NDArray[np.float64],
) -> None:
    """Add rows in voxel order to the voxels within the loop distance of their own.

    Parameters
    ----------
    rows : VoxelRows
        of the planes first_plane .. first_plane + n_planes - 1 of the cube
    out_first : int
        cube plane of sums[0]
    resampling : Resampling
        any method but nearest
    sums : float64[n_out, ny, nx, 3]
        sum of w d, of w, of w^2 s; updated in place. A row that is not finite makes its whole
        neighbourhood NaN.
    """
    ld = max(int(resampling.ld), 1)
    planes = (first_plane, n_planes, out_first)
    if resampling.method == "drizzle":
        x, y, z = map(float, resampling.pixfrac)
        spaxels = {name: getattr(grid, name).ravel() for name in ("centre1", "centre2", "cosine")}
        nx = grid.centre1.shape[1]
        drizzle_rows(rows, grid._replace(**spaxels), nx, *planes, (x, y, z), ld, sums.reshape(-1, 3))
    else:
        add_weighted_rows(rows, grid, *planes, METHODS[resampling.method], float(resampling.rc), ld, sums)


@njit(cache=True, nogil=True)
def add_weighted_rows(
    rows: VoxelRows,
    grid: VoxelGrid,
    first_plane: int,
    n_planes: int,
    out_first: int,
    method: int,
    rc: float,
    ld: int,
    sums: np.ndarray,
) -> None:
    """Do the work of `add_rows` for weights that are functions of the distance from the voxel's centre."""
    starts, xpos, ypos, lam, data, stat, dq, weight = rows
    centre1, centre2, cosine, plane_lam, plane_step, (ref1, ref2), (scale1, scale2), (step1, step2) = grid
    ny, nx = centre1.shape
    n_out = sums.shape[0]
    n_spaxels = nx * ny
    width = 2 * ld + 1
    wx = np.empty((width, width), np.float64)
    wy = np.empty((width, width), np.float64)
    for k in range(n_planes):
        plane = first_plane + k
        k_low = max(plane - ld, out_first)
        k_high = min(plane + ld, out_first + n_out - 1)
        if k_low > k_high:
            continue
        for s in range(n_spaxels):
            begin = starts[k * n_spaxels + s]
            end = starts[k * n_spaxels + s + 1]
            if begin == end:
                continue
            iy = s // nx
            ix = s - iy * nx
            y_low = max(iy - ld, 0)
            y_high = min(iy + ld, ny - 1)
            x_low = max(ix - ld, 0)
            x_high = min(ix + ld, nx - 1)
            for i in range(begin, end):
                if dq[i] != 0:
                    continue
                world1 = np.float64(xpos[i]) + ref1
                world2 = np.float64(ypos[i]) + ref2
                value = np.float64(data[i])
                variance = np.float64(stat[i])
                finite = math.isfinite(value)
                own_weight = np.float64(weight[i]) if weight.size else 1.0
                for jy in range(y_low, y_high + 1):
                    for jx in range(x_low, x_high + 1):
                        ux = abs(centre1[jy, jx] - world1) * cosine[jy, jx] / scale1
                        uy = abs(centre2[jy, jx] - world2) / scale2
                        if method == LANCZOS:
                            wx[jy - y_low, jx - x_low] = _lanczos(ux, ld) * _lanczos(uy, ld)
                        else:
                            wx[jy - y_low, jx - x_low] = ux * ux
                            wy[jy - y_low, jx - x_low] = uy * uy
                for kk in range(k_low, k_high + 1):
                    ul = abs(plane_lam[kk] - np.float64(lam[i])) / NOMINAL_STEP_A
                    step3 = plane_step[kk]
                    w3 = 0.0
                    radius = 0.0
                    if method == LANCZOS:
                        w3 = _lanczos(ul, ld)
                    elif method == RENKA:
                        radius = rc * math.sqrt(step1 * step1 + step2 * step2 + step3 * step3)
                    if finite and w3 == 0.0 and method == LANCZOS:
                        continue
                    for jy in range(y_low, y_high + 1):
                        for jx in range(x_low, x_high + 1):
                            if method == LANCZOS:
                                w = wx[jy - y_low, jx - x_low] * w3
                                if w == 0.0 and finite:
                                    continue
                            else:
                                square = wx[jy - y_low, jx - x_low] + wy[jy - y_low, jx - x_low] + ul * ul
                                if method == LINEAR:
                                    w = 1.0 / max(math.sqrt(square), _TINY)
                                elif method == QUADRATIC:
                                    w = 1.0 / max(square, _TINY)
                                else:
                                    u = math.sqrt(square)
                                    if u < radius:
                                        w = (radius - u) / (radius * max(u, 1e-150))
                                        w = w * w
                                    else:
                                        w = _TINY
                            w *= own_weight
                            voxel = sums[kk - out_first, jy, jx]
                            voxel[0] += w * value
                            voxel[1] += w
                            voxel[2] += w * w * variance


@njit(cache=True, nogil=True)
def finish_voxels(sums: np.ndarray, data: np.ndarray, stat: np.ndarray) -> None:
    """Turn sums into values: data = sum(w d) / sum(w), stat = sum(w^2 s) / sum(w)^2, NaN without weight.

    A sum of weights too small for a normal number counts as none.

    Parameters
    ----------
    sums : float64[n, ny, nx, 3]
    data, stat : float32[n, ny, nx]
        filled
    """
    n, ny, nx = data.shape
    for k in range(n):
        for iy in range(ny):
            for ix in range(nx):
                w = sums[k, iy, ix, 1]
                value = sums[k, iy, ix, 0]
                if abs(w) >= _TINY and not math.isnan(value):
                    data[k, iy, ix] = value / w
                    # the square of the smallest renka weight underflows; the variance is unknown then
                    square = w * w
                    stat[k, iy, ix] = sums[k, iy, ix, 2] / square if square != 0.0 else np.nan
                else:
                    data[k, iy, ix] = np.nan
                    stat[k, iy, ix] = np.nan


@njit(cache=True, nogil=True)
def nearest_rows(
    rows: VoxelRows, grid: VoxelGrid, out_first: int, data_out: np.ndarray, stat_out: np.ndarray
) -> None:
    """Give each voxel its own row nearest to the target point; NaN if that is bad or there is none.

    Parameters
    ----------
    rows : VoxelRows
        of the planes wanted
    grid : VoxelGrid
        its centres are the target points
    out_first : int
        cube plane of the first of them
    data_out, stat_out : float32[n_out, ny, nx]
        filled
    """
    starts, xpos, ypos, lam, data, stat, dq, _ = rows
    target1, target2, cosine, plane_lam, _, (ref1, ref2), (scale1, scale2), _ = grid
    ny, nx = target1.shape
    n_spaxels = nx * ny
    for k in range(data_out.shape[0]):
        for s in range(n_spaxels):
            iy = s // nx
            ix = s - iy * nx
            best = -1
            smallest = np.inf
            voxel = k * n_spaxels + s
            for i in range(starts[voxel], starts[voxel + 1]):
                ux = (target1[iy, ix] - (np.float64(xpos[i]) + ref1)) * cosine[iy, ix] / scale1
                uy = (target2[iy, ix] - (np.float64(ypos[i]) + ref2)) / scale2
                ul = (plane_lam[out_first + k] - np.float64(lam[i])) / NOMINAL_STEP_A
                distance = ux * ux + uy * uy + ul * ul
                if distance < smallest:
                    smallest = distance
                    best = i
            if best >= 0 and dq[best] == 0:
                data_out[k, iy, ix] = data[best]
                stat_out[k, iy, ix] = stat[best]
            else:
                data_out[k, iy, ix] = np.nan
                stat_out[k, iy, ix] = np.nan

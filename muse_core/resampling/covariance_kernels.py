# SPDX-License-Identifier: BSD-3-Clause
"""Sums over pairs of voxels that share rows: the covariance of the cube from the weights it was made with."""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit
from muse_core.resampling.grid import NOMINAL_STEP_A
from muse_core.resampling.voxel_types import VoxelGrid, VoxelRows
from muse_core.resampling.weights import DRIZZLE, LANCZOS, LINEAR, QUADRATIC

_TINY = np.finfo(np.float64).tiny


@njit(cache=True, nogil=True)
def _overlap(distance: float, drop: float, step: float) -> float:
    """Return the length that a dropped pixel shares with a voxel."""
    return max(0.0, min(0.5 * (drop + step) - distance, min(drop, step)))


@njit(cache=True, nogil=True)
def _sinc(u: float, ld: float) -> float:
    if u >= ld:
        return 0.0
    if u == 0.0:
        return 1.0
    x = math.pi * u
    return math.sin(x) / x * math.sin(x / ld) / (x / ld)


@njit(cache=True, nogil=True)
def _weight(ux, uy, ul, method, rc, ld, drop, step, step3):  # type: ignore[no-untyped-def]
    """Return the weight of a row in a voxel at some distance, as in `weights.add_rows`."""
    if method == DRIZZLE:
        area = _overlap(ux, drop[0], step[0]) * _overlap(uy, drop[1], step[1]) / (drop[0] * drop[1])
        return area * _overlap(ul, drop[2], step3) / drop[2]
    if method == LANCZOS:
        return _sinc(ux, ld) * _sinc(uy, ld) * _sinc(ul, ld)
    square = ux * ux + uy * uy + ul * ul
    if method == LINEAR:
        return 1.0 / max(math.sqrt(square), _TINY)
    if method == QUADRATIC:
        return 1.0 / max(square, _TINY)
    radius = rc * math.sqrt(step[0] * step[0] + step[1] * step[1] + step3 * step3)
    u = math.sqrt(square)
    if u >= radius:
        return 0.0
    w = (radius - u) / (radius * max(u, 1e-150))
    return w * w


@njit(cache=True, nogil=True)
def add_pairs(
    rows: VoxelRows,
    grid: VoxelGrid,
    first_plane: int,
    n_planes: int,
    low: int,
    high: int,
    method: int,
    rc: float,
    drop: tuple[float, float, float],
    ld: int,
    total: np.ndarray,
    tile: int,
    pairs: np.ndarray,
) -> None:
    """Add what each row has in common to the pairs of voxels it counts in.

    Parameters
    ----------
    rows : VoxelRows
        of the planes first_plane .. first_plane + n_planes - 1 of the cube
    low, high : int
        the first voxel of a pair is in the planes low .. high - 1, the second one there or above
    method, rc, drop, ld
        see `weights.Resampling`
    total : float64[n, ny, nx]
        sum of the weights of each voxel, from plane `low` on; 0: no value
    tile : int
        spaxels along each side of a tile, to which the first voxel belongs
    pairs : float64[ntile_y, ntile_x, 2 ld + 1, 4 ld + 1, 4 ld + 1]
        sum of the covariances for each offset (dlambda, dy + 2 ld, dx + 2 ld); updated in place
    """
    starts, xpos, ypos, lam, _, stat, dq, weight = rows
    centre1, centre2, cosine, plane_lam, plane_step, (ref1, ref2), (scale1, scale2), step = grid
    ny, nx = centre1.shape
    n_spaxels = nx * ny
    reach = 2 * ld
    top = low + total.shape[0]
    most = (2 * ld + 1) ** 3
    shares = np.empty(most, np.float64)
    places = np.empty((most, 3), np.int64)
    for k in range(n_planes):
        plane = first_plane + k
        k_low, k_high = max(plane - ld, low), min(plane + ld + 1, top)
        if k_low >= high or k_low >= k_high:
            continue
        for s in range(n_spaxels):
            iy = s // nx
            ix = s - iy * nx
            for i in range(starts[k * n_spaxels + s], starts[k * n_spaxels + s + 1]):
                variance = np.float64(stat[i])
                if dq[i] != 0 or not math.isfinite(variance):
                    continue
                own = np.float64(weight[i]) if weight.size else 1.0
                n = 0
                for kk in range(k_low, k_high):
                    ul = abs(plane_lam[kk] - np.float64(lam[i])) / NOMINAL_STEP_A
                    for jy in range(max(iy - ld, 0), min(iy + ld + 1, ny)):
                        for jx in range(max(ix - ld, 0), min(ix + ld + 1, nx)):
                            whole = total[kk - low, jy, jx]
                            if whole == 0.0:
                                continue
                            ux = abs(centre1[jy, jx] - np.float64(xpos[i]) - ref1) * cosine[jy, jx] / scale1
                            uy = abs(centre2[jy, jx] - np.float64(ypos[i]) - ref2) / scale2
                            w = _weight(ux, uy, ul, method, rc, ld, drop, step, plane_step[kk])
                            if w == 0.0:
                                continue
                            shares[n] = w * own / whole
                            places[n, 0], places[n, 1], places[n, 2] = kk, jy, jx
                            n += 1
                for a in range(n):
                    ka, ya, xa = places[a, 0], places[a, 1], places[a, 2]
                    if ka >= high:
                        break
                    mine = pairs[ya // tile, xa // tile]
                    common = shares[a] * variance
                    for b in range(n):
                        if places[b, 0] >= ka:
                            dy, dx = places[b, 1] - ya + reach, places[b, 2] - xa + reach
                            mine[places[b, 0] - ka, dy, dx] += common * shares[b]


@njit(cache=True, nogil=True)
def add_norms(
    error: np.ndarray, n_first: int, tile: int, patch: int, norms: np.ndarray, squares: np.ndarray
) -> None:
    """Add the products of the errors of the voxels of each pair, and the means of their variances.

    Parameters
    ----------
    error : float64[n, ny, nx]
        root of the variance of each voxel; 0: no value
    n_first : int
        the first voxel of a pair is in the planes 0 .. n_first - 1
    tile, patch : int
        spaxels along each side of the tiles of norms and the patches of squares
    norms : float64[ntile_y, ntile_x, r + 1, 2 r + 1, 2 r + 1]
        updated in place
    squares : float64[npatch_y, npatch_x, r + 1, 2 r + 1, 2 r + 1]
        of patches of so many spaxels along each side; updated in place
    """
    n, ny, nx = error.shape
    reach = norms.shape[2] - 1
    for k in range(n_first):
        for y in range(ny):
            for x in range(nx):
                own = error[k, y, x]
                if own == 0.0:
                    continue
                mine = norms[y // tile, x // tile]
                patches = squares[y // patch, x // patch]
                for dk in range(min(reach + 1, n - k)):
                    for dy in range(max(-reach, -y), min(reach + 1, ny - y)):
                        for dx in range(max(-reach, -x), min(reach + 1, nx - x)):
                            other = error[k + dk, y + dy, x + dx]
                            if other != 0.0:
                                mine[dk, dy + reach, dx + reach] += own * other
                                patches[dk, dy + reach, dx + reach] += 0.5 * (own * own + other * other)

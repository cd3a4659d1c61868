# SPDX-License-Identifier: BSD-3-Clause
"""Drizzle: a row counts in a voxel by the part of its shrunken pixel that falls on it.

Some hundred rows are worked on at a time: first the overlaps of all of them with one neighbour after the
other, which the processor does eight at once, then their sums, row by row and only where there is an overlap.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit
from muse_core.resampling.grid import NOMINAL_STEP_A

_ROWS_AT_ONCE = 256


def _bit_lists() -> npt.NDArray[np.int64]:
    """Return for each nine-bit number how many bits are set, and which."""
    lists = np.zeros((512, 10), np.int64)
    for number in range(512):
        bits = [bit for bit in range(9) if number >> bit & 1]
        lists[number, 0] = len(bits)
        lists[number, 1 : len(bits) + 1] = bits
    return lists


_BITS = _bit_lists()


@njit(cache=True, nogil=True, error_model="numpy")
def _drop_on_spaxels(
    x, y, place, count, offset, centre1, centre2, cosine, per, reach, most, norm, overlap, hit, bit, near
):
    """Compute how much of each row's dropped pixel falls on the spaxel `offset` places from its own.

    One neighbour for many rows, without a branch, so that the loop runs on vector registers.

    Parameters
    ----------
    x, y : float64[m]
        world coordinates; the first `count` are used
    place : int64[m]
        spaxel of each row
    centre1, centre2, cosine : float64[ny * nx]
        see `add_rows`
    per, reach, most : (float, float)
        one over the nominal pixel, largest distance with an overlap, largest overlap
    norm : float
        one over the area of the dropped pixel
    overlap : float64[m]
        filled
    hit : int64[m]
        `bit` is set where there is an overlap
    near : float64[3, m]
        work space
    """
    last = centre1.size - 1
    c1, c2, cos = near[0], near[1], near[2]
    (per1, per2), (reach1, reach2), (most1, most2) = per, reach, most
    for m in range(count):
        s = place[m] + offset
        s = s if s > 0 else 0
        u = np.uint64(s if s < last else last)
        c1[m] = centre1[u]
        c2[m] = centre2[u]
        cos[m] = cosine[u]
    for m in range(count):
        t1 = reach1 - abs(c1[m] - x[m]) * cos[m] * per1
        t2 = reach2 - abs(c2[m] - y[m]) * per2
        # written so that NaN stays NaN
        t1 = most1 if t1 > most1 else t1
        t2 = most2 if t2 > most2 else t2
        t1 = 0.0 if t1 <= 0.0 else t1
        t2 = 0.0 if t2 <= 0.0 else t2
        w = t1 * t2 * norm
        overlap[m] = w
        hit[m] |= bit if w != 0.0 else 0


@njit(cache=True, nogil=True, error_model="numpy")
def _drop_on_planes(lam, count, plane_lam, plane_step, first, last, pixfrac, along):
    """Compute how much of each row's dropped pixel falls on some planes.

    Parameters
    ----------
    lam : float64[m]
        wavelengths; the first `count` are used
    plane_lam, plane_step : float64[nz]
        centre, and width in units of 1.25 Angstrom
    first, last : int
        planes wanted, both included
    along : float64[>= last - first + 1, m]
        filled
    """
    for p in range(first, last + 1):
        reach = 0.5 * (pixfrac + plane_step[p])
        most = min(pixfrac, plane_step[p])
        centre = plane_lam[p]
        for m in range(count):
            t = reach - abs(centre - lam[m]) / NOMINAL_STEP_A
            t = most if t > most else t
            along[p - first, m] = 0.0 if t <= 0.0 else t / pixfrac


@njit(cache=True, nogil=True)
def _next_rows(starts, dq, at, spaxel, first, last, listed, place):
    """List the next good rows of a plane with their spaxels.

    Parameters
    ----------
    at, spaxel : int
        row to begin with, and a spaxel not behind it
    first, last : int
        numbers of the first voxel of the plane and of that behind the last
    listed, place : int32[m], int64[m]
        filled

    Returns
    -------
    (int, int, int)
        number of rows listed, the row and the spaxel to go on with
    """
    end = starts[last]
    count = 0
    while at < end and count < listed.size:
        if starts[first + spaxel + 1] <= at:
            spaxel += 1
        else:
            listed[count] = at
            place[count] = spaxel
            count += dq[at] == 0
            at += 1
    return count, at, spaxel


@njit(cache=True, nogil=True)
def _border(nx, ny, width):
    """Mark (bool[ny * nx]) the spaxels less than `width` from the border of the grid."""
    near = np.empty(ny * nx, np.bool_)
    for y in range(ny):
        outer = y < width or y >= ny - width
        for x in range(nx):
            near[y * nx + x] = outer or x < width or x >= nx - width
    return near


@njit(cache=True, nogil=True, error_model="numpy")
def drizzle_rows(rows, grid, nx, first_plane, n_planes, out_first, pixfrac, ld, sums):
    """Add rows to the voxels that their dropped pixels fall on; see `weights.add_rows`.

    Parameters
    ----------
    grid : VoxelGrid
        with one-dimensional arrays of spaxels
    nx : int
        spaxels of a line
    sums : float64[n_out * ny * nx, 3]
        the others as in `weights.add_rows`
    """
    starts, xpos, ypos, lam, data, stat, dq, weight = rows
    plane_lam, plane_step, (ref1, ref2), step = grid.plane_lam, grid.plane_step, grid.reference, grid.step
    centre1, centre2, cosine = grid.centre1, grid.centre2, grid.cosine
    per = (1.0 / grid.scale[0], 1.0 / grid.scale[1])
    n_spaxels = centre1.size
    ny = n_spaxels // nx
    n_out = sums.shape[0] // n_spaxels
    width = 2 * ld + 1
    n_near = width * width
    reach = (0.5 * (pixfrac[0] + step[0]), 0.5 * (pixfrac[1] + step[1]))
    most = (min(pixfrac[0], step[0]), min(pixfrac[1], step[1]))
    norm = 1.0 / (pixfrac[0] * pixfrac[1])
    overlap = np.empty((n_near, _ROWS_AT_ONCE), np.float64)
    hit = np.empty(((n_near + 8) // 9, _ROWS_AT_ONCE), np.int64)
    along = np.empty((width, _ROWS_AT_ONCE), np.float64)
    listed = np.empty(_ROWS_AT_ONCE, np.int32)
    place = np.empty(_ROWS_AT_ONCE, np.int64)
    x = np.empty(_ROWS_AT_ONCE, np.float64)
    y = np.empty(_ROWS_AT_ONCE, np.float64)
    wave = np.empty(_ROWS_AT_ONCE, np.float64)
    centres = np.empty((3, _ROWS_AT_ONCE), np.float64)
    edge = _border(nx, ny, ld)
    offset = np.empty(n_near, np.int64)
    for near in range(n_near):
        offset[near] = (near // width - ld) * nx + near % width - ld
    for k in range(n_planes):
        plane = first_plane + k
        k_low = max(plane - ld, out_first)
        k_high = min(plane + ld, out_first + n_out - 1)
        if k_low > k_high:
            continue
        n_k = k_high - k_low + 1
        at, spaxel = starts[k * n_spaxels], 0
        while at < starts[(k + 1) * n_spaxels]:
            count, at, spaxel = _next_rows(
                starts, dq, at, spaxel, k * n_spaxels, (k + 1) * n_spaxels, listed, place
            )
            for m in range(count):
                row = np.uint64(listed[m])
                x[m] = np.float64(xpos[row]) + ref1
                y[m] = np.float64(ypos[row]) + ref2
                wave[m] = np.float64(lam[row])
            for group in range(hit.shape[0]):
                for m in range(count):
                    hit[group, m] = 0
            for near in range(n_near):
                _drop_on_spaxels(
                    x,
                    y,
                    place,
                    count,
                    offset[near],
                    centre1,
                    centre2,
                    cosine,
                    per,
                    reach,
                    most,
                    norm,
                    overlap[near],
                    hit[near // 9],
                    1 << (near % 9),
                    centres,
                )
            _drop_on_planes(wave, count, plane_lam, plane_step, k_low, k_high, pixfrac[2], along)
            for m in range(count):
                row = np.uint64(listed[m])
                value = np.float64(data[row])
                variance = np.float64(stat[row])
                own_weight = np.float64(weight[row]) if weight.size else 1.0
                finite = math.isfinite(value)
                low, high = 0, n_k
                if finite:
                    while low < high and along[low, m] == 0.0:
                        low += 1
                    while high > low and along[high - 1, m] == 0.0:
                        high -= 1
                for group in range(hit.shape[0]):
                    # weights of zero spoil the neighbourhood, too
                    bits = hit[group, m] if finite else 511
                    for number in range(1, _BITS[bits, 0] + 1):
                        near = 9 * group + _BITS[bits, number]
                        if near >= n_near or (
                            edge[place[m]] and not _is_inside(place[m], near, width, ld, nx, ny)
                        ):
                            continue
                        spatial = overlap[near, m]
                        voxel = (k_low + low - out_first) * n_spaxels + place[m] + offset[near]
                        for p in range(low, high):
                            w = spatial * along[p, m] * own_weight
                            target = sums[np.uint64(voxel)]
                            target[0] += w * value
                            target[1] += w
                            target[2] += w * w * variance
                            voxel += n_spaxels


@njit(cache=True, nogil=True)
def _is_inside(spaxel, near, width, ld, nx, ny):
    y = spaxel // nx + near // width - ld
    x = spaxel % nx + near % width - ld
    return x >= 0 and y >= 0 and x < nx and y < ny

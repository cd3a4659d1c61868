# SPDX-License-Identifier: BSD-3-Clause
"""Rows of one slice: which pixels they are, and the kernels that go through them in table order."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from muse_core.detector.pixels import PixelMap, field_position, slice_place, wavelength_at
from muse_core.framework.kernels import njit


class SlicePixels(NamedTuple):
    """Which pixels of a slice are rows, and where they lie; what the kernels go through.

    Attributes
    ----------
    first, last : int[ny]
        Columns of each detector row.
    left, right : float64[ny]
        Edges of the slice.
    wave : float64[ny, n]
        Coefficients for `wavelength_at`.
    place : float64[5]
        From `slice_place`.
    low, high : float32
        Wavelengths that are kept, both included.
    """

    first: np.ndarray
    last: np.ndarray
    left: np.ndarray
    right: np.ndarray
    wave: np.ndarray
    place: np.ndarray
    low: np.float32
    high: np.float32


def slice_pixels(pixels: PixelMap, s: int, low: np.float32, high: np.float32) -> SlicePixels:
    """Pixels of slice number ``s`` (from 0) of an IFU."""
    return SlicePixels(
        pixels.first[s],
        pixels.last[s],
        pixels.left[s],
        pixels.right[s],
        pixels.wave[s],
        slice_place(pixels.geometry, s),
        low,
        high,
    )


class StoredValues(NamedTuple):
    """Value, variance (float32[n]) and flag (uint8[n]) of rows."""

    value: np.ndarray
    variance: np.ndarray
    flag: np.ndarray


class RowColumns(NamedTuple):
    """Columns of rows in voxel order: float32[n], ``dq`` int32[n]."""

    xpos: np.ndarray
    ypos: np.ndarray
    lam: np.ndarray
    data: np.ndarray
    stat: np.ndarray
    dq: np.ndarray


@njit(cache=True, nogil=True)
def pack_slice(data, stat, dq, pixels, notch, factor, out, limits):
    """Copy one slice in table order; returns the number of rows and the sum of the values.

    Parameters
    ----------
    data, stat : float32[ny, nx]
    dq : int32[ny, nx]
    pixels : SlicePixels
    notch : float32[2]
        Wavelengths to flag, both excluded.
    factor : float
        Data are multiplied with it.
    out : StoredValues
        Written.
    limits : float64[6]
        Smallest and largest x, y, wavelength, updated.
    """
    first, last, left, right, wave, place, low, high = pixels
    value, variance, flag = out
    n = 0
    total = 0.0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            lam = wavelength_at(wave[y], x)
            if lam < low or lam > high:
                continue
            xpos, ypos = field_position(x, left[y], right[y], place)
            limits[0] = min(limits[0], xpos)
            limits[1] = max(limits[1], xpos)
            limits[2] = min(limits[2], ypos)
            limits[3] = max(limits[3], ypos)
            limits[4] = min(limits[4], lam)
            limits[5] = max(limits[5], lam)
            v = np.float32(data[y, x - 1] * factor)
            value[n] = v
            variance[n] = np.float32(stat[y, x - 1] * (factor * factor))
            flag[n] = 1 if dq[y, x - 1] != 0 or (lam > notch[0] and lam < notch[1]) else 0
            total += np.float64(v)
            n += 1
    return n, total


@njit(cache=True, nogil=True, inline="always")
def cell_of(position, size):
    """Number of the cell that holds a position, counted from the centre of the first one; never outside."""
    cell = math.floor(position + 0.5)
    return int(min(max(cell, 0.0), size - 1.0))


@njit(cache=True, nogil=True, error_model="numpy")
def locate_rows(pixels, origin, dlambda, size, row0, row1, voxel, counts):
    """Find the voxel of each row of one slice in a strip of the cube.

    Parameters
    ----------
    pixels : SlicePixels
    origin : float64[3]
        Smallest x, y, wavelength: the centre of the first voxel.
    size : tuple of int
        ``(nz, ny, nx)`` of the whole cube.
    row0, row1 : int
        The strip along y.
    voxel : int32[>= rows]
        Written; -1 for rows outside of the strip.
    counts : int32[nz * (row1 - row0) * nx]
        Number of rows in each voxel, added to.
    """
    first, last, left, right, wave, place, low, high = pixels
    nz, ny, nx = size
    height = row1 - row0
    n = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            lam = wavelength_at(wave[y], x)
            if lam < low or lam > high:
                continue
            px, py = field_position(x, left[y], right[y], place)
            iy = cell_of(np.float64(py) - origin[1], ny) - row0
            if iy >= 0 and iy < height:
                ix = cell_of(np.float64(px) - origin[0], nx)
                k = cell_of((np.float64(lam) - origin[2]) / dlambda, nz)
                v = (k * height + iy) * nx + ix
                voxel[n] = v
                counts[v] += 1
            else:
                voxel[n] = -1
            n += 1


@njit(cache=True, nogil=True, error_model="numpy")
def place_rows(stored, scale, pixels, voxel, following, out):
    """Write the rows of one slice to their places in voxel order.

    Parameters
    ----------
    stored : StoredValues
    scale : float
        Values are divided by it.
    pixels : SlicePixels
    voxel : int32[n]
        From `locate_rows`; rows with -1 are left out.
    following : int32[voxels]
        Next free place of each voxel, moved on.
    out : RowColumns
        Written.
    """
    value, variance, flag = stored
    first, last, left, right, wave, place, low, high = pixels
    xpos, ypos, lam_out, data, stat, dq = out
    k = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            lam = wavelength_at(wave[y], x)
            if lam < low or lam > high:
                continue
            v = voxel[k]
            if v >= 0:
                n = following[v]
                following[v] = n + 1
                xpos[n], ypos[n] = field_position(x, left[y], right[y], place)
                lam_out[n] = lam
                data[n] = np.float32(value[k] / scale)
                stat[n] = np.float32(variance[k] / (scale * scale))
                dq[n] = flag[k]
            k += 1

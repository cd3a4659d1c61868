# SPDX-License-Identifier: BSD-3-Clause
"""Calibrated image to pixel-table rows: trace, wavelength, position in the field, origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from muse_core.detector.tables import NSLICE, SliceGeometry

DQ_NOTCH = 0x08000000
NOTCH = {"WFM-AO-N": (5805.0, 5966.0), "WFM-AO-E": (5755.0, 6008.0), "NFM-AO-N": (5780.0, 6050.0)}


@dataclass(frozen=True)
class PixelMap:
    """Where the light of every pixel of one IFU comes from.

    Attributes
    ----------
    ifu : int
    left, right : float64[48, ny]
        Slice edges per row (1-based pixels).
    first, last : int32[48, ny]
        First and last pixel (1-based, both included) inside the slice.
    wave : float64[48, ny, nx_power]
        Coefficients of powers of x per row.
    geometry : SliceGeometry
    offset : int32[48]
        Pixel from which ``origin`` counts x.
    notch : tuple of float
        Wavelength range spoilt by the sodium lasers; an empty one for other modes.
    """

    ifu: int
    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    last: np.ndarray
    wave: np.ndarray
    geometry: SliceGeometry
    offset: np.ndarray
    notch: tuple[float, float]


def _powers(rows: np.ndarray, n: int) -> np.ndarray:
    return rows[:, None] ** np.arange(n)


def build_pixel_map(
    ifu: int, shape: tuple[int, int], trace: np.ndarray, wave: np.ndarray, geometry: SliceGeometry, mode: str
) -> PixelMap:
    """Evaluate the calibration of one IFU on its rows.

    Parameters
    ----------
    ifu : int
    shape : tuple of int
        ``(ny, nx)`` of the trimmed image.
    trace : float64[48, 2, n]
    wave : float64[48, i, j]
    geometry : SliceGeometry
    mode : str
        ``ESO INS MODE``, for the sodium notch.
    """
    ny, nx = shape
    rows = np.arange(1, ny + 1, dtype=np.float64)
    edges = np.einsum("sek,rk->esr", trace, _powers(rows, trace.shape[2]))
    left, right = np.ascontiguousarray(edges[0]), np.ascontiguousarray(edges[1])
    # measured against 2.8.7: a slice ends at the first row where one of its edges is outside the detector
    outside = np.logical_or.accumulate((left < 1) | (right > nx) | ~(left < right), axis=1)
    first = np.where(outside, nx + 1, np.ceil(left)).astype(np.int32)
    last = np.where(outside, 0, np.floor(right)).astype(np.int32)
    per_row = np.ascontiguousarray(np.einsum("sij,rj->sri", wave, _powers(rows, wave.shape[2])))
    offset = (np.floor(trace[:, 0].sum(axis=1)) - 20).astype(np.int32)
    return PixelMap(ifu, left, right, first, last, per_row, geometry, offset, NOTCH.get(mode, (1.0, -1.0)))


def cut_slices(pixels: PixelMap) -> list[int]:
    """Numbers of the slices that lose rows because an edge leaves the detector."""
    return [s + 1 for s in range(NSLICE) if (pixels.last[s] == 0).any()]


@njit(cache=True, nogil=True)
def wavelength_at(wave, x):
    """Wavelength (float32) of pixel ``x`` from the coefficients of its powers."""
    # highest power of x first (Horner)
    lam = 0.0
    for i in range(wave.size - 1, -1, -1):
        lam = lam * x + wave[i]
    return np.float32(lam)


@njit(cache=True, nogil=True)
def field_position(x, left, right, place):
    """Position in the field of pixel ``x`` between two slice edges; ``place`` as from `slice_place`."""
    # measured against 2.8.7: the distance from the middle of the slice is rounded to single precision
    distance = np.float64(np.float32((x - 0.5 * (left + right)) / (right - left) * place[2]))
    return np.float32(place[0] - distance * place[3]), np.float32(place[1] - distance * place[4])


def slice_place(geometry: SliceGeometry, s: int) -> np.ndarray:
    """x, y, width, cosine and sine of the angle of one slice (float64[5])."""
    angle = geometry.angle[s]
    return np.array([geometry.x[s], geometry.y[s], geometry.width[s], np.cos(angle), np.sin(angle)])


@njit(cache=True, nogil=True)
def gather_kernel(data, first, last, wave, low, high, out):
    """Copy the values of one slice between two wavelengths into ``out``; returns how many."""
    n = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            lam = wavelength_at(wave[y], x)
            if lam >= low and lam <= high:
                out[n] = data[y, x - 1]
                n += 1
    return n


def slice_medians(data: np.ndarray, pixels: PixelMap, low: float, high: float) -> np.ndarray:
    """Median of every slice within a wavelength range; NaN for a slice without pixels there."""
    medians = np.full(NSLICE, np.nan)
    for s in range(NSLICE):
        size = int(np.maximum(pixels.last[s] - pixels.first[s] + 1, 0).sum())
        out = np.empty(size, np.float32)
        n = gather_kernel(
            data, pixels.first[s], pixels.last[s], pixels.wave[s], np.float32(low), np.float32(high), out
        )
        if n:
            medians[s] = np.median(out[:n].astype(np.float64))
    return medians


@njit(cache=True, nogil=True)
def rows_kernel(
    data, stat, dq, y0, first, last, left, right, wave, place, low, high, notch, code, offset,
    xpos, ypos, lam_out, value, variance, flag, origin, start,
):  # fmt: skip
    """Write the rows of one slice into flat arrays from ``start``; returns the next free index.

    Parameters
    ----------
    data, stat : float32[n, nx]; dq : int32[n, nx]
        Image rows ``y0`` (0-based) and following.
    first, last : int32[n]; left, right : float64[n]; wave : float64[n, k]
        The slice at these rows.
    place : float64[5]
        From `slice_place`.
    low, high : float32
        Wavelength limits, both included.
    notch : float32[2]
        Wavelengths to flag.
    code : int
        Low bits of ``origin``.
    offset : int
        Pixel from which origin counts x.
    """
    n = start
    for r in range(first.size):
        for x in range(first[r], last[r] + 1):
            lam = wavelength_at(wave[r], x)
            if lam < low or lam > high:
                continue
            xpos[n], ypos[n] = field_position(x, left[r], right[r], place)
            lam_out[n] = lam
            value[n] = data[r, x - 1]
            variance[n] = stat[r, x - 1]
            q = dq[r, x - 1]
            if notch[0] <= lam <= notch[1]:
                q |= 0x08000000
            flag[n] = q
            origin[n] = ((x - offset) << 24) | ((y0 + r + 1) << 11) | code
            n += 1
    return n


@njit(cache=True, nogil=True)
def count_kernel(first, last, wave, low, high):
    """Number of pixels of one slice between two wavelengths."""
    n = 0
    for r in range(first.size):
        for x in range(first[r], last[r] + 1):
            lam = wavelength_at(wave[r], x)
            if lam >= low and lam <= high:
                n += 1
    return n


def image_to_rows(
    data: np.ndarray,
    stat: np.ndarray,
    dq: np.ndarray,
    pixels: PixelMap,
    low: float = -np.inf,
    high: float = np.inf,
    y0: int = 0,
) -> dict[str, np.ndarray]:
    """Pixel-table columns of an image, or of a band of its rows, in the order slice, y, x.

    Parameters
    ----------
    data, stat : float32[n, nx]
    dq : int32[n, nx]
    pixels : PixelMap
    low, high : float
        Wavelength range to keep.
    y0 : int
        0-based row of the detector of ``data[0]``.

    Returns
    -------
    dict
        ``xpos, ypos, lam, data, stat`` (float32), ``dq, origin`` (int32).
    """
    band = slice(y0, y0 + data.shape[0])
    low, high = np.float32(low), np.float32(high)
    total = sum(
        count_kernel(pixels.first[s, band], pixels.last[s, band], pixels.wave[s, band], low, high)
        for s in range(NSLICE)
    )
    out = {name: np.empty(total, np.float32) for name in ("xpos", "ypos", "lam", "data", "stat")}
    out |= {name: np.empty(total, np.int32) for name in ("dq", "origin")}
    n = 0
    notch = np.array(pixels.notch, np.float32)
    for s in range(NSLICE):
        n = rows_kernel(
            data,
            stat,
            dq,
            y0,
            pixels.first[s, band],
            pixels.last[s, band],
            pixels.left[s, band],
            pixels.right[s, band],
            pixels.wave[s, band],
            slice_place(pixels.geometry, s),
            low,
            high,
            notch,
            pixels.ifu << 6 | (s + 1),
            int(pixels.offset[s]),
            out["xpos"],
            out["ypos"],
            out["lam"],
            out["data"],
            out["stat"],
            out["dq"],
            out["origin"],
            n,
        )
    return out

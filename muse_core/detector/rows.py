# SPDX-License-Identifier: BSD-3-Clause
"""Pixel-table rows of an image, slice by slice: slice, y, x."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.data.memory import borrow
from muse_core.detector.image import Window
from muse_core.detector.pixels import DQ_NOTCH, PixelMap, field_position, slice_place
from muse_core.detector.tables import NSLICE
from muse_core.framework.kernels import njit

SLICES_AT_ONCE = 2  # that are read from an image together
Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.int32]


@dataclass(frozen=True)
class RowWavelengths:
    """Wavelength of every row of a pixel table, worked out when it is asked for.

    Attributes
    ----------
    pixels : PixelMap
    starts : int64[49]
        First row of each slice.
    shifts : float64[48]
        Added to the wavelengths of each slice (Angstrom).
    """

    pixels: PixelMap
    starts: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of all rows."""
        return int(self.starts[-1])

    @functools.cached_property
    def row_limits(self) -> Floats:
        """Smallest and largest wavelength at each detector row: float32[48, ny, 2]; inf, -inf without any."""
        pixels = self.pixels
        limits = np.empty((*pixels.first.shape, 2), np.float32)
        for s in range(NSLICE):
            fill_row_limits(pixels.first[s], pixels.last[s], pixels.wave[s], self.shifts[s], limits[s])
        return limits

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest wavelength."""
        return float(self.row_limits[..., 0].min()), float(self.row_limits[..., 1].max())

    def rows_between(self, s: int, low: np.float32, high: np.float32) -> tuple[int, int]:
        """First and last (exclusive) detector row at which a slice sees something between two wavelengths."""
        limits = self.row_limits[s]
        seen = np.flatnonzero((limits[:, 0] <= high) & (limits[:, 1] >= low))
        return (int(seen[0]), int(seen[-1]) + 1) if seen.size else (0, 0)

    def of_slice(self, s: int, rows: tuple[int, int] | None = None) -> Floats:
        """Return the wavelengths (float32[n]) of slice number ``s`` (from 0), or of some rows of it."""
        part = slice(*rows) if rows else slice(None)
        first, last = self.pixels.first[s, part], self.pixels.last[s, part]
        size = np.maximum(last - first + 1, 0).sum() if rows else self.starts[s + 1] - self.starts[s]
        lam = borrow(int(size), np.float32)
        fill_wavelengths(first, last, self.pixels.wave[s, part], self.shifts[s], lam)
        return lam

    def shifted(self, shifts: npt.NDArray[np.float64]) -> RowWavelengths:
        """Return these wavelengths moved by ``shifts`` (float64[48])."""
        return RowWavelengths(self.pixels, self.starts, self.shifts + shifts)


@dataclass(frozen=True)
class SliceRows:
    """Columns of the rows of one slice: float32[n], ``dq`` and ``origin`` int32[n]."""

    xpos: Floats
    ypos: Floats
    lam: Floats
    data: Floats
    stat: Floats
    dq: Flags
    origin: Flags

    def __len__(self) -> int:
        return int(self.lam.size)


@njit(cache=True, nogil=True)
def fill_wavelengths(
    first: np.ndarray, last: np.ndarray, wave: np.ndarray, shift: float, lam: np.ndarray
) -> None:
    """Write the wavelength of each pixel of one slice (arrays as in `PixelMap`) to ``lam`` (float32[n])."""
    n = 0
    exact = np.empty(_widest(first, last))
    for y in range(first.size):
        width = last[y] - first[y] + 1
        if width > 0:
            wavelengths_of_row(wave[y], first[y], shift, exact[:width], lam[n : n + width])
            n += width


@njit(cache=True, nogil=True)
def _widest(first: np.ndarray, last: np.ndarray) -> int:
    widest = 0
    for y in range(first.size):
        widest = max(widest, last[y] - first[y] + 1)
    return widest


@njit(cache=True, nogil=True)
def wavelengths_of_row(
    wave: np.ndarray, first: int, shift: float, exact: np.ndarray, lam: np.ndarray
) -> None:
    """Do what `wavelength_at` does for the pixels of a row from number ``first`` on, on vector registers.

    Parameters
    ----------
    wave : float64[m]
    exact : float64[n]
        Scratch memory.
    lam : float32[n]
        Filled.
    """
    for k in range(exact.size):
        exact[k] = 0.0
    for i in range(wave.size - 1, -1, -1):
        coefficient = wave[i]
        for k in range(exact.size):
            exact[k] = exact[k] * np.float64(first + k) + coefficient
    for k in range(exact.size):
        lam[k] = np.float32(np.float64(np.float32(exact[k])) + shift)


@njit(cache=True, nogil=True)
def fill_row_limits(
    first: np.ndarray, last: np.ndarray, wave: np.ndarray, shift: float, limits: np.ndarray
) -> None:
    """Write the smallest and largest wavelength of one slice at each detector row (float32[ny, 2])."""
    widest = _widest(first, last)
    exact = np.empty(widest)
    lam = np.empty(widest, np.float32)
    for y in range(first.size):
        low = np.float32(np.inf)
        high = np.float32(-np.inf)
        width = last[y] - first[y] + 1
        if width > 0:
            wavelengths_of_row(wave[y], first[y], shift, exact[:width], lam[:width])
        for k in range(width):
            low = min(low, lam[k])
            high = max(high, lam[k])
        limits[y, 0] = low
        limits[y, 1] = high


def row_wavelengths(pixels: PixelMap) -> RowWavelengths:
    """Return the wavelengths of all rows of an IFU."""
    sizes = np.maximum(pixels.last - pixels.first + 1, 0).sum(axis=1, dtype=np.int64)
    return RowWavelengths(pixels, np.concatenate([[0], np.cumsum(sizes)]), np.zeros(NSLICE))


@njit(cache=True, nogil=True)
def gather_slice(
    data: np.ndarray,
    stat: np.ndarray,
    dq: np.ndarray,
    x0: int,
    first: np.ndarray,
    last: np.ndarray,
    out_data: np.ndarray,
    out_stat: np.ndarray,
    out_dq: np.ndarray,
) -> None:
    """Copy the pixels of one slice in table order into flat arrays of their number.

    The images begin at column ``x0`` (from 0) of the detector.
    """
    n = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            out_data[n] = data[y, x - 1 - x0]
            out_stat[n] = stat[y, x - 1 - x0]
            out_dq[n] = dq[y, x - 1 - x0]
            n += 1


@njit(cache=True, nogil=True)
def fill_rows(
    data: np.ndarray, stat: np.ndarray, dq: np.ndarray, x0: int, first: np.ndarray, last: np.ndarray,
    left: np.ndarray, right: np.ndarray, lam: np.ndarray, place: np.ndarray, low: np.float32,
    high: np.float32, notch: np.ndarray, factor: float, code: int, offset: int, xpos: np.ndarray,
    ypos: np.ndarray, lam_out: np.ndarray, value: np.ndarray, variance: np.ndarray, flag: np.ndarray,
    origin: np.ndarray,
) -> int:  # fmt: skip
    """Write the rows of one slice into flat arrays; returns how many.

    Parameters
    ----------
    data, stat : float32[ny, n]; dq : int32[ny, n]
        All rows of the detector.
    x0 : int
        The column (from 0) of the detector at which they begin.
    first, last : int32[ny]; left, right : float64[ny]
        The slice at each detector row.
    lam : float32[n]
        Wavelength of each pixel of the slice.
    place : float64[5]
        From `slice_place`.
    low, high : float32
        Wavelengths to keep, both included.
    notch : float32[2]
        Wavelengths to flag, both excluded: earlier flags are lost, as in 2.8.7.
    factor : float
        Data are multiplied with it.
    code : int
        Low bits of ``origin``.
    offset : int
        Pixel from which ``origin`` counts x.
    """
    i = 0
    n = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            wavelength = lam[i]
            i += 1
            if wavelength < low or wavelength > high:
                continue
            xpos[n], ypos[n] = field_position(x, left[y], right[y], place)
            lam_out[n] = wavelength
            value[n] = np.float32(data[y, x - 1 - x0] * factor)
            variance[n] = np.float32(stat[y, x - 1 - x0] * (factor * factor))
            flag[n] = DQ_NOTCH if notch[0] < wavelength < notch[1] else dq[y, x - 1 - x0]
            origin[n] = ((x - offset) << 24) | ((y + 1) << 11) | code
            n += 1
    return n


@njit(cache=True, nogil=True)
def extend_limits(
    first: np.ndarray,
    last: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    lam: np.ndarray,
    place: np.ndarray,
    low: np.float32,
    high: np.float32,
    limits: np.ndarray,
) -> int:
    """Widen limits (float64[6]: low and high of x, y, wavelength) by the kept rows; returns their number."""
    i = 0
    n = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            wavelength = lam[i]
            i += 1
            if wavelength < low or wavelength > high:
                continue
            xpos, ypos = field_position(x, left[y], right[y], place)
            limits[0] = min(limits[0], xpos)
            limits[1] = max(limits[1], xpos)
            limits[2] = min(limits[2], ypos)
            limits[3] = max(limits[3], ypos)
            limits[4] = min(limits[4], wavelength)
            limits[5] = max(limits[5], wavelength)
            n += 1
    return n


@dataclass(frozen=True)
class TableExtent:
    """Number of the rows of each slice (int64[48]), smallest and largest x, y, wavelength (float64[6])."""

    rows: npt.NDArray[np.int64]
    limits: npt.NDArray[np.float64]

    @property
    def slices(self) -> list[int]:
        """Numbers (from 1) of the slices that have rows."""
        return [int(s) + 1 for s in np.flatnonzero(self.rows)]


def table_extent(pixels: PixelMap, wavelengths: RowWavelengths, limits: tuple[float, float]) -> TableExtent:
    """Return the extent of a pixel table between two wavelengths, both included."""
    found = np.array([np.inf, -np.inf] * 3)
    rows = np.zeros(NSLICE, np.int64)
    low, high = np.float32(limits[0]), np.float32(limits[1])
    for s in range(NSLICE):
        rows[s] = extend_limits(
            pixels.first[s], pixels.last[s], pixels.left[s], pixels.right[s], wavelengths.of_slice(s),
            slice_place(pixels.geometry, s), low, high, found,
        )  # fmt: skip
    return TableExtent(rows, found)


def slice_rows(
    image: tuple[Floats, Floats, Flags],
    pixels: PixelMap,
    s: int,
    lam: Floats,
    limits: tuple[float, float] = (-np.inf, np.inf),
    factor: float = 1.0,
    x0: int = 0,
) -> SliceRows:
    """Return the rows of slice number ``s`` (from 0).

    Parameters
    ----------
    image : data, stat (float32[ny, n]), dq (int32[ny, n])
    pixels : PixelMap
    s : int
    lam : float32[n]
        Wavelengths of the slice, see `row_wavelengths`.
    limits : tuple of float
        Wavelengths to keep, both included.
    factor : float
        Data are multiplied with it.
    x0 : int
        The column (from 0) of the detector at which the image begins.
    """
    xpos, ypos, wavelength, value, variance = (borrow(lam.size, np.float32) for _ in range(5))
    dq, origin = borrow(lam.size, np.int32), borrow(lam.size, np.int32)
    data, stat, flags = image
    n = fill_rows(
        data, stat, flags, x0, pixels.first[s], pixels.last[s], pixels.left[s], pixels.right[s], lam,
        slice_place(pixels.geometry, s), np.float32(limits[0]), np.float32(limits[1]),
        np.array(pixels.notch, np.float32), factor, pixels.ifu << 6 | (s + 1), int(pixels.offset[s]),
        xpos, ypos, wavelength, value, variance, dq, origin,
    )  # fmt: skip
    return SliceRows(xpos[:n], ypos[:n], wavelength[:n], value[:n], variance[:n], dq[:n], origin[:n])


def slice_windows(
    pixels: PixelMap, rows: tuple[int, int] | None = None, together: int = SLICES_AT_ONCE
) -> Iterator[tuple[list[int], Window]]:
    """Yield the numbers of some slices (from 0) and the part of the detector that they lie on.

    Parameters
    ----------
    pixels : PixelMap
    rows : tuple of int, optional
        First and last (exclusive) row of the detector; without it all of them.
    together : int
        Slices that share a part.
    """
    y0, y1 = rows or (0, pixels.first.shape[1])
    first, last = pixels.first[:, y0:y1], pixels.last[:, y0:y1]
    for start in range(0, NSLICE, together):
        part = slice(start, start + together)
        seen = last[part] >= first[part]
        if seen.any():
            window = Window(y0, y1, int(first[part][seen].min()) - 1, int(last[part][seen].max()))
            yield [s for s in range(start, min(start + together, NSLICE)) if seen[s - start].any()], window

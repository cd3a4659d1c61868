# SPDX-License-Identifier: BSD-3-Clause
"""Sky-flat rows of all IFUs, slice by slice: values on disk (or in memory if small), coordinates recomputed.

A full set has 3e8 rows. Only value, variance and a flag are kept (9 bytes per row); positions and
wavelengths come
from the calibration polynomials whenever a strip of the field is asked for.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muse_core.detector.pixels import PixelMap
from muse_core.detector.tables import NSLICE, SliceGeometry
from muse_core.twilight.rows import (
    RowColumns,
    SlicePixels,
    StoredValues,
    locate_rows,
    pack_slice,
    place_rows,
    slice_pixels,
)

BYTES_PER_ROW = 9


@dataclass(frozen=True)
class StoredSlice:
    """One slice of one IFU in the store: ``rows`` rows from number ``first`` of the IFU on."""

    ifu: int
    slice_index: int
    rows: int
    first: int
    y_low: float
    y_high: float


@dataclass(frozen=True)
class StoredIfu:
    """What came of storing one IFU."""

    ifu: int
    flux: float
    rows: int
    limits: tuple[float, ...]


@dataclass(frozen=True)
class KeptIfu:
    """The rows of one IFU as they are kept for a run that goes on: value, variance, flag."""

    pixels: PixelMap
    slices: list[StoredSlice]
    columns: tuple[np.ndarray, ...]


def _elsewhere(low: float, high: float) -> RowStore:
    store = RowStore(None, low, high, 0, 0)
    store.is_elsewhere = True
    return store


class RowStore:
    """Rows of all IFUs; safe to fill and to read from several threads.

    Parameters
    ----------
    folder : path-like
        Where the temporary file goes if the rows do not fit in ``memory_bytes``.
    low, high : float
        Wavelength range (Angstrom) of the rows that are kept.
    memory_bytes : int
        Up to this size the values stay in memory.
    expected_rows : int
        Estimate that decides between the two.
    """

    def __init__(
        self, folder: Path | str | None, low: float, high: float, memory_bytes: int, expected_rows: int
    ) -> None:
        self.low, self.high = np.float32(low), np.float32(high)
        self._lock = threading.Lock()
        self._slices: list[StoredSlice] = []
        self._maps: dict[int, PixelMap] = {}
        self._scales: dict[int, float] = {}
        self.limits = np.array([np.inf, -np.inf] * 3)
        self._end = 0
        self._descriptor = None
        self._memory: dict[int, tuple[np.ndarray, ...]] = {}
        self._offsets: dict[int, tuple[int, int]] = {}
        if expected_rows * BYTES_PER_ROW > memory_bytes:
            self._descriptor, name = tempfile.mkstemp(prefix=".twilight_rows.", suffix=".part", dir=folder)
            Path(name).unlink()  # the open descriptor keeps it; nothing is left behind after a crash

    is_elsewhere = False
    """The store stands for one of another process."""

    def __reduce__(self) -> tuple[Callable[..., RowStore], tuple[float, float]]:
        """Another process gets no rows."""
        return _elsewhere, (float(self.low), float(self.high))

    def for_one_ifu(self) -> RowStore:
        """Return an empty store for the same wavelengths, in memory."""
        return RowStore(None, float(self.low), float(self.high), 0, 0)

    def __enter__(self) -> RowStore:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._memory.clear()

    @property
    def rows(self) -> int:
        """Number of rows stored."""
        return sum(s.rows for s in self._slices)

    @property
    def geometries(self) -> dict[int, SliceGeometry]:
        """Places of the slices of the IFUs in the field."""
        return {ifu: pixels.geometry for ifu, pixels in sorted(self._maps.items()) if ifu in self._scales}

    def add(
        self, pixels: PixelMap, data: np.ndarray, stat: np.ndarray, dq: np.ndarray, factors: np.ndarray
    ) -> StoredIfu:
        """Keep the rows of one IFU.

        Parameters
        ----------
        pixels : PixelMap
        data, stat : float32[ny, nx]
        dq : int32[ny, nx]
        factors : float64[48]
            Every slice is multiplied with its factor first.
        """
        flux, stored, used = 0.0, [], 0
        limits = np.array([np.inf, -np.inf] * 3)
        notch = np.array(pixels.notch, np.float32)
        size = int(np.maximum(pixels.last - pixels.first + 1, 0).sum())
        columns = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.uint8)
        for s in range(NSLICE):
            own = np.array([np.inf, -np.inf] * 3)
            part = StoredValues(*(column[used:] for column in columns))
            places = slice_pixels(pixels, s, self.low, self.high)
            n, total = pack_slice(data, stat, dq, places, notch, float(factors[s]), part, own)
            flux += total
            if n:
                stored.append(StoredSlice(pixels.ifu, s, n, used, own[2], own[3]))
                used += n
                limits[0::2] = np.minimum(limits[0::2], own[0::2])
                limits[1::2] = np.maximum(limits[1::2], own[1::2])
        self._store(pixels, stored, columns, used)
        return StoredIfu(pixels.ifu, flux, used, tuple(limits))

    def _store(
        self, pixels: PixelMap, stored: list[StoredSlice], columns: tuple[np.ndarray, ...], used: int
    ) -> None:
        with self._lock:
            start = self._end
            self._end += used * BYTES_PER_ROW
            self._maps[pixels.ifu] = pixels
            self._slices += stored
            self._offsets[pixels.ifu] = start, used
            if self._descriptor is None:
                self._memory[pixels.ifu] = columns
        if self._descriptor is not None:
            for column in columns:
                piece = column[:used].view(np.uint8).data
                done = 0
                while done < len(piece):
                    done += os.pwrite(self._descriptor, piece[done:], start + done)
                start += len(piece)

    def exported(self, ifu: int) -> KeptIfu:
        """Return all that was stored of one IFU, before `freeze`."""
        own = self.slices(ifu)
        columns = tuple(self._columns(ifu, 0, sum(entry.rows for entry in own))) if own else ()
        return KeptIfu(self._maps[ifu], own, columns)

    def restore(self, kept: KeptIfu) -> None:
        """Store again what `exported` has returned."""
        self._store(kept.pixels, list(kept.slices), kept.columns, sum(entry.rows for entry in kept.slices))

    def slices(self, ifu: int) -> list[StoredSlice]:
        """Slices of one IFU that have rows."""
        return [s for s in self._slices if s.ifu == ifu]

    def scale(self, ifu: int) -> float:
        """What the values of an IFU are divided with."""
        return self._scales[ifu]

    def freeze(self, scales: dict[int, float], limits: Any) -> None:
        """Set the scale of each IFU (values are divided by it) and the limits of all rows.

        Sort the slices.
        """
        self._scales = dict(scales)
        self._slices = sorted(
            (s for s in self._slices if s.ifu in scales), key=lambda s: (s.ifu, s.slice_index)
        )
        self.limits = np.asarray(limits, float)

    def read(self, entry: StoredSlice) -> StoredValues:
        """Values, variances and flags of one slice."""
        return StoredValues(*self._columns(entry.ifu, entry.first, entry.rows))

    def _columns(self, ifu: int, first: int, count_of_rows: int) -> list[np.ndarray]:
        """Return some rows of one IFU: views of what is in memory, or what is read."""
        if self._descriptor is None:
            return [column[first : first + count_of_rows] for column in self._memory[ifu]]
        start, rows = self._offsets[ifu]
        columns: list[np.ndarray] = []
        for kind in (np.float32, np.float32, np.uint8):
            column = np.empty(count_of_rows, kind)
            view, done = column.view(np.uint8).data, 0
            while done < len(view):
                count = os.preadv(self._descriptor, [view[done:]], start + first * column.itemsize + done)
                if not count:
                    raise OSError("the temporary row file is shorter than expected; is the disk full?")
                done += count
            columns.append(column)
            start += rows * column.itemsize
        return columns

    def strip(
        self, row0: int, row1: int, size: tuple[int, int, int], dlambda: float, allocate: Any = None
    ) -> Any:
        """Rows of a strip of the cube in voxel order (plane, y, x; then as in the pixel tables).

        Parameters
        ----------
        row0, row1 : int
            First and last (exclusive) row of voxels.
        size : tuple of int
            ``(nz, ny, nx)`` of the whole cube.
        dlambda : float
            Step of its planes.
        allocate : callable, optional
            ``allocate(name, size, dtype)`` gives the arrays; default are new ones.

        Returns
        -------
        rows : RowColumns
            ``dq`` is 0 or 1.
        starts : int32[nz * (row1 - row0) * nx + 1]
            First row of each voxel.
        """
        low, high = self.limits[2] + row0 - 1.0, self.limits[2] + row1 + 1.0
        chosen = [s for s in self._slices if s.y_high >= low and s.y_low <= high]
        new = allocate or (lambda _, size, dtype: np.empty(size, dtype))
        voxel = new("voxel", sum(s.rows for s in chosen), np.int32)
        counts = np.zeros(size[0] * (row1 - row0) * size[2], np.int32)
        origin = np.array(self.limits[0::2])
        begin = 0
        for entry in chosen:
            own = voxel[begin : begin + entry.rows]
            locate_rows(self.pixels(entry), origin, dlambda, size, row0, row1, own, counts)
            begin += entry.rows
        starts = np.zeros(counts.size + 1, np.int32)
        np.cumsum(counts, out=starts[1:])
        total = int(starts[-1])
        out = RowColumns(
            *(new(name, total, np.int32 if name == "dq" else np.float32) for name in RowColumns._fields)
        )
        following, begin = starts[:-1].copy(), 0
        for entry in chosen:
            own = voxel[begin : begin + entry.rows]
            place_rows(self.read(entry), self._scales[entry.ifu], self.pixels(entry), own, following, out)
            begin += entry.rows
        return out, starts

    def pixels(self, entry: StoredSlice) -> SlicePixels:
        """Where the rows of a slice lie."""
        return slice_pixels(self._maps[entry.ifu], entry.slice_index, self.low, self.high)

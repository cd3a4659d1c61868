# SPDX-License-Identifier: BSD-3-Clause
"""Sky-flat rows of all IFUs, slice by slice: values on disk (or in memory if small), coordinates recomputed.

A full set has 3e8 rows. Only value, variance and a flag are kept (9 bytes per row); positions and
wavelengths come
from the calibration polynomials whenever a strip of the field is asked for.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from muse_core.detector.pixels import PixelMap, field_position, slice_place, wavelength_at
from muse_core.detector.tables import NSLICE

BYTES_PER_ROW = 9


@njit(cache=True, nogil=True)
def _pack(
    data,
    stat,
    dq,
    first,
    last,
    left,
    right,
    wave,
    place,
    low,
    high,
    notch,
    factor,
    value,
    variance,
    flag,
    limits,
):
    """Copy one slice in table order; returns the number of rows and the sum of the values.

    Parameters
    ----------
    place : float64[5]
        From `slice_place`.
    limits : float64[6]
        Smallest and largest x, y, wavelength, updated.
    """
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
            flag[n] = 1 if dq[y, x - 1] != 0 or (lam >= notch[0] and lam <= notch[1]) else 0
            total += v
            n += 1
    return n, total


@njit(cache=True, nogil=True)
def _unpack(
    value, variance, flag, scale, first, last, left, right, wave, place, low, high, origin_y, row0, row1,
    xpos, ypos, lam_out, data, stat, dq, start,
):  # fmt: skip
    """Write the rows of one slice that lie in a strip of the field; returns the next free index."""
    n = start
    k = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            lam = wavelength_at(wave[y], x)
            if lam < low or lam > high:
                continue
            px, py = field_position(x, left[y], right[y], place)
            cell = math.floor(np.float64(py) - origin_y + 0.5)
            if cell >= row0 and cell < row1:
                xpos[n] = px
                ypos[n] = py
                lam_out[n] = lam
                data[n] = np.float32(value[k] / scale)
                stat[n] = np.float32(variance[k] / (scale * scale))
                dq[n] = flag[k]
                n += 1
            k += 1
    return n


@dataclass(frozen=True)
class StoredSlice:
    """One slice of one IFU in the store."""

    ifu: int
    slice_index: int
    rows: int
    offset: int
    y_low: float
    y_high: float


@dataclass(frozen=True)
class StoredIfu:
    """What came of storing one IFU."""

    ifu: int
    flux: float
    rows: int
    limits: tuple[float, ...]


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

    def __init__(self, folder, low: float, high: float, memory_bytes: int, expected_rows: int):
        self.low, self.high = np.float32(low), np.float32(high)
        self._lock = threading.Lock()
        self._slices: list[StoredSlice] = []
        self._maps: dict[int, PixelMap] = {}
        self._scales: dict[int, float] = {}
        self.limits = np.array([np.inf, -np.inf] * 3)
        self._end = 0
        self._descriptor = None
        self._memory: dict[int, bytes] = {}
        if expected_rows * BYTES_PER_ROW > memory_bytes:
            self._descriptor, name = tempfile.mkstemp(prefix=".twilight_rows.", suffix=".part", dir=folder)
            Path(name).unlink()  # the open descriptor keeps it; nothing is left behind after a crash

    def __enter__(self) -> RowStore:
        return self

    def __exit__(self, *unused) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._memory.clear()

    @property
    def rows(self) -> int:
        """Number of rows stored."""
        return sum(s.rows for s in self._slices)

    def add(self, pixels: PixelMap, data, stat, dq, factors) -> StoredIfu:
        """Keep the rows of one IFU.

        Parameters
        ----------
        pixels : PixelMap
        data, stat : float32[ny, nx]
        dq : int32[ny, nx]
        factors : float64[48]
            Every slice is multiplied with its factor first.
        """
        flux, stored, parts = 0.0, [], []
        limits = np.array([np.inf, -np.inf] * 3)
        notch = np.array(pixels.notch, np.float32)
        for s in range(NSLICE):
            size = int(np.maximum(pixels.last[s] - pixels.first[s] + 1, 0).sum())
            value, variance = np.empty(size, np.float32), np.empty(size, np.float32)
            flag = np.empty(size, np.uint8)
            own = np.array([np.inf, -np.inf] * 3)
            n, total = _pack(
                data,
                stat,
                dq,
                pixels.first[s],
                pixels.last[s],
                pixels.left[s],
                pixels.right[s],
                pixels.wave[s],
                slice_place(pixels.geometry, s),
                self.low,
                self.high,
                notch,
                float(factors[s]),
                value,
                variance,
                flag,
                own,
            )
            flux += total
            if n:
                stored.append((s, n, own[2], own[3]))
                parts.append(value[:n].tobytes() + variance[:n].tobytes() + flag[:n].tobytes())
                limits[0::2] = np.minimum(limits[0::2], own[0::2])
                limits[1::2] = np.maximum(limits[1::2], own[1::2])
        with self._lock:
            start = self._end
            self._end += sum(map(len, parts))
            self._maps[pixels.ifu] = pixels
            offset = start
            for (s, n, y_low, y_high), part in zip(stored, parts, strict=True):
                self._slices.append(StoredSlice(pixels.ifu, s, n, offset, y_low, y_high))
                if self._descriptor is None:
                    self._memory[offset] = part
                offset += len(part)
        if self._descriptor is not None:
            for part in parts:
                done = 0
                while done < len(part):
                    done += os.pwrite(self._descriptor, part[done:], start + done)
                start += len(part)
        return StoredIfu(pixels.ifu, flux, sum(n for _, n, _, _ in stored), tuple(limits))

    def freeze(self, scales: dict[int, float], limits) -> None:
        """Set the scale of each IFU (values are divided by it) and the limits of all rows.

        Sort the slices.
        """
        self._scales = dict(scales)
        self._slices = sorted(
            (s for s in self._slices if s.ifu in scales), key=lambda s: (s.ifu, s.slice_index)
        )
        self.limits = np.asarray(limits, float)

    def _read(self, entry: StoredSlice) -> bytes:
        if self._descriptor is None:
            return self._memory[entry.offset]
        size, pieces, offset = entry.rows * BYTES_PER_ROW, [], entry.offset
        while size:
            piece = os.pread(self._descriptor, size, offset)
            if not piece:
                raise OSError("the temporary row file is shorter than expected; is the disk full?")
            pieces.append(piece)
            size -= len(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def strip(self, row0: int, row1: int, allocate=None) -> dict[str, np.ndarray]:
        """Rows whose cell along y is ``row0`` to ``row1`` (exclusive), in table order.

        Parameters
        ----------
        row0, row1 : int
        allocate : callable, optional
            ``allocate(name, size, dtype)`` gives the arrays; default are new ones.

        Returns
        -------
        dict
            ``xpos, ypos, lam, data, stat`` (float32) and ``dq`` (int32, 0 or 1).
        """
        low, high = self.limits[2] + row0 - 1.0, self.limits[2] + row1 + 1.0
        chosen = [s for s in self._slices if s.y_high >= low and s.y_low <= high]
        total = sum(s.rows for s in chosen)
        new = allocate or (lambda _, size, dtype: np.empty(size, dtype))
        out = {name: new(name, total, np.float32) for name in ("xpos", "ypos", "lam", "data", "stat")}
        out["dq"] = new("dq", total, np.int32)
        n = 0
        for entry in chosen:
            raw = self._read(entry)
            k, s = entry.rows, entry.slice_index
            pixels = self._maps[entry.ifu]
            n = _unpack(
                np.frombuffer(raw, np.float32, k),
                np.frombuffer(raw, np.float32, k, 4 * k),
                np.frombuffer(raw, np.uint8, k, 8 * k),
                self._scales[entry.ifu],
                pixels.first[s],
                pixels.last[s],
                pixels.left[s],
                pixels.right[s],
                pixels.wave[s],
                slice_place(pixels.geometry, s),
                self.low,
                self.high,
                self.limits[2],
                row0,
                row1,
                out["xpos"],
                out["ypos"],
                out["lam"],
                out["data"],
                out["stat"],
                out["dq"],
                n,
            )
        return {name: column[:n] for name, column in out.items()}

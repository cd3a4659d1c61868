# SPDX-License-Identifier: BSD-3-Clause
"""One exposure: the pixel tables of its IFUs as one table, read by wavelength interval or in row order."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block, concatenate, empty_block
from muse_core.data.kernels import (
    finite_limits,
    scale_rows,
    select_rows,
    swap_words,
    take_swapped,
    zone_limits,
)
from muse_core.data.pixtable import INTEGER_COLUMNS, PixelTableFile

if TYPE_CHECKING:
    from astropy.io.fits import Header

ROWS_PER_ZONE = 256
_SCAN_ROWS = 1 << 20
_ROW_COLUMNS = ("xpos", "ypos", "data", "dq", "stat", "origin")


@dataclass(frozen=True)
class ZoneMap:
    """Wavelength range of each group of `ROWS_PER_ZONE` rows of a file, and the limits of its columns.

    Zones without rows inside the wavelength cut have minimum > maximum.
    """

    lam_min: npt.NDArray[np.float32]
    lam_max: npt.NDArray[np.float32]
    rows: int

    @property
    def limits(self) -> tuple[float, float]:
        """Smallest and largest wavelength inside the cut."""
        return float(self.lam_min.min()), float(self.lam_max.max())


@dataclass
class Exposure:
    """The merged pixel table of one exposure, left in its files.

    Parameters
    ----------
    files : sequence of PixelTableFile
        in IFU order
    scales : sequence of float
        factor of each file's data (flat-field flux of the first IFU over that of this one)
    cut : (float, float)
        wavelength limits, inclusive; rows outside do not exist for any reader
    """

    files: Sequence[PixelTableFile]
    scales: Sequence[float]
    cut: tuple[float, float]
    zones: list[ZoneMap] = field(default_factory=list)

    @property
    def header(self) -> Header:
        """Primary header of the first file."""
        return self.files[0].header

    @property
    def rows(self) -> int:
        """Number of rows inside the wavelength cut (after `scan`)."""
        return sum(zone.rows for zone in self.zones)

    @property
    def first_rows(self) -> list[int]:
        """Number in the exposure of the first row of each file, before any cut."""
        return list(np.cumsum([0, *(file.rows for file in self.files[:-1])]))

    @property
    def total_rows(self) -> int:
        """Number of rows of all files before any cut."""
        return sum(file.rows for file in self.files)

    def scan(self, threads: int = 1) -> None:
        """Build the zone maps in one pass over the wavelengths."""
        with ThreadPoolExecutor(threads) as pool:
            self.zones = list(pool.map(lambda file: _scan_file(file, self.cut), self.files))

    def lambda_limits(self) -> tuple[float, float]:
        """Smallest and largest wavelength inside the cut, as in the files (float32 values)."""
        lows, highs = zip(*(zone.limits for zone in self.zones))
        return min(lows), max(highs)

    def narrowed(self, low: float, high: float, threads: int = 1) -> Exposure:
        """Return the same exposure with a narrower wavelength cut."""
        cut = (max(low, self.cut[0]), min(high, self.cut[1]))
        if cut == self.cut:
            return self
        other = Exposure(self.files, self.scales, cut)
        other.scan(threads)
        return other

    def limits(self, column: str, threads: int = 1) -> tuple[np.float32, np.float32]:
        """Smallest and largest value of a column over the rows inside the cut."""

        def one(index: int) -> tuple[np.float32, np.float32]:
            low, high = np.float32(np.inf), np.float32(-np.inf)
            for block in self._file_chunks(index, _SCAN_ROWS, (column,)):
                a, b = finite_limits(block[column])
                low, high = min(low, a), max(high, b)
            return low, high

        with ThreadPoolExecutor(threads) as pool:
            lows, highs = zip(*pool.map(one, range(len(self.files))))
        return min(lows), max(highs)

    def gather(self, low: float, high: float) -> Block:
        """Return the rows with low <= wavelength <= high in table order, data scaled by the IFU factors."""
        low, high = max(low, self.cut[0]), min(high, self.cut[1])
        blocks = []
        for index in range(len(self.files)):
            zone = self.zones[index]
            hit = np.flatnonzero((zone.lam_min <= high) & (zone.lam_max >= low))
            if hit.size:
                blocks.append(self._read(index, _runs(hit, self.files[index].rows), low, high))
        return concatenate(blocks) if blocks else empty_block()

    def chunks(self, rows: int = _SCAN_ROWS) -> Iterator[Block]:
        """Yield all rows inside the cut in table order, about `rows` at a time."""
        for index, file in enumerate(self.files):
            for start in range(0, file.rows, rows):
                stop = min(start + rows, file.rows)
                block = self._read(index, [(start, stop)], *self.cut)
                if len(block):
                    yield block

    def chunk_ranges(self, rows: int = _SCAN_ROWS) -> list[tuple[int, int, int]]:
        """List (file, start, stop) of the pieces that `read_range` takes, in table order."""
        return [
            (index, start, min(start + rows, file.rows))
            for index, file in enumerate(self.files)
            for start in range(0, file.rows, rows)
        ]

    def slice_ranges(self) -> list[tuple[int, int, int]]:
        """List (file, start, stop) of the runs of rows that belong to one slice, in table order."""
        pieces = []
        for index, file in enumerate(self.files):
            descriptor = os.open(file.path, os.O_RDONLY)
            try:
                first, last = 0, -1
                for start in range(0, file.rows, _SCAN_ROWS):
                    stop = min(start + _SCAN_ROWS, file.rows)
                    slices = _native(file, descriptor, "origin", start, stop).view(np.int32) & 0x7FF
                    changes = np.flatnonzero(np.diff(slices, prepend=last if start else slices[0]))
                    for change in changes:
                        pieces.append((index, first, start + int(change)))
                        first = start + int(change)
                    last = int(slices[-1])
                pieces.append((index, first, file.rows))
            finally:
                os.close(descriptor)
        return pieces

    def read_range(self, piece: tuple[int, int, int], *, positions_only: bool = False) -> Block:
        """Return the rows of one piece of `chunk_ranges` that lie inside the cut.

        With `positions_only` the columns data, stat and dq stay empty.
        """
        index, start, stop = piece
        columns = ("xpos", "ypos", "origin") if positions_only else _ROW_COLUMNS
        return self._read(index, [(start, stop)], *self.cut, columns)

    def _file_chunks(
        self, index: int, rows: int, columns: Sequence[str]
    ) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        file = self.files[index]
        descriptor = os.open(file.path, os.O_RDONLY)
        try:
            for start in range(0, file.rows, rows):
                stop = min(start + rows, file.rows)
                lam = _native(file, descriptor, "lambda", start, stop)
                selected = np.empty(lam.size, np.int64)
                count = select_rows(lam, *self.cut, selected)
                yield {
                    name: _native(file, descriptor, name, start, stop)[selected[:count]] for name in columns
                }
        finally:
            os.close(descriptor)

    def _read(
        self,
        index: int,
        runs: list[tuple[int, int]],
        low: float,
        high: float,
        columns: Sequence[str] = _ROW_COLUMNS,
    ) -> Block:
        file = self.files[index]
        lengths = [stop - start for start, stop in runs]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        total = int(starts[-1])
        raw = np.empty(total, np.uint32)
        descriptor = os.open(file.path, os.O_RDONLY)
        try:

            def load(column: str) -> npt.NDArray[np.uint32]:
                for (start, _), a, b in zip(runs, starts[:-1], starts[1:]):
                    file.read_words(descriptor, column, start, raw[a:b])
                return raw

            lam_words = np.empty(total, np.uint32)
            swap_words(load("lambda"), lam_words)
            lam = lam_words.view(np.float32)
            selected = np.empty(total, np.int64)
            selected = selected[: select_rows(lam, low, high, selected)]
            floats = {"lambda": lam[selected]}
            integers: dict[str, npt.NDArray[np.int32]] = {}
            for column in columns:
                words = np.empty(selected.size, np.uint32)
                take_swapped(load(column), selected, words)
                if column in INTEGER_COLUMNS:
                    integers[column] = words.view(np.int32)
                else:
                    floats[column] = words.view(np.float32)
        finally:
            os.close(descriptor)
        run_of = np.searchsorted(starts, selected, side="right") - 1
        row = selected - starts[run_of] + np.array([start for start, _ in runs], np.int64)[run_of]
        if self.scales[index] != 1.0 and "data" in floats:
            scale_rows(floats["data"], floats["stat"], self.scales[index])
        nothing, no_flags = np.empty(0, np.float32), np.empty(0, np.int32)
        return Block(
            xpos=floats["xpos"],
            ypos=floats["ypos"],
            lam=floats["lambda"],
            data=floats.get("data", nothing),
            dq=integers.get("dq", no_flags),
            stat=floats.get("stat", nothing),
            origin=integers["origin"],
            row=row + self.first_rows[index],
        )


def _native(
    file: PixelTableFile, descriptor: int, column: str, start: int, stop: int
) -> npt.NDArray[np.float32]:
    raw = np.empty(stop - start, np.uint32)
    file.read_words(descriptor, column, start, raw)
    words = np.empty_like(raw)
    swap_words(raw, words)
    return words.view(np.float32)


def _scan_file(file: PixelTableFile, cut: tuple[float, float]) -> ZoneMap:
    zones = -(-file.rows // ROWS_PER_ZONE)
    low = np.empty(zones, np.float32)
    high = np.empty(zones, np.float32)
    count = 0
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        for start in range(0, file.rows, _SCAN_ROWS):
            stop = min(start + _SCAN_ROWS, file.rows)
            part = slice(start // ROWS_PER_ZONE, -(-stop // ROWS_PER_ZONE))
            lam = _native(file, descriptor, "lambda", start, stop)
            count += zone_limits(lam, ROWS_PER_ZONE, *cut, low[part], high[part])
    finally:
        os.close(descriptor)
    return ZoneMap(low, high, count)


def _runs(zones: npt.NDArray[np.int64], rows: int) -> list[tuple[int, int]]:
    """Join neighbouring zones into row ranges (start, stop)."""
    breaks = np.flatnonzero(np.diff(zones) > 1)
    first = np.concatenate([[0], breaks + 1])
    last = np.concatenate([breaks, [zones.size - 1]])
    return [
        (int(zones[a]) * ROWS_PER_ZONE, min((int(zones[b]) + 1) * ROWS_PER_ZONE, rows))
        for a, b in zip(first, last)
    ]

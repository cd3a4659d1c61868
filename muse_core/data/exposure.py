# SPDX-License-Identifier: BSD-3-Clause
"""One exposure: the pixel tables of its IFUs as one table, read by wavelength interval or in row order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.file_kernels import BOX_ROWS, PIECE_ROWS, ZONE_ROWS, find_runs, scan_boxes
from muse_core.data.pixtable import PixelTableFile
from muse_core.data.row_reader import ALL_COLUMNS, PART_ROWS, Work, ended, float32_interval, opened, read_jobs
from muse_core.framework.team import Team, Threads

if TYPE_CHECKING:
    from astropy.io.fits import Header

_CHUNK_ROWS = 1 << 20
_SURE, _SPARE = 1.05, 64  # room, for each file, for more rows than are expected
POSITIONS = frozenset(("xpos", "ypos", "lambda", "origin"))
"""Columns that say where a row is."""
PLACES = frozenset(("lambda", "origin"))
"""Columns that say to which slice and wavelength a row belongs."""


@dataclass(frozen=True)
class ZoneMap:
    """What is known of each group of rows of a file; only rows inside the wavelength cut count.

    A zone is a group of `ZONE_ROWS` rows, a box one of `BOX_ROWS`; those without rows have minimum > maximum.

    Parameters
    ----------
    lam_min, lam_max : float32[zones]
        wavelength range
    limits : float32[boxes, 6]
        smallest and largest xpos, ypos and wavelength, not counting NaN
    numbers : int32[boxes, 4]
        smallest and largest IFU, smallest and largest slice
    found : int32[boxes]
        number of rows
    """

    lam_min: npt.NDArray[np.float32]
    lam_max: npt.NDArray[np.float32]
    limits: npt.NDArray[np.float32]
    numbers: npt.NDArray[np.int32]
    found: npt.NDArray[np.int32]

    @property
    def rows(self) -> int:
        """Number of rows inside the wavelength cut."""
        return int(self.found.sum())


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
        wavelength limits, inclusive; rows outside do not exist for any reader. They are rounded to single
        precision, as the wavelengths are stored and as the C recipe compares them.
    """

    files: Sequence[PixelTableFile]
    scales: Sequence[float]
    cut: tuple[float, float]
    zones: list[ZoneMap] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cut = (float(np.float32(self.cut[0])), float(np.float32(self.cut[1])))

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

    def scan(self, team: Team | None = None) -> None:
        """Build the zone maps in one pass over wavelengths, positions and origins."""
        work = partial(_scan_file, cut=self.cut)
        self.zones = list((team or Threads()).map(work, [file.without_header() for file in self.files]))

    def without_zones(self) -> Exposure:
        """Return the same rows for those who read them in table order: small enough to be sent anywhere."""
        return Exposure([file.without_header() for file in self.files], self.scales, self.cut)

    def lambda_limits(self) -> tuple[float, float]:
        """Smallest and largest wavelength inside the cut, as in the files (float32 values)."""
        return (
            min(float(zone.lam_min.min()) for zone in self.zones),
            max(float(zone.lam_max.max()) for zone in self.zones),
        )

    def narrowed(self, low: float, high: float, threads: int = 1) -> Exposure:
        """Return the same exposure with a narrower wavelength cut."""
        other = Exposure(self.files, self.scales, (max(low, self.cut[0]), min(high, self.cut[1])))
        cut = other.cut
        if cut == self.cut:
            return self
        with ThreadPoolExecutor(threads) as pool:
            other.zones = list(
                pool.map(lambda file, zone: _cut_file(file, zone, cut), self.files, self.zones)
            )
        return other

    def rows_of_slices(self) -> npt.NDArray[np.int64]:
        """Return the number of rows inside the cut by the last 11 bits of `origin` (IFU and slice)."""
        rows = np.zeros(2048, np.int64)
        for index, zone in enumerate(self.zones):
            single = (zone.numbers[:, 0] == zone.numbers[:, 1]) & (zone.numbers[:, 2] == zone.numbers[:, 3])
            keys = zone.numbers[single, 0] << 6 | zone.numbers[single, 2]
            np.add.at(rows, keys, zone.found[single])
            mixed = np.flatnonzero(~single & (zone.found > 0))
            if mixed.size:
                origin = self.read_boxes(index, mixed, PLACES).origin
                rows += np.bincount(origin & 0x7FF, minlength=2048)
        return rows

    def gather(self, low: float, high: float, work: Work | None = None) -> Block:
        """Return the rows with low <= wavelength <= high in table order, data scaled by the IFU factors.

        Parameters
        ----------
        work : callable (Block)
            called for parts of the rows as soon as they are read, to change them in place: while they are in
            the processor's cache
        """
        low, high = max(low, self.cut[0]), min(high, self.cut[1])
        limits = float32_interval(low, high)
        jobs, most = [], 0
        for index, zone in enumerate(self.zones):
            found = np.empty((zone.lam_min.size, 2), np.int64)
            n, total, expected = find_runs(zone.lam_min, zone.lam_max, *limits, self.files[index].rows, found)
            if n:
                jobs.append((index, found[:n], min(total, int(_SURE * expected) + _SPARE)))
                most += total
        return read_jobs(self.files, self.scales, jobs, float32_interval(low, high), work=work, most=most)

    def chunk_ranges(self, rows: int = _CHUNK_ROWS) -> list[tuple[int, int, int]]:
        """List (file, start, stop) of the pieces that `read_range` takes, in table order."""
        return [
            (index, start, min(start + rows, file.rows))
            for index, file in enumerate(self.files)
            for start in range(0, file.rows, rows)
        ]

    def slice_ranges(self) -> list[tuple[int, int, int]]:
        """List (file, start, stop) of the runs of rows that belong to one slice, in table order.

        Rows outside of the cut do not count; they may be at the ends of a run.
        """
        pieces = []
        for index, (file, zone) in enumerate(zip(self.files, self.zones)):
            first, last = 0, -1
            boxes = np.flatnonzero(zone.found)
            low_ifu, high_ifu, low_slice, high_slice = zone.numbers[boxes].T
            one_slice = (low_ifu == high_ifu) & (low_slice == high_slice)
            number = np.where(one_slice, low_ifu << 6 | low_slice, -1)
            # most boxes are of the same slice as the one before
            for k in np.flatnonzero(~one_slice | (np.diff(number, prepend=-1) != 0)):
                box = boxes[k]
                if k and one_slice[k - 1]:
                    last = int(number[k - 1])
                if one_slice[k]:
                    slices, rows = number[k : k + 1], np.array([box * BOX_ROWS])
                else:
                    block = self.read_boxes(index, np.array([box]), PLACES)
                    slices, rows = block.origin & 0x7FF, block.row - self.first_rows[index]
                for change in np.flatnonzero(np.diff(slices, prepend=slices[0] if last < 0 else last)):
                    pieces.append((index, first, int(rows[change])))
                    first = int(rows[change])
                last = int(slices[-1])
            pieces.append((index, first, file.rows))
        return pieces

    def rows_of_pieces(self, pieces: Sequence[tuple[int, int, int]]) -> npt.NDArray[np.int64]:
        """Return how many rows of each piece lie inside the cut, from the zone maps."""
        counts = np.empty(len(pieces), np.int64)
        file, first, last = np.array(pieces, np.int64).reshape(-1, 3).T
        for index in np.unique(file):
            own = file == index
            counts[own] = np.subtract(*self._rows_before(int(index), np.stack([last[own], first[own]])))
        return counts

    def _rows_before(self, index: int, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return how many rows of a file before each edge lie inside the cut."""
        zone = self.zones[index]
        whole = np.concatenate([[0], np.cumsum(zone.found)])
        box, rest = np.divmod(edges, BOX_ROWS)
        before = np.asarray(whole[box] + rest, np.int64)
        edge_of_file = edges == self.files[index].rows
        before[edge_of_file] = whole[-1]
        split = (rest > 0) & ~edge_of_file
        split[split] = zone.found[box[split]] < BOX_ROWS
        if split.any():
            block = self.read_boxes(index, np.unique(box[split]), PLACES)
            rows = block.row - self.first_rows[index]
            in_box = np.searchsorted(rows, edges[split]) - np.searchsorted(rows, box[split] * BOX_ROWS)
            before[split] = whole[box[split]] + in_box
        return before

    def read_range(
        self,
        piece: tuple[int, int, int],
        *,
        columns: frozenset[str] = ALL_COLUMNS,
        work: Work | None = None,
    ) -> Block:
        """Return the rows of one piece of `chunk_ranges` that lie inside the cut.

        Columns that are not in `columns` stay empty; for `work` see `gather`.
        """
        index, start, stop = piece
        jobs = [
            (index, np.array([[a, min(a + PART_ROWS, stop)]]), min(PART_ROWS, stop - a))
            for a in range(start, stop, PART_ROWS)
        ]
        return read_jobs(self.files, self.scales, jobs, float32_interval(*self.cut), columns, work)

    def read_boxes(
        self,
        index: int,
        boxes: npt.NDArray[np.int64],
        columns: frozenset[str] = POSITIONS,
        work: Work | None = None,
    ) -> Block:
        """Return the rows of some boxes (increasing) of a file that lie inside the cut."""
        runs = np.stack([boxes, boxes + 1], axis=1) * BOX_ROWS
        runs = np.minimum(runs, self.files[index].rows)
        per_part = PART_ROWS // BOX_ROWS
        jobs = [(index, runs[k : k + per_part], per_part * BOX_ROWS) for k in range(0, boxes.size, per_part)]
        return read_jobs(self.files, self.scales, jobs, float32_interval(*self.cut), columns, work)


def _scan_file(file: PixelTableFile, cut: tuple[float, float]) -> ZoneMap:
    zones, boxes = -(-file.rows // ZONE_ROWS), -(-file.rows // BOX_ROWS)
    zone = ZoneMap(
        np.empty(zones, np.float32),
        np.empty(zones, np.float32),
        np.empty((boxes, 6), np.float32),
        np.empty((boxes, 4), np.int32),
        np.empty(boxes, np.int32),
    )
    _scan(file, np.arange(boxes), cut, zone)
    return zone


def _cut_file(file: PixelTableFile, zone: ZoneMap, cut: tuple[float, float]) -> ZoneMap:
    """Narrow a zone map: only boxes that reach across the new limits are read again."""
    other = ZoneMap(
        zone.lam_min.copy(), zone.lam_max.copy(), zone.limits.copy(), zone.numbers.copy(), zone.found.copy()
    )
    crossing = (zone.found > 0) & ((zone.limits[:, 4] < cut[0]) | (zone.limits[:, 5] > cut[1]))
    _scan(file, np.flatnonzero(crossing), cut, other)
    return other


def _scan(
    file: PixelTableFile, boxes: npt.NDArray[np.int64], cut: tuple[float, float], zone: ZoneMap
) -> None:
    words = np.empty((4, PIECE_ROWS), np.uint32)
    x, y, lam, origin = words
    with opened(file) as source:
        complete = scan_boxes(
            *source,
            (x, y, lam, origin),
            x.view(np.float32),
            y.view(np.float32),
            lam.view(np.float32),
            origin.view(np.int32),
            np.empty((2, 64), np.float32),
            file.rows,
            boxes,
            *float32_interval(*cut),
            zone.lam_min,
            zone.lam_max,
            zone.limits,
            zone.numbers,
            zone.found,
        )
    if not complete:
        raise ended(file)

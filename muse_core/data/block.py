# SPDX-License-Identifier: BSD-3-Clause
"""A block of pixel-table rows, the unit on which every `apply_*` step works."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.data.kernels import number_rows
from muse_core.data.memory import borrow
from muse_core.data.pixtable import COLUMNS

F4 = npt.NDArray[np.float32]
I4 = npt.NDArray[np.int32]
I8 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowRuns:
    """Numbers of the rows of a block, as runs of rows that follow each other in the file.

    Parameters
    ----------
    places : int64[m]
        place in the block of the first row of each run
    firsts : int64[m]
        number of that row in the exposure
    """

    places: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int64]
    start: int = 0

    def numbers(self, count: int) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows at the places `start` .. `start + count - 1`."""
        rows = np.empty(count, np.int64)
        number_rows(self.places, self.firsts, self.start, rows)
        return rows

    def __getitem__(self, index: I8) -> I8:
        """Return the numbers of some rows, counted from `start`."""
        places = index + self.start
        run = np.searchsorted(self.places, places, side="right") - 1
        numbers: I8 = self.firsts[run] + (places - self.places[run])
        return numbers


class Block:
    """Columns of some rows of one exposure, in the order of the table.

    Parameters
    ----------
    xpos, ypos : float32[n]
        position: detector-independent pixels, native spherical radians or degrees relative to CRVAL, by step
    lam : float32[n]
        wavelength in Angstrom
    data, stat : float32[n]
        value and variance
    dq : int32[n]
        Euro3D quality flags, 0 = good
    origin : int32[n]
        packed slice (bits 0-5), IFU (6-10), CCD y (11-23) and x offset (24-30)
    row : int64[n]
        number of the row in the exposure (IFU files one behind the other, before any cut); worked out when it
        is first asked for
    """

    __slots__ = ("_row", "data", "dq", "lam", "origin", "stat", "xpos", "ypos")

    def __init__(
        self, xpos: F4, ypos: F4, lam: F4, data: F4, dq: I4, stat: F4, origin: I4, row: I8 | RowRuns
    ) -> None:
        self.xpos = xpos
        self.ypos = ypos
        self.lam = lam
        self.data = data
        self.dq = dq
        self.stat = stat
        self.origin = origin
        self._row = row

    @property
    def row(self) -> I8:
        """Number of each row in the exposure."""
        if isinstance(self._row, RowRuns):
            self._row = self._row.numbers(len(self))
        return self._row

    @row.setter
    def row(self, numbers: I8 | RowRuns) -> None:
        self._row = numbers

    @property
    def numbering(self) -> I8 | RowRuns:
        """What `row` comes from: gives the number of a row by its index, without the memory of a column."""
        return self._row

    def __len__(self) -> int:
        return int(self.lam.size)

    def _columns(self) -> tuple[Any, ...]:
        return self.xpos, self.ypos, self.lam, self.data, self.dq, self.stat, self.origin

    def select(self, keep: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Block:
        """Return a new block with the rows where `keep` is True (or, for numbers, with those rows)."""
        return Block(*(column[keep] for column in (*self._columns(), self.row)))

    def part(self, start: int, stop: int) -> Block:
        """Return a range of rows as views; columns that were not read stay empty."""
        row = self._row
        if isinstance(row, RowRuns):
            row = replace(row, start=row.start + start)
        else:
            row = row[start:stop]
        return Block(*(*(column[start:stop] for column in self._columns()), row))

    def copy(self) -> Block:
        """Return an independent copy."""
        return Block(*(column.copy() for column in (*self._columns(), self.row)))


def concatenate(blocks: list[Block]) -> Block:
    """Join blocks in the given order."""
    if len(blocks) == 1:
        return blocks[0]
    columns = ("xpos", "ypos", "lam", "data", "dq", "stat", "origin", "row")
    return Block(*(np.concatenate([getattr(block, name) for block in blocks]) for name in columns))


def new_block(rows: int, columns: frozenset[str]) -> tuple[Block, tuple[npt.NDArray[np.uint32], ...]]:
    """Return a block of unset rows, and its columns as words in the order of the file.

    All columns share one piece of memory: large pieces are much cheaper to get than several smaller ones.

    Parameters
    ----------
    columns : set of str
        names in the file of the columns that are wanted; the others stay empty
    """
    padded = -(-rows // 16) * 16  # columns begin at multiples of 64 bytes
    wanted = [name for name in COLUMNS if name in columns]
    memory = borrow(len(wanted) * padded, np.uint32)
    parts = {name: memory[i * padded : i * padded + rows] for i, name in enumerate(wanted)}
    words = tuple(parts.get(name, memory[:0]) for name in COLUMNS)
    xpos, ypos, lam, data, dq, stat, origin = words
    block = Block(
        xpos=xpos.view(np.float32),
        ypos=ypos.view(np.float32),
        lam=lam.view(np.float32),
        data=data.view(np.float32),
        dq=dq.view(np.int32),
        stat=stat.view(np.float32),
        origin=origin.view(np.int32),
        row=np.empty(0, np.int64),
    )
    return block, words


def slice_of(origin: I4) -> I4:
    """Return the slice number 1..48 of each row."""
    return origin & 0x3F

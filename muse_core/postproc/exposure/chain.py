# SPDX-License-Identifier: BSD-3-Clause
"""The rows of an exposure: the files they stand in, and the corrections to apply to them.

Corrections are fitted once and added; rows are read only when somebody asks for them, and then run through
the chain. No correction sees more than one block, so memory does not grow with the exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.exposure import PLACES, POSITIONS, Exposure
from muse_core.data.row_reader import ALL_COLUMNS
from muse_core.framework import RecipeError
from muse_core.framework.team import S, Team, Threads, in_order
from muse_core.postproc.exposure.correction import Correction
from muse_core.postproc.exposure.row_limits import (
    RowLimits,
    find_limits,
    join_limits,
    limits_of_good_rows,
)

CHUNK_ROWS = 1 << 19
_ROUNDING_A = 0.01  # more than float32 wavelengths lose when they are multiplied

T = TypeVar("T")
Piece = tuple[int, int, int]
"""Number of a file, its first row, the row behind the last."""
Select = Callable[[Block], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class RowPass:
    """Reads a piece of the rows, corrects it, and hands it on; a worker anywhere needs nothing else.

    Parameters
    ----------
    files : Exposure
        without its zone maps
    before : corrections of all rows
    work : callable (Block), or (total, Block)
    select : callable or None
        which rows are wanted
    after : corrections of those only
    columns : set of str
        those that are read
    by_wavelength : bool
        the rows of a piece in the order of their wavelengths in the file
    """

    files: Exposure
    before: tuple[Correction, ...]
    work: Callable[..., Any]
    select: Select | None = None
    after: tuple[Correction, ...] = ()
    columns: frozenset[str] = ALL_COLUMNS
    by_wavelength: bool = False

    def block(self, piece: Piece) -> Block:
        """Return the rows of a piece."""

        def correct(block: Block) -> None:
            for correction in self.before:
                correction.apply(block)

        if self.by_wavelength:
            block = self.files.read_range(piece, columns=self.columns)
            block = block.select(np.argsort(block.lam, kind="stable"))
            correct(block)
        else:
            block = self.files.read_range(piece, columns=self.columns, work=correct)
        if self.select is not None:
            block = block.select(self.select(block))
            for correction in self.after:
                correction.apply(block)
        return block

    def __call__(self, piece: Piece) -> Any:
        return self.work(self.block(piece))

    def add(self, total: Any, piece: Piece) -> None:
        """Add a piece to a total."""
        self.work(total, self.block(piece))


@dataclass
class Chain:
    """Files and corrections of one exposure.

    Parameters
    ----------
    files : Exposure
        the pixel tables, with the wavelength cut
    team : Team
        who makes the passes over the rows
    polar_files : bool
        positions in the files are angles of polar coordinates, which jump
    polar : bool
        positions are such angles now; whoever adds a correction that changes this says so
    sorted_slices : bool
        saved tables have the rows of each slice in order of wavelength, as the C recipe leaves them after
        some of its corrections
    good_only : bool
        flagged rows count as removed: they have no part in the limits (whoever reads rows heeds their flags)
    """

    files: Exposure
    team: Team = field(default_factory=Threads)
    polar_files: bool = False
    polar: bool = False
    sorted_slices: bool = False
    good_only: bool = False
    corrections: list[Correction] = field(default_factory=list)
    _limits: tuple[tuple[object, ...], RowLimits] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process without what is not needed to gather rows there."""
        slim = self.files.without_zones()
        slim.zones = self.files.zones
        return {**self.__dict__, "files": slim}

    @property
    def rows(self) -> int:
        """Number of rows inside the wavelength cut."""
        return self.files.rows

    @property
    def stretch(self) -> float:
        """Factor between wavelengths in the files and now."""
        return float(np.prod([correction.stretch for correction in self.corrections]))

    def add(self, correction: Correction) -> None:
        """Append a fitted correction."""
        self.corrections.append(correction)

    def run(self, block: Block) -> Block:
        """Apply all corrections to a block, in place."""
        for correction in self.corrections:
            correction.apply(block)
        return block

    def gather(self, low: float, high: float) -> Block:
        """Return the corrected rows of a wavelength interval (given in present wavelengths)."""
        factor = self.stretch
        margin = _ROUNDING_A if factor != 1.0 else 0.0
        return self.files.gather(low / factor - margin, high / factor + margin, self.run)

    def blocks(self) -> Iterator[Block]:
        """Yield all corrected rows in table order (or in the order of `sorted_slices`)."""
        rows, pieces = self.saved_rows()
        for block in in_order(rows.block, pieces, self.team.threads):
            if len(block):
                yield block

    def saved_rows(self) -> tuple[RowPass, list[Piece]]:
        """Return how all corrected rows are read in the order of a saved table, and their pieces."""
        rows = RowPass(
            self.files.without_zones(), tuple(self.corrections), len, by_wavelength=self.sorted_slices
        )
        return rows, self.files.slice_ranges() if self.sorted_slices else self.pieces()

    def row_pass(self, work: Callable[..., Any], *, select: Select | None = None) -> RowPass:
        """Return a pass over all corrected rows.

        Parameters
        ----------
        work : callable (Block), or (total, Block)
        select : callable or None
            which rows are wanted, by their final positions. Corrections that move no rows are applied to
            these only, and may still flag some of them.
        """
        moving = len(self.corrections)
        if select is not None:
            moving = max((n for n, each in enumerate(self.corrections, 1) if each.moves), default=0)
        before, after = self.corrections[:moving], self.corrections[moving:]
        return RowPass(self.files.without_zones(), tuple(before), work, select, tuple(after))

    def pieces(self) -> list[Piece]:
        """Return the pieces of rows into which a pass is cut, in table order."""
        return self.files.chunk_ranges(CHUNK_ROWS)

    def map_blocks(self, work: Callable[[Block], T], *, select: Select | None = None) -> Iterator[T]:
        """Yield ``work(block)`` for all corrected rows, in table order; for `select` see `row_pass`."""
        yield from self.team.map(self.row_pass(work, select=select), self.pieces())

    def total(
        self, new: Callable[[], S], add: Callable[[S, Block], object], *, select: Select | None = None
    ) -> S:
        """Return a total to which ``add(total, block)`` has added all corrected rows, in any order.

        Parameters
        ----------
        new : returns an empty total; several threads may add to it at once
        select : see `row_pass`
        """
        return self.team.total(new, self.row_pass(add, select=select).add, self.pieces())

    def total_of_places(self, new: Callable[[], S], add: Callable[[S, Block], object]) -> S:
        """Return a total of wavelengths and origins, as they are in the files."""
        rows = RowPass(self.files.without_zones(), (), add, columns=PLACES)
        return self.team.total(new, rows.add, self.pieces())

    def total_of_positions(self, new: Callable[[], S], add: Callable[[S, Block], object]) -> S:
        """Return a total of corrected positions; the blocks have no data."""
        moving = tuple(correction for correction in self.corrections if correction.moves)
        rows = RowPass(self.files.without_zones(), moving, add, columns=POSITIONS)
        return self.team.total(new, rows.add, self.pieces())

    def limits(self) -> RowLimits:
        """Return the present limits of the rows; only corrections that move rows are run.

        Several corrections ask between two moves; the limits are found once.
        """
        moving = [correction.apply for correction in self.corrections if correction.moves]
        state = (len(moving), self.files.cut, self.good_only)
        if self._limits is None or self._limits[0] != state:
            if self.good_only:
                self._limits = (state, self._limits_of_good_rows())
                return self._limits[1]
            smooth = not self.polar_files and not self.polar
            self._limits = (state, find_limits(self.files, moving, self.team.threads, smooth=smooth))
        return self._limits[1]

    def _limits_of_good_rows(self) -> RowLimits:
        """Return the limits of the rows without a flag; all rows are read."""
        found = [part for part in self.map_blocks(limits_of_good_rows) if part is not None]
        if not found:
            raise RecipeError("All rows of the pixel tables are flagged; check their extension dq.")
        return join_limits(found)

    def narrow(self, low: float, high: float) -> None:
        """Remove the rows outside a wavelength range given in the wavelengths of the files."""
        self.files = self.files.narrowed(low, high, self.team.threads)

# SPDX-License-Identifier: BSD-3-Clause
"""The rows of an exposure: the files they stand in, and the corrections to apply to them.

Corrections are fitted once and added; rows are read only when somebody asks for them, and then run through
the chain. No correction sees more than one block, so memory does not grow with the exposure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.exposure import PLACES, POSITIONS, Exposure
from muse_core.framework import RecipeError
from muse_core.postproc.exposure.correction import Correction
from muse_core.postproc.exposure.row_limits import (
    RowLimits,
    find_limits,
    join_limits,
    limits_of_good_rows,
)
from muse_core.resampling.pipeline import in_order

CHUNK_ROWS = 1 << 19
_ROUNDING_A = 0.01  # more than float32 wavelengths lose when they are multiplied

T = TypeVar("T")
Piece = tuple[int, int, int]


@dataclass
class Chain:
    """Files and corrections of one exposure.

    Parameters
    ----------
    files : Exposure
        the pixel tables, with the wavelength cut
    threads : int
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
    threads: int = 1
    polar_files: bool = False
    polar: bool = False
    sorted_slices: bool = False
    good_only: bool = False
    corrections: list[Correction] = field(default_factory=list)
    _limits: tuple[tuple[object, ...], RowLimits] | None = field(default=None, repr=False)

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

        def work(piece: Piece) -> Block:
            if not self.sorted_slices:
                return self.files.read_range(piece, work=self.run)
            block = self.files.read_range(piece)
            block = block.select(np.argsort(block.lam, kind="stable"))
            self.run(block)
            return block

        pieces = self.files.slice_ranges() if self.sorted_slices else self.files.chunk_ranges(CHUNK_ROWS)
        for block in in_order(work, iter(pieces), self.threads):
            if len(block):
                yield block

    def map_blocks(self, work: Callable[[Block], T]) -> Iterator[T]:
        """Yield ``work(block)`` for all corrected rows, computed on threads, in table order."""

        def one(piece: Piece) -> T:
            return work(self.files.read_range(piece, work=self.run))

        yield from in_order(one, iter(self.files.chunk_ranges(CHUNK_ROWS)), self.threads)

    def map_selected(
        self, select: Callable[[Block], npt.NDArray[np.bool_]], work: Callable[[Block], T]
    ) -> Iterator[T]:
        """Yield ``work(block)`` for the corrected rows that ``select`` takes by their final positions.

        Corrections that move no rows are applied to the chosen rows only, and may still flag some of them.
        """
        moving = max((n for n, correction in enumerate(self.corrections, 1) if correction.moves), default=0)

        def move(block: Block) -> None:
            for correction in self.corrections[:moving]:
                correction.apply(block)

        def one(piece: Piece) -> T:
            block = self.files.read_range(piece, work=move)
            block = block.select(select(block))
            for correction in self.corrections[moving:]:
                correction.apply(block)
            return work(block)

        yield from in_order(one, iter(self.files.chunk_ranges(CHUNK_ROWS)), self.threads)

    def positions(self) -> Iterator[Block]:
        """Yield all rows in table order with their corrected positions, but without data."""

        def one(piece: Piece) -> Block:
            block = self.files.read_range(piece, columns=POSITIONS)
            if len(block):
                for correction in self.corrections:
                    if correction.moves:
                        correction.apply(block)
            return block

        yield from in_order(one, iter(self.files.chunk_ranges(CHUNK_ROWS)), self.threads)

    def scan(self, work: Callable[[Block], None], columns: frozenset[str] = PLACES) -> None:
        """Call ``work(block)`` on threads for all rows as in the files (some columns), in any order."""

        def one(piece: Piece) -> None:
            work(self.files.read_range(piece, columns=columns))

        for _ in in_order(one, iter(self.files.chunk_ranges(CHUNK_ROWS)), self.threads):
            pass

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
            self._limits = (state, find_limits(self.files, moving, self.threads, smooth=smooth))
        return self._limits[1]

    def _limits_of_good_rows(self) -> RowLimits:
        """Return the limits of the rows without a flag; all rows are read."""
        found = [part for part in self.map_blocks(limits_of_good_rows) if part is not None]
        if not found:
            raise RecipeError("All rows of the pixel tables are flagged; check their extension dq.")
        return join_limits(found)

    def narrow(self, low: float, high: float) -> None:
        """Remove the rows outside a wavelength range given in the wavelengths of the files."""
        self.files = self.files.narrowed(low, high, self.threads)

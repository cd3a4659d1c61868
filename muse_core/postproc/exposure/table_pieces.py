# SPDX-License-Identifier: BSD-3-Clause
"""The rows of an exposure written into a pixel table piece by piece, by whoever makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.postproc.exposure.chain import Chain, Piece, RowPass

if TYPE_CHECKING:
    from muse_core.data.pixtable_writer import PixelTableWriter, TableLayout
    from muse_core.data.row_weights import Weight
    from muse_core.postproc.exposure.correction import Correction


@dataclass(frozen=True)
class PieceWriter:
    """Makes the rows of a piece and writes them to their place in the file.

    Parameters
    ----------
    rows : RowPass
    layout : TableLayout
        of the file, which is there with all its room
    finish : callable (Block) -> Block or None
        what is done to the rows last
    last : Correction or None
        made at the very end; the data before it go into a column of their own
    weight : Weight or None
    """

    rows: RowPass
    layout: TableLayout
    finish: Callable[[Block], Block] | None = None
    last: Correction | None = None
    weight: Weight | None = None

    def __call__(self, placed: tuple[Piece, int, int]) -> int:
        """Write a piece, given with its first row in the table and the number of its rows."""
        piece, row, count = placed
        if not count:
            return 0
        block = self.rows.block(piece)
        if self.finish is not None:
            block = self.finish(block)
        if len(block) != count:
            raise ValueError(f"{len(block)} rows in piece {piece}, {count} expected")
        before = None
        if self.last is not None:
            before = block.data.copy()
            self.last.apply(block)
        self.layout.write(block, row, self.weight, before)
        return count


def count_good(block: Block) -> int:
    """Return the number of rows without a flag."""
    return int(np.count_nonzero(block.dq == 0))


def good_rows(block: Block) -> Block:
    """Return the rows without a flag."""
    return block.select(block.dq == 0)


def counts_of_good(chain: Chain) -> npt.NDArray[np.int64]:
    """Return the number of good rows of each piece of a saved table; all rows are read."""
    rows, pieces = chain.saved_rows()
    counts = chain.team.map(replace(rows, work=count_good), pieces, small=True)
    return np.array(list(counts), np.int64)


def write_rows(
    writer: PixelTableWriter,
    chain: Chain,
    *,
    first: int = 0,
    counts: npt.NDArray[np.int64] | None = None,
    finish: Callable[[Block], Block] | None = None,
    last: Correction | None = None,
    weight: Weight | None = None,
) -> int:
    """Write all rows of an exposure into a table, and return the row behind them.

    Parameters (for the others see `PieceWriter`)
    ----------
    first : row of the table to begin with
    counts : int64[n] or None
        rows of each piece that `finish` leaves; None: all that are inside the cut
    """
    rows, pieces = chain.saved_rows()
    if counts is None:
        counts = chain.files.rows_of_pieces(pieces)
    ends = first + np.cumsum(counts)
    placed = [
        (piece, int(end - count), int(count)) for piece, end, count in zip(pieces, ends, counts, strict=True)
    ]
    work = PieceWriter(rows, writer.layout, finish, last, weight)
    for written in chain.team.map(work, placed, small=True):
        writer.note(written)
    return int(ends[-1]) if len(ends) else first

# SPDX-License-Identifier: BSD-3-Clause
"""Read runs of rows of pixel tables into a block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block, RowRuns, new_block
from muse_core.data.file_kernels import ENDED, FULL, PIECE_ROWS, read_rows
from muse_core.data.memory import borrow
from muse_core.data.pixtable import COLUMNS, PixelTableFile
from muse_core.framework import InputError

PART_ROWS = 1 << 16
ALL_COLUMNS = frozenset(COLUMNS)
_GROWTH, _AT_LEAST = 1.5, 1024  # of room that was too small; the runs may have ten times as many rows
Work = Callable[[Block], object]
Job = tuple[int, npt.NDArray[np.int64], int]
"""Number of a file, runs of its rows (first, behind the last), and how many rows there is to be room for."""


def read_jobs(
    files: Sequence[PixelTableFile],
    scales: Sequence[float],
    jobs: Sequence[Job],
    limits: tuple[np.float32, np.float32],
    columns: frozenset[str] = ALL_COLUMNS,
    work: Work | None = None,
    most: int | None = None,
) -> Block:
    """Return the rows of jobs whose wavelengths lie between two limits (inclusive), one behind the other.

    Parameters
    ----------
    scales : sequence of float
        factor of each file's data
    columns : set of str
        those that are wanted, wavelengths among them; the others stay empty
    work : callable (Block)
        see `Exposure.gather`
    most : int or None
        the jobs may turn out to have more rows than there is room for, but no more than this altogether
    """
    first_rows = np.cumsum([0, *(file.rows for file in files[:-1])])
    room = sum(length for _, _, length in jobs)
    block, words = new_block(room, columns)
    # in the worst case each row is a run; memory that is not written to costs nothing
    places, firsts = borrow(room, np.int64), borrow(room, np.int64)
    piece = np.empty(PIECE_ROWS, np.uint32)
    scratch = piece, piece.view(np.float32), np.empty((PIECE_ROWS // 2 + 1, 2), np.int32)
    end, n = 0, 0
    for index, runs, _ in jobs:
        start = end
        with opened(files[index]) as source:
            while True:
                end, n_after = read_rows(
                    *source,
                    *scratch,
                    runs,
                    *limits,
                    int(first_rows[index]),
                    float(scales[index]),
                    words,
                    block.data,
                    block.stat,
                    places,
                    firsts,
                    start,
                    n,
                )
                if end != FULL:
                    break
                if most is None or room == most:
                    raise ValueError("more rows than the runs can have")
                room = min(most, int(_GROWTH * room) + _AT_LEAST)
                block, words = _enlarged(words, start, room, columns)
                places, firsts = (_longer(part, n, room) for part in (places, firsts))
        if end == ENDED:
            raise ended(files[index])
        n = n_after
        if work is not None:
            block.row = RowRuns(places[:n], firsts[:n])
            for first in range(start, end, PART_ROWS):
                work(block.part(first, min(first + PART_ROWS, end)))
    block.row = RowRuns(places[:n].copy(), firsts[:n].copy())
    return block.part(0, end)


def _enlarged(
    words: tuple[npt.NDArray[np.uint32], ...], count: int, rows: int, columns: frozenset[str]
) -> tuple[Block, tuple[npt.NDArray[np.uint32], ...]]:
    """Return a larger block with the first `count` rows of another one, given by its words."""
    block, larger = new_block(rows, columns)
    for source, target in zip(words, larger):
        target[:count] = source[:count]
    return block, larger


def _longer(values: npt.NDArray[np.int64], count: int, size: int) -> npt.NDArray[np.int64]:
    longer = borrow(size, np.int64)
    longer[:count] = values[:count]
    return longer


@contextmanager
def opened(
    file: PixelTableFile,
) -> Iterator[tuple[int, npt.NDArray[np.int64], int, npt.NDArray[np.uint8]]]:
    """Open a file; yields the source of rows that the kernels take."""
    descriptor = os.open(file.path, os.O_RDONLY)
    try:
        offsets = [file.offsets[name] for name in COLUMNS]
        offsets += [min(offsets), max(offsets) + 4]
        raw = np.empty(0 if file.stride == 4 else PIECE_ROWS * file.stride, np.uint8)
        yield descriptor, np.array(offsets), file.stride, raw
    finally:
        os.close(descriptor)


def ended(file: PixelTableFile) -> InputError:
    return InputError(
        file.path,
        "columns",
        expected=f"{file.rows} rows",
        found="end of file",
        remedy="Make the pixel table again, or leave it out of the set of frames.",
    )


def float32_interval(low: float, high: float) -> tuple[np.float32, np.float32]:
    """Return the smallest and the largest single-precision number between two limits."""
    with np.errstate(over="ignore"):
        first, last = np.float32(low), np.float32(high)
    if float(first) < low:
        first = np.nextafter(first, np.float32(np.inf))
    if float(last) > high:
        last = np.nextafter(last, np.float32(-np.inf))
    return first, last

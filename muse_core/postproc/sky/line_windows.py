# SPDX-License-Identifier: BSD-3-Clause
"""Which rows a sky line acts on: the windows of the lines in each slice.

In the C pipeline the rows of a slice are sorted by wavelength, and a line at ``l`` acts on the rows from
number ``lo`` to number ``hi`` (included), the last rows with a wavelength <= ``l + x_first`` and <= ``l +
x_last``, or row 0 if there is none; x_first and x_last are the offsets of the first and last LSF sample.
Nothing happens if ``lo`` and ``hi`` are the same row.  All this, and that of several rows of the same
wavelength at ``lo`` only the last one is hit, was measured against 2.8.7.

Whether a row is hit thus depends on other rows of its slice.  `LineWindows` collects what matters, in one
pass over wavelengths and origins: for each slice and line the largest wavelength at or below the lower
limit, and the row that has it.  After that every row can be treated alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.per_thread import PerThread
from muse_core.data.slices import N_KEY
from muse_core.postproc.sky.line_kernels import CELL, collect_bounds

if TYPE_CHECKING:
    from muse_core.data.block import Block


@dataclass(frozen=True)
class LineIndex:
    """A sorted list of wavelengths with a look-up table.

    Parameters
    ----------
    value : float64[n], increasing
    first : int32[n_cell]   index of the first value at or above the start of each cell of 0.5 Angstrom
    start : wavelength at which the first cell begins
    """

    value: npt.NDArray[np.float64]
    first: npt.NDArray[np.int32]
    start: float

    @classmethod
    def from_values(cls, value: npt.NDArray[np.float64]) -> LineIndex:
        """Build the look-up table of increasing values."""
        start = float(value[0]) if value.size else 0.0
        n = int((float(value[-1]) - start) / CELL) + 2 if value.size else 1
        first = np.searchsorted(value, start + np.arange(n) * CELL, side="left")
        return cls(value, first.astype(np.int32), start)


class _Bounds:
    """What one thread knows of the rows between the lower limits of the lines; see `collect_bounds`."""

    def __init__(self, n: int) -> None:
        self.high = np.full((N_KEY, n + 1), -np.inf, dtype=np.float32)
        self.low = np.full((N_KEY, n + 1), np.inf, dtype=np.float32)
        self.place = np.full((N_KEY, n + 1), -1, dtype=np.int64)
        self.lowest = np.full((N_KEY, 2), np.inf, dtype=np.float32)
        self.rows = np.zeros(N_KEY, dtype=np.int64)

    def merge(self, other: _Bounds) -> None:
        """Take over what another thread has seen."""
        last = np.maximum(self.place, other.place)
        chosen = np.where(self.high > other.high, self.place, other.place)
        self.place = np.where(self.high == other.high, last, chosen)
        np.maximum(self.high, other.high, out=self.high)
        np.minimum(self.low, other.low, out=self.low)
        self.lowest = np.sort(np.hstack([self.lowest, other.lowest]), axis=1)[:, :2]
        self.rows += other.rows


class LineWindows:
    """Collects, for each slice, the rows at the lower window limits of the lines.

    Parameters
    ----------
    lam_lines : float64[n]   wavelengths of the lines, in any order
    reach : offsets of the first and last sample of the profile
    """

    def __init__(self, lam_lines: npt.NDArray[np.float64], reach: tuple[float, float]) -> None:
        self._lam = np.sort(lam_lines)
        self.reach = reach
        self.lower = LineIndex.from_values(self._lam + reach[0])
        self._bounds = PerThread(partial(_Bounds, self._lam.size))

    def add(
        self, lam: npt.NDArray[np.float32], origin: npt.NDArray[np.int32], row: npt.NDArray[np.int64]
    ) -> None:
        """Add the rows of a block; they must be the rows that are left after all cuts.

        Parameters
        ----------
        row : int64[n]   numbers of the rows in the exposure
        """
        lower, mine = self.lower, self._bounds.mine()
        collect_bounds(
            lam, origin, row, lower.value, lower.first, lower.start, mine.high, mine.low, mine.place,
            mine.lowest, mine.rows,
        )  # fmt: skip

    def add_block(self, block: Block) -> None:
        """Add all rows of a block."""
        self.add(block.lam, block.origin, block.row)

    def merge(self, other: LineWindows) -> None:
        """Take over what another one about the same lines has seen."""
        self._collected().merge(other._collected())

    def _collected(self) -> _Bounds:
        return self._bounds.joined(_Bounds.merge)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Number of rows of each slice."""
        return self._collected().rows

    @property
    def lowest_row(self) -> npt.NDArray[np.float32]:
        """Smallest wavelength of each slice."""
        return self._collected().lowest[:, 0]

    def bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return where each line begins to act in each slice.

        Returns
        -------
        bound : float32[1152, n]   wavelength of the lowest row that is hit; infinity if none is
        place : int64[1152, n]   number of the only row with that wavelength that is hit; -1: all
        """
        n, seen = self._lam.size, self._collected()
        bound, place = seen.high[:, :n].copy(), seen.place[:, :n].copy()
        for j in range(1, n):
            take = ~(bound[:, j] > bound[:, j - 1])  # nothing between the two limits
            bound[take, j] = bound[take, j - 1]
            place[take, j] = place[take, j - 1]
        next_row = np.minimum.accumulate(seen.low[:, ::-1], axis=1)[:, ::-1][:, 1:]
        upper = self._lam + self.reach[1]
        below_slice = bound == -np.inf
        bound = np.where(below_slice, seen.lowest[:, :1], bound)
        hit = np.where(below_slice, seen.lowest[:, 1:].astype(np.float64) <= upper, next_row <= upper)
        return np.where(hit, bound, np.float32(np.inf)), np.where(below_slice, -1, place)

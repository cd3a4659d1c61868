# SPDX-License-Identifier: BSD-3-Clause
"""A set of rows of an exposure, one bit per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from muse_core.data.kernels import drop_rows


class RowSet:
    """Rows by number, 0 .. size - 1.

    >>> rows = RowSet(100)
    >>> rows.add(np.array([3, 64]))
    >>> rows.contains(np.array([2, 3, 64])).tolist()
    [False, True, True]
    """

    def __init__(self, size: int) -> None:
        self._bits = np.zeros(-(-size // 8), np.uint8)

    def add(self, rows: npt.NDArray[np.int64]) -> None:
        """Put rows into the set."""
        np.bitwise_or.at(self._bits, rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))

    def contains(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Say which of the rows are in the set."""
        return (self._bits[rows >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(bool)

    def drop_from(self, rows: npt.NDArray[np.int64], selected: npt.NDArray[np.bool_]) -> None:
        """Set ``selected`` to False for the rows that are in the set.

        >>> rows = RowSet(100)
        >>> rows.add(np.array([3]))
        >>> chosen = np.array([True, True])
        >>> rows.drop_from(np.array([2, 3]), chosen)
        >>> chosen.tolist()
        [True, False]
        """
        drop_rows(self._bits, rows, selected)

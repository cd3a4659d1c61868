# SPDX-License-Identifier: BSD-3-Clause
"""A set of rows of an exposure, one bit per row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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

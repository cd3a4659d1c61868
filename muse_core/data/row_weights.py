# SPDX-License-Identifier: BSD-3-Clause
"""Weights of rows that a pixel table brings with it in a column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RowWeights:
    """Where the column ``weight`` of a table lies; its values are read when they are asked for.

    Parameters
    ----------
    path : the file
    offset, stride : bytes to the first value, and from one to the next
    rows : of the table
    """

    path: Path
    offset: int
    stride: int
    rows: int

    def of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the weights of some rows, by their numbers in the table."""
        words = np.memmap(self.path, np.uint8, "r", self.offset, ((self.rows - 1) * self.stride + 4,))
        column = np.ndarray((self.rows,), ">f4", words, 0, (self.stride,))
        return column[rows].astype(np.float32)

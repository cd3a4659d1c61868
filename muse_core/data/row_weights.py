# SPDX-License-Identifier: BSD-3-Clause
"""Weights of rows: those that a pixel table brings with it in a column, and those by wavelength."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.framework import InputError

if TYPE_CHECKING:
    from muse_core.data.block import Block


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
        """Return the weights of some rows, by their numbers in the table.

        Raises
        ------
        InputError
            if one of them is negative or no number
        """
        words = np.memmap(self.path, np.uint8, "r", self.offset, ((self.rows - 1) * self.stride + 4,))
        column = np.ndarray((self.rows,), ">f4", words, 0, (self.stride,))
        weights = column[rows].astype(np.float32)
        if not (np.isfinite(weights) & (weights >= 0.0)).all():
            wrong = rows[~(np.isfinite(weights) & (weights >= 0.0))]
            raise InputError(
                self.path, "column weight", expected="finite numbers of 0 or more",
                found=f"{column[wrong[0]]:g} in row {wrong[0] + 1}", remedy="Repair or remove that column.",
            )  # fmt: skip
        return weights

    def of_block(self, block: Block) -> npt.NDArray[np.float32]:
        """Return the weights of the rows of a block."""
        return self.of(block.row)


@dataclass(frozen=True)
class WavelengthWeights:
    """Weights that depend on the wavelength alone.

    Parameters
    ----------
    lam : float64[n]
        wavelengths [Angstrom], ascending
    weight : float64[n]
        weights there; linear between them, constant beyond
    """

    lam: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]

    def of_block(self, block: Block) -> npt.NDArray[np.float32]:
        """Return the weights of the rows of a block."""
        return np.interp(block.lam, self.lam, self.weight).astype(np.float32)


Weight = float | RowWeights | WavelengthWeights
"""Of an exposure: one for all rows, those of a column of its table, or those of wavelengths."""


def weight_of_block(weight: Weight | None, block: Block) -> float | npt.NDArray[np.float32]:
    """Return the weight of the rows of a block, 1 if there is none."""
    if isinstance(weight, RowWeights | WavelengthWeights):
        return weight.of_block(block)
    return 1.0 if weight is None else weight

# SPDX-License-Identifier: BSD-3-Clause
"""A block of pixel-table rows, the unit on which every `apply_*` step works."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

F4 = npt.NDArray[np.float32]
I4 = npt.NDArray[np.int32]


@dataclass
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
        number of the row in the exposure (IFU files one behind the other, before any cut)
    """

    xpos: F4
    ypos: F4
    lam: F4
    data: F4
    dq: I4
    stat: F4
    origin: I4
    row: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.lam.size)

    def select(self, keep: npt.NDArray[np.bool_]) -> Block:
        """Return a new block with the rows where `keep` is True."""
        return Block(*(getattr(self, field.name)[keep] for field in fields(self)))

    def copy(self) -> Block:
        """Return an independent copy."""
        return Block(*(getattr(self, field.name).copy() for field in fields(self)))


def concatenate(blocks: list[Block]) -> Block:
    """Join blocks in the given order."""
    if len(blocks) == 1:
        return blocks[0]
    return Block(
        *(np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(Block))
    )


def empty_block() -> Block:
    """Return a block without rows."""
    f4 = [np.empty(0, np.float32) for _ in range(5)]
    return Block(
        f4[0], f4[1], f4[2], f4[3], np.empty(0, np.int32), f4[4], np.empty(0, np.int32), np.empty(0, np.int64)
    )


def slice_of(origin: I4) -> I4:
    """Return the slice number 1..48 of each row."""
    return origin & 0x3F


def ifu_of(origin: I4) -> I4:
    """Return the IFU number 1..24 of each row."""
    return (origin >> 6) & 0x1F

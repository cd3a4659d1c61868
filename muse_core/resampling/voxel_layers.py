# SPDX-License-Identifier: BSD-3-Clause
"""A layer: the rows of a few planes of the cube, in voxel order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block, RowRuns
from muse_core.data.memory import borrow
from muse_core.data.row_weights import Weight, weight_of_block
from muse_core.resampling.grid import OutputGrid
from muse_core.resampling.voxel_order import count_rows, find_spaxels, locate_plane, number_voxels, place_rows
from muse_core.resampling.voxel_types import VoxelRows

F4 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Contribution:
    """One exposure's rows in their final state.

    Parameters
    ----------
    gather : callable (low, high) -> Block
        rows of that wavelength interval in table order (more rows do no harm); must be safe to call from
        threads
    rows : int
        number of rows altogether
    weight : Weight or None
        weight of the exposure, or those of its rows; None = no weighting
    """

    gather: Callable[[float, float], Block]
    rows: int
    weight: Weight | None = None


@dataclass
class Layer:
    """Rows of the planes first .. last - 1, in voxel order.

    Parameters
    ----------
    rows : VoxelRows
        with the flags of the table
    numbered : list of (int32 array, numbering)
        per contribution: place in this layer of each row that was gathered (-1: none), and what its number
        in the exposure comes from; empty if the numbers are not wanted
    judged : int32[n]
        flags with the cosmic rays of these planes
    cosmics : int64 array
        which rows these are
    exposure : uint16[n]
        number of the contribution of each row, ascending within a voxel; empty if it is not wanted
    """

    first: int
    last: int
    rows: VoxelRows
    numbered: list[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64] | RowRuns]]
    judged: npt.NDArray[np.int32]
    cosmics: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    exposure: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))

    def judged_rows(self) -> VoxelRows:
        """Return the rows as they are resampled, without the cosmic rays found in them."""
        return self.rows._replace(dq=self.judged)

    def rows_of(self, first: int, last: int, spaxels: int) -> slice:
        """Return the rows of the planes first .. last - 1 of the cube."""
        a, b = ((plane - self.first) * spaxels for plane in (first, last))
        return slice(int(self.rows.starts[a]), int(self.rows.starts[b]))

    def row_numbers(self, places: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Return, per contribution, the numbers in the exposure of the rows at some places."""
        wanted = np.zeros(self.judged.size + 1, np.bool_)  # one more for the place -1
        wanted[places] = True
        return [numbers[np.flatnonzero(wanted[target])] for target, numbers in self.numbered]


def make_layer(
    contributions: Sequence[Contribution],
    grid: OutputGrid,
    reference: tuple[float, float],
    limits: tuple[float, float],
    first: int,
    last: int,
    *,
    keep_rows: bool,
    round_as_c: bool,
    by_exposure: bool = False,
) -> Layer:
    """Gather the rows of the planes first .. last - 1 and put them into voxel order (stable).

    Parameters
    ----------
    reference : (float, float)
        coordinates to which the stored row positions are relative
    limits : (float, float)
        wavelengths that can belong to these planes
    keep_rows : bool
        keep the row numbers
    by_exposure : bool
        keep the number of the contribution of each row
    round_as_c : bool
        find spaxels with the rounding of the C pipeline
    """
    blocks = [contribution.gather(*limits) for contribution in contributions]
    voxels = [_locate(block, grid, reference, first, last, round_as_c=round_as_c) for block in blocks]
    # one element more than there will be, see `place_rows`
    starts = borrow((last - first) * grid.nx * grid.ny + 2, np.int32)
    starts[:] = 0
    for voxel in voxels:
        count_rows(voxel, starts[2:])
    np.cumsum(starts, out=starts)
    total = int(starts[-1])
    weighted = any(c.weight is not None for c in contributions)
    columns = new_rows(total, weighted=weighted, by_exposure=by_exposure)
    numbered = []
    for number, (contribution, block, voxel) in enumerate(zip(contributions, blocks, voxels)):
        weight = np.atleast_1d(np.asarray(weight_of_block(contribution.weight, block), np.float32))
        target = borrow(voxel.size if keep_rows else 0, np.int32)
        own = (block.xpos, block.ypos, block.lam, block.data, block.stat, block.dq, weight, number)
        place_rows(voxel, starts[1:], own, columns, target)
        if keep_rows:
            numbered.append((target, block.numbering))
    rows = VoxelRows(starts[:-1], *columns[:7])
    return Layer(first, last, rows, numbered, judged=rows.dq, exposure=columns[7])


def new_rows(
    count: int, *, weighted: bool, by_exposure: bool
) -> tuple[F4, F4, F4, F4, F4, npt.NDArray[np.int32], F4, npt.NDArray[np.uint16]]:
    """Return unset columns of a layer: xpos, ypos, lam, data, stat, dq, weight, exposure.

    They share one piece of memory, see `new_block`. Weights and exposures stay empty if they are not wanted.
    """
    padded = -(-count // 32) * 32  # columns begin at multiples of 64 bytes
    memory = borrow((6 + weighted) * padded + by_exposure * padded // 2, np.uint32)
    parts = [memory[i * padded : i * padded + count] for i in range(6 + weighted)]
    xpos, ypos, lam, data, stat = (part.view(np.float32) for part in parts[:5])
    weight = parts[6] if weighted else memory[:0]
    exposure = memory[(6 + weighted) * padded :].view(np.uint16)[: count if by_exposure else 0]
    return xpos, ypos, lam, data, stat, parts[5].view(np.int32), weight.view(np.float32), exposure


def _locate(
    block: Block, grid: OutputGrid, reference: tuple[float, float], first: int, last: int, *, round_as_c: bool
) -> npt.NDArray[np.int32]:
    """Return the voxel of each row, counted from plane `first`; -1 for rows of other planes."""
    spaxel = find_spaxels(grid, reference, block.xpos, block.ypos, round_as_c=round_as_c)
    voxel = borrow(len(block), np.int32)
    locate_plane(block.lam, grid.crval[2], grid.crpix[2], grid.dlambda, grid.log_wavelength, grid.nz, voxel)
    number_voxels(spaxel, first, last - first, grid.nx * grid.ny, voxel)
    return voxel

# SPDX-License-Identifier: BSD-3-Clause
"""A layer: the rows of a few planes of the cube, in voxel order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.resampling.grid import OutputGrid
from muse_core.resampling.voxels import (
    count_rows,
    locate_celestial,
    locate_pixel,
    locate_plane,
    number_voxels,
    place_rows,
)


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
    weight : float or None
        weight of the exposure; None = no weighting
    """

    gather: Callable[[float, float], Block]
    rows: int
    weight: float | None = None


@dataclass
class Layer:
    """Rows of the planes first .. last - 1, in voxel order.

    Parameters
    ----------
    starts : int32[(last - first) * ny * nx + 1]
        first row of each voxel
    xpos, ypos, lam, data, stat : float32[n]
    dq : int32[n]
        as in the table
    weight : float32[n] or float32[0]
        exposure weights; empty = 1
    row, source : int64[n], int32[n] or None
        number of each row in its exposure, and number of the contribution
    judged : int32[n]
        `dq` with the cosmic rays of these planes flagged
    cosmics : int64 array
        which rows these are
    """

    first: int
    last: int
    starts: npt.NDArray[np.int32]
    xpos: npt.NDArray[np.float32]
    ypos: npt.NDArray[np.float32]
    lam: npt.NDArray[np.float32]
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    dq: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float32]
    row: npt.NDArray[np.int64] | None
    source: npt.NDArray[np.int32] | None
    judged: npt.NDArray[np.int32]
    cosmics: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def rows_of(self, first: int, last: int, spaxels: int) -> slice:
        """Return the rows of the planes first .. last - 1 of the cube."""
        a, b = ((plane - self.first) * spaxels for plane in (first, last))
        return slice(int(self.starts[a]), int(self.starts[b]))


def make_layer(
    contributions: Sequence[Contribution],
    grid: OutputGrid,
    reference: tuple[float, float],
    limits: tuple[float, float],
    first: int,
    last: int,
    *,
    keep_rows: bool,
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
    """
    blocks = [contribution.gather(*limits) for contribution in contributions]
    voxels = [_locate(block, grid, reference, first, last) for block in blocks]
    # one element more than there will be, see `place_rows`
    starts = np.zeros((last - first) * grid.nx * grid.ny + 2, np.int32)
    for voxel in voxels:
        count_rows(voxel, starts[2:])
    np.cumsum(starts, out=starts)
    total = int(starts[-1])
    weighted = any(c.weight is not None for c in contributions)
    floats = [np.empty(total, np.float32) for _ in range(5)]
    dq = np.empty(total, np.int32)
    weight = np.empty(total if weighted else 0, np.float32)
    row = np.empty(total, np.int64) if keep_rows else None
    source = np.empty(total, np.int32) if keep_rows else None
    target = np.empty(max((voxel.size for voxel in voxels), default=0), np.int32)
    for number, (block, voxel) in enumerate(zip(blocks, voxels)):
        columns = (block.xpos, block.ypos, block.lam, block.data, block.stat)
        place_rows(voxel, starts[1:], *columns, block.dq, *floats, dq, target)
        if weighted or keep_rows:
            placed = target[: voxel.size]
            inside = placed >= 0
            placed = placed[inside]
            if weighted:
                factor = contributions[number].weight
                weight[placed] = 1.0 if factor is None else factor
            if row is not None and source is not None:
                row[placed] = block.row[inside]
                source[placed] = number
    return Layer(first, last, starts[:-1], *floats, dq, weight, row, source, judged=dq)


def _locate(
    block: Block, grid: OutputGrid, reference: tuple[float, float], first: int, last: int
) -> npt.NDArray[np.int32]:
    """Return the voxel of each row, counted from plane `first`; -1 for rows of other planes."""
    spaxel = np.empty(len(block), np.int32)
    if grid.celestial:
        locate_celestial(
            block.xpos,
            block.ypos,
            *map(float, reference),
            grid.crval[0],
            grid.crval[1],
            np.linalg.inv(np.array(grid.matrix)),
            grid.crpix[0],
            grid.crpix[1],
            grid.nx,
            grid.ny,
            spaxel,
        )
    else:
        locate_pixel(
            block.xpos,
            block.ypos,
            grid.crval[0],
            grid.crval[1],
            grid.matrix[0][0],
            grid.matrix[1][1],
            grid.nx,
            grid.ny,
            spaxel,
        )
    voxel = np.empty(len(block), np.int32)
    locate_plane(block.lam, grid.crval[2], grid.crpix[2], grid.dlambda, grid.log_wavelength, grid.nz, voxel)
    number_voxels(spaxel, first, last - first, grid.nx * grid.ny, voxel)
    return voxel

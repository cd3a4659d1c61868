# SPDX-License-Identifier: BSD-3-Clause
"""Covariance of the voxels of a cube, from the exact weights with which their rows were added.

A voxel is v = sum(w_i d_i) / W, so two voxels that share rows have the covariance sum(w_i w'_i s_i) / (W W').
It depends on where the rows lie between the voxels, which changes from slice to slice and slowly along
wavelength: so it is measured as correlation coefficients, the mean of each offset (dlambda, dy, dx), for each
spaxel (tiles of some spaxels where there would be too many of them) and in a few planes of each block of
planes. The rows of these planes are gathered once more; nothing else of the cube changes, and memory is that
of some slabs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from muse_core.framework.team import Team
from muse_core.resampling.plan import CubePlan
from muse_core.resampling.slabs import find_cosmics, gather_layer, voxel_grid
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import METHODS, add_rows

BLOCK = 96  # planes
SAMPLE = 2  # planes that are measured in each of two places of a block
LARGEST = 80_000_000  # coefficients of all tiles and blocks
WIDE = 5  # spaxels; blocks grow as well when tiles do beyond this
_BYTES_PER_ROW = 130
_BYTES_PER_VOXEL = 64
_BYTES_PER_PAIR = 48
_NEGLIGIBLE = 1e-4


Measured = tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Covariance:
    """Correlation coefficients of pairs of voxels.

    Parameters
    ----------
    rho : float32[n_blocks, ntile_y, ntile_x, rz + 1, 2 r + 1, 2 r + 1]
        of a voxel of that block of planes and tile of spaxels with that dlambda planes higher, dy - r and
        dx - r spaxels further
    block, tile : int
        planes of a block, spaxels along each side of a tile
    common : float64[n_blocks, rz + 1, 2 r + 1, 2 r + 1]
        covariances of such pairs over the means of their variances, the mean over the field; the mean of rho
        where that is not known, which gives pairs of voxels with small errors too much weight
    stat_aperture : int
        STAT was multiplied so that its sum over n x n spaxels is the variance of their sum; 1: as it is
    scales : float64[n_blocks]
        what it was multiplied with in the middle of each block
    """

    rho: npt.NDArray[np.float32]
    block: int
    tile: int
    common: npt.NDArray[np.float64]
    stat_aperture: int = 1
    scales: npt.NDArray[np.float64] = field(default_factory=lambda: np.ones(1))

    def noise_factors(self, n: int, planes: int = 1) -> npt.NDArray[np.float64]:
        """Return, for each block, the error of an aperture of n x n spaxels over the root of the summed STAT.

        Parameters
        ----------
        planes : int
            planes that are summed as well
        """
        reach_z, reach = self.rho.shape[3] - 1, (self.rho.shape[4] - 1) // 2
        across = np.maximum(n - np.abs(np.arange(-reach, reach + 1)), 0.0)
        along = np.maximum(planes - np.arange(reach_z + 1), 0.0)
        along[1:] *= 2.0  # above and below
        pairs = along[:, None, None] * across[:, None] * across / (n * n * planes)
        return np.sqrt(np.maximum(np.tensordot(self.common, pairs, 3), 0.0))

    def stat_factors(self, nz: int) -> npt.NDArray[np.float64]:
        """Return what the variances of each plane are multiplied with."""
        centres = np.minimum(self.block * (np.arange(len(self.rho)) + 0.5), nz) - 0.5
        return np.interp(np.arange(nz), centres, self.scales)


def measure_covariance(
    contributions: Sequence[Contribution], plan: CubePlan, *, team: Team, memory_bytes: int
) -> Iterator[Measured]:
    """Measure the covariance block by block; the blocks are put together by `assemble`.

    Yields
    ------
    (float32[ntile_y, ntile_x, rz + 1, 2 r + 1, 2 r + 1], float64[rz + 1, 2 r + 1, 2 r + 1])
        correlation coefficients of each block, in order (NaN where there are none), and what is common to
        pairs of the whole field, without the offsets at which this block has no correlation
    """
    if plan.resampling.method == "nearest":
        return
    grid = plan.grid
    tile, block = _resolution(plan)
    each = _patch(tile) // tile
    ld, margin = max(plan.resampling.ld, 1), plan.reach
    starts = range(0, grid.nz, block)
    rows = sum(c.rows for c in contributions)
    per_plane = _BYTES_PER_ROW * rows / grid.nz + _BYTES_PER_VOXEL * grid.nx * grid.ny
    pairs_of_tiles = (2 * ld + 1) * (4 * ld + 1) ** 2 * -(-grid.nx // tile) * -(-grid.ny // tile)
    own = per_plane * (SAMPLE + 2 * ld + 2 * margin) + _BYTES_PER_PAIR * pairs_of_tiles
    at_once = int(memory_bytes / own)

    def measure(first: int) -> Measured:
        last = min(first + block, grid.nz)
        quarter = (last - first) // 4
        lows = {max(first, first + quarter - 1), max(first, last - quarter - 1)}
        shape = (-(-grid.ny // tile), -(-grid.nx // tile), 2 * ld + 1, 4 * ld + 1, 4 * ld + 1)
        pairs, norms = np.zeros(shape), np.zeros(shape)
        squares = np.zeros((-(-shape[0] // each), -(-shape[1] // each), *shape[2:]))
        for low in sorted(lows):
            planes = low, min(low + SAMPLE, last)
            _measure_planes(contributions, plan, planes, tile, pairs, norms, squares)
        common = _share(pairs, squares, each)
        rho = np.full(pairs.shape, np.nan, np.float32)
        np.divide(pairs, norms, out=rho, where=norms > 0, casting="same_kind")
        up, side = _reached(rho)
        return np.ascontiguousarray(rho[:, :, up, side, side]), common[up, side, side]

    yield from team.map(measure, starts, max(1, at_once))


def count_blocks(plan: CubePlan) -> int:
    """Return how many blocks there are to be measured."""
    return 0 if plan.resampling.method == "nearest" else -(-plan.grid.nz // _resolution(plan)[1])


def _resolution(plan: CubePlan) -> tuple[int, int]:
    """Return the size of tiles and blocks: larger where there would be too many coefficients."""
    grid, resampling, ld = plan.grid, plan.resampling, max(plan.resampling.ld, 1)
    next_only = resampling.method == "drizzle" and max(resampling.pixfrac) <= 1.0
    offsets = 2 * 3 * 3 if next_only else (2 * ld + 1) * (4 * ld + 1) ** 2
    tile, block = 1, BLOCK
    while offsets * math.prod(-(-a // b) for a, b in ((grid.nx, tile), (grid.ny, tile), (grid.nz, block))) > (
        LARGEST
    ):
        if tile >= WIDE:
            block = math.ceil(1.3 * block)
        tile = math.ceil(1.3 * tile)
    return tile, block


def _patch(tile: int) -> int:
    """Return the side of the patches of tiles over which variances are summed up [spaxels]."""
    return tile * math.ceil(WIDE / tile)


def _measure_planes(
    contributions: Sequence[Contribution],
    plan: CubePlan,
    planes: tuple[int, int],
    tile: int,
    pairs: npt.NDArray[np.float64],
    norms: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
) -> None:
    """Add to sums of covariances, products of errors and variances of pairs; planes: first, last + 1."""
    from muse_core.resampling.covariance_kernels import add_norms, add_pairs

    grid, resampling, ld = plan.grid, plan.resampling, max(plan.resampling.ld, 1)
    low, high = planes
    top = min(high + 2 * ld, grid.nz)
    layer = gather_layer(
        contributions, plan, max(low - plan.reach, 0), min(top + plan.reach, grid.nz), keep_rows=False
    )
    find_cosmics(None, layer, None, plan)
    rows, geometry = layer.judged_rows(), voxel_grid(plan)
    sums = np.zeros((top - low, grid.ny, grid.nx, 3))
    add_rows(rows, geometry, layer.first, layer.last - layer.first, low, resampling, sums)
    total, square = sums[..., 1].copy(), sums[..., 2]
    good = np.isfinite(sums).all(axis=-1) & (np.abs(total) > 1e-100) & (square > 0)
    total[~good] = 0.0
    error = np.where(good, np.sqrt(np.where(good, square, 0.0)) / np.where(good, np.abs(total), 1.0), 0.0)
    x, y, z = map(float, resampling.pixfrac)
    add_pairs(
        rows, geometry, layer.first, layer.last - layer.first, low, high, METHODS[resampling.method],
        float(resampling.rc), (x, y, z), ld, total, tile, pairs,
    )  # fmt: skip
    add_norms(error, high - low, tile, _patch(tile), norms, squares)


def _share(
    pairs: npt.NDArray[np.float64], squares: npt.NDArray[np.float64], each: int
) -> npt.NDArray[np.float64]:
    """Return covariances over mean variances of each offset: those of whole patches of some tiles, averaged.

    A mean of single spaxels gives pairs with small errors too much weight, sums over the whole field give it
    to its edges, whose voxels have few rows; patches at the edges are left out where there are others.
    """
    rows, columns = (np.arange(0, n, each) for n in pairs.shape[:2])
    summed = np.add.reduceat(np.add.reduceat(pairs, rows, axis=0), columns, axis=1)
    sides = (np.minimum(each, n - first) for n, first in zip(pairs.shape, (rows, columns)))
    if min(summed.shape[:2]) > 2:
        squares = np.pad(squares[1:-1, 1:-1], ((1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
    weights = (squares > 0) * np.multiply.outer(*sides)[:, :, None, None, None]
    shares = np.divide(summed, squares, out=np.zeros(squares.shape), where=squares > 0)
    return np.asarray((weights * shares).sum(axis=(0, 1)) / np.maximum(weights.sum(axis=(0, 1)), 1))


def _reached(rho: npt.NDArray[np.float32]) -> tuple[slice, slice]:
    """Return which dlambda, and which dy and dx, have any correlation."""
    reach_z, reach = rho.shape[2] - 1, (rho.shape[3] - 1) // 2
    seen = np.nanmax(np.abs(rho), axis=(0, 1), initial=0.0) > _NEGLIGIBLE
    planes, across = seen.any(axis=(1, 2)), seen.any(axis=(0, 1)) | seen.any(axis=(0, 2))
    use_z = max((k for k in range(reach_z + 1) if planes[k]), default=0)
    use = max((r for r in range(reach + 1) if across[reach - r] or across[reach + r]), default=0)
    return slice(0, use_z + 1), slice(reach - use, reach + use + 1)


def assemble(blocks: Sequence[Measured], plan: CubePlan, stat_aperture: int = 1) -> Covariance:
    """Put the blocks together; gaps get the mean of their block, or of all blocks."""
    if not blocks:
        ones = np.ones((1, 1, 1, 1, 1, 1), np.float32)
        return Covariance(
            ones, plan.grid.nz, max(plan.grid.nx, plan.grid.ny), np.ones((1, 1, 1, 1)), stat_aperture
        )
    tile, block = _resolution(plan)
    planes = max(rho.shape[2] for rho, _ in blocks)
    reach = max((rho.shape[3] - 1) // 2 for rho, _ in blocks)
    wide = (planes, 2 * reach + 1, 2 * reach + 1)
    rho = np.zeros((len(blocks), *blocks[0][0].shape[:2], *wide), np.float32)
    common = np.zeros((len(blocks), *wide))
    for part, whole, (own_rho, own_common) in zip(rho, common, blocks):
        own = (own_rho.shape[3] - 1) // 2
        place = (slice(0, own_rho.shape[2]), *2 * [slice(reach - own, reach + own + 1)])
        part[:, :, *place] = own_rho
        whole[place] = own_common
    _fill(rho)
    covariance = Covariance(rho, block, tile, common, stat_aperture)
    return replace(covariance, scales=covariance.noise_factors(stat_aperture) ** 2)


def _fill(rho: npt.NDArray[np.float32]) -> None:
    """Replace what could not be measured by the mean of the block, of all blocks, or nothing."""
    means = []
    for part in rho:
        gaps = np.isnan(part)
        number = np.sum(~gaps, axis=(0, 1))
        mean = np.nansum(part, axis=(0, 1), dtype=np.float64) / np.maximum(number, 1)
        means.append(np.where(number > 0, mean, np.nan))
        np.copyto(part, means[-1], where=gaps, casting="same_kind")
    known = np.isfinite(means)
    of_all = np.where(known, means, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    for part, own in zip(rho, known):
        np.copyto(part, of_all, where=~own, casting="same_kind")

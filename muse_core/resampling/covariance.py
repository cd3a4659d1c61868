# SPDX-License-Identifier: BSD-3-Clause
"""Covariance of the voxels of a cube, from the exact weights with which their rows were added.

A voxel is v = sum(w_i d_i) / W, so two voxels that share rows have the covariance sum(w_i w'_i s_i) / (W W').
It depends on where the rows lie between the voxels, which changes slowly over the field and along wavelength:
so it is measured as correlation coefficients, the mean of each offset (dlambda, dy, dx), on tiles of some
spaxels and in a few planes of each block of planes. The rows of these planes are gathered once more; nothing
else of the cube changes, and memory is that of some slabs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from muse_core.resampling.pipeline import in_order
from muse_core.resampling.plan import CubePlan
from muse_core.resampling.slabs import find_cosmics, gather_layer, voxel_grid
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import METHODS, add_rows

TILE = 5  # spaxels
BLOCK = 96  # planes
SAMPLE = 2  # planes that are measured in each of two places of a block
LARGEST = 12_000_000  # coefficients of all tiles and blocks
_BYTES_PER_ROW = 130
_BYTES_PER_VOXEL = 64
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
    evenness : float64[n_blocks, rz + 1, 2 r + 1, 2 r + 1]
        product of the errors of such pairs over the mean of their variances; 1 where all variances are alike.
        Known while the cube is made only
    stat_aperture : int
        STAT was multiplied so that its sum over n x n spaxels is the variance of their sum; 1: as it is
    scales : float64[n_blocks]
        what it was multiplied with in the middle of each block
    """

    rho: npt.NDArray[np.float32]
    block: int
    tile: int
    evenness: npt.NDArray[np.float64]
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
        rho = self.rho.mean(axis=(1, 2), dtype=np.float64)
        square = np.tensordot(rho * self.evenness, pairs, 3)
        return np.sqrt(np.maximum(square, 0.0))

    def stat_factors(self, nz: int) -> npt.NDArray[np.float64]:
        """Return what the variances of each plane are multiplied with."""
        centres = np.minimum(self.block * (np.arange(len(self.rho)) + 0.5), nz) - 0.5
        return np.interp(np.arange(nz), centres, self.scales)


def measure_covariance(
    contributions: Sequence[Contribution], plan: CubePlan, *, threads: int, memory_bytes: int
) -> Iterator[Measured]:
    """Measure the covariance block by block; the blocks are put together by `assemble`.

    Yields
    ------
    (float32[ntile_y, ntile_x, 2 ld + 1, 4 ld + 1, 4 ld + 1], float64[2 ld + 1, 4 ld + 1, 4 ld + 1])
        correlation coefficients of each block, in order (NaN where there are none), and evenness
    """
    if plan.resampling.method == "nearest":
        return
    grid = plan.grid
    tile, block = _resolution(plan)
    ld, margin = max(plan.resampling.ld, 1), plan.reach
    starts = range(0, grid.nz, block)
    rows = sum(c.rows for c in contributions)
    per_plane = _BYTES_PER_ROW * rows / grid.nz + _BYTES_PER_VOXEL * grid.nx * grid.ny
    at_once = int(memory_bytes / (per_plane * (SAMPLE + 2 * ld + 2 * margin)))

    def measure(first: int) -> Measured:
        last = min(first + block, grid.nz)
        quarter = (last - first) // 4
        lows = {max(first, first + quarter - 1), max(first, last - quarter - 1)}
        parts = [_measure_planes(contributions, plan, k, min(k + SAMPLE, last), tile) for k in sorted(lows)]
        pairs, norms, squares = (np.sum([part[i] for part in parts], axis=0) for i in range(3))
        rho = np.full(pairs.shape, np.nan, np.float32)
        np.divide(pairs, norms, out=rho, where=norms > 0, casting="same_kind")
        products = norms.sum(axis=(0, 1))
        return rho, np.divide(products, squares, out=np.ones(squares.shape), where=squares > 0)

    yield from in_order(measure, iter(starts), max(1, min(threads, at_once)))


def count_blocks(plan: CubePlan) -> int:
    """Return how many blocks there are to be measured."""
    return 0 if plan.resampling.method == "nearest" else -(-plan.grid.nz // _resolution(plan)[1])


def _resolution(plan: CubePlan) -> tuple[int, int]:
    """Return the size of tiles and blocks: larger where a wide kernel has many offsets."""
    grid, ld = plan.grid, max(plan.resampling.ld, 1)
    offsets = (2 * ld + 1) * (4 * ld + 1) ** 2
    tile, block = TILE, BLOCK
    while offsets * math.prod(-(-a // b) for a, b in ((grid.nx, tile), (grid.ny, tile), (grid.nz, block))) > (
        LARGEST
    ):
        tile, block = math.ceil(1.3 * tile), math.ceil(1.3 * block)
    return tile, block


def _measure_planes(
    contributions: Sequence[Contribution], plan: CubePlan, low: int, high: int, tile: int
) -> tuple[npt.NDArray[np.float64], ...]:
    """Return sums of covariances, products of errors and variances; the first voxel is in low .. high - 1."""
    from muse_core.resampling.covariance_kernels import add_norms, add_pairs

    grid, resampling, ld = plan.grid, plan.resampling, max(plan.resampling.ld, 1)
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
    shape = (-(-grid.ny // tile), -(-grid.nx // tile), 2 * ld + 1, 4 * ld + 1, 4 * ld + 1)
    pairs, norms, squares = np.zeros(shape), np.zeros(shape), np.zeros(shape[2:])
    x, y, z = map(float, resampling.pixfrac)
    add_pairs(
        rows, geometry, layer.first, layer.last - layer.first, low, high, METHODS[resampling.method],
        float(resampling.rc), (x, y, z), ld, total, tile, pairs,
    )  # fmt: skip
    add_norms(error, high - low, tile, norms, squares)
    return pairs, norms, squares


def assemble(blocks: Sequence[Measured], plan: CubePlan, stat_aperture: int = 1) -> Covariance:
    """Put the blocks together: gaps get the mean of their block, offsets without any correlation are cut."""
    if not blocks:
        ones = np.ones((1, 1, 1, 1, 1, 1), np.float32)
        return Covariance(
            ones, plan.grid.nz, max(plan.grid.nx, plan.grid.ny), np.ones((1, 1, 1, 1)), stat_aperture
        )
    tile, block = _resolution(plan)
    rho, evenness = (np.stack(parts) for parts in zip(*blocks))
    _fill(rho)
    reach_z, reach = rho.shape[3] - 1, (rho.shape[4] - 1) // 2
    seen = np.abs(rho).max(axis=(0, 1, 2)) > _NEGLIGIBLE
    planes, across = seen.any(axis=(1, 2)), seen.any(axis=(0, 1)) | seen.any(axis=(0, 2))
    use_z = max((k for k in range(reach_z + 1) if planes[k]), default=0)
    use = max((r for r in range(reach + 1) if across[reach - r] or across[reach + r]), default=0)
    side = slice(reach - use, reach + use + 1)
    rho = np.ascontiguousarray(rho[:, :, :, : use_z + 1, side, side])
    covariance = Covariance(rho, block, tile, evenness[:, : use_z + 1, side, side], stat_aperture)
    return replace(covariance, scales=covariance.noise_factors(stat_aperture) ** 2)


def _fill(rho: npt.NDArray[np.float32]) -> None:
    """Replace what could not be measured by the mean of the block, of all blocks, or nothing."""
    known = np.isfinite(rho)
    for axes in ((1, 2), (0, 1, 2)):
        number = known.sum(axis=axes, keepdims=True)
        mean = np.where(known, rho, 0.0).sum(axis=axes, keepdims=True, dtype=np.float64) / np.maximum(
            number, 1
        )
        use = ~known & (number > 0)
        rho[use] = np.broadcast_to(mean, rho.shape)[use]
        known |= use
    rho[~known] = 0.0

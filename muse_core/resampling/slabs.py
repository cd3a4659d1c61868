# SPDX-License-Identifier: BSD-3-Clause
"""The wavelength slab: the cube is made a few planes at a time from the rows of their wavelength interval.

Every slab gathers its rows (with the halo that cosmic-ray rejection and the loop distance need), orders them
by voxel, rejects, resamples. Slabs share nothing, so they run on threads in any order; results are handed
out in order. Rows enter each voxel in the same order whatever the slab size, so the result does not depend on
it, bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.resampling.cosmics import COSMIC_RAY, flag_cosmics
from muse_core.resampling.cosmics import METHODS as COSMIC_METHODS
from muse_core.resampling.grid import OutputGrid
from muse_core.resampling.voxels import locate_celestial, locate_pixel, locate_plane, order_by_voxel
from muse_core.resampling.weights import METHODS, NEAREST, Resampling, add_rows, finish_voxels, nearest_rows

BYTES_PER_ROW = 95
BYTES_PER_VOXEL = 32
MAX_PLANES = 48
_MARGIN_A = 0.02
_NEAREST_STRETCH = 2.0  # found by experiment: 1.8 to 2.2 reproduce what the C recipe chooses


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


@dataclass(frozen=True)
class CosmicRejection:
    """Settings of the cosmic-ray rejection (see `muse_core.resampling.cosmics`)."""

    method: str
    sigma: float
    rule: int


@dataclass(frozen=True)
class CubePlan:
    """All that a slab needs to know.

    Parameters
    ----------
    grid : OutputGrid
    reference : (float, float)
        coordinates to which the stored row positions are relative
    resampling : Resampling
    cosmics : CosmicRejection or None
    border_rows : bool
        True: rows of any wavelength outside the grid belong to the first or last plane, as in the C recipe;
        False: only those near enough to matter (differs for OUTPUT_WCS grids shorter than the data)
    shifted_nearest : bool
        True: `nearest` measures from the point (x - 1, y - 1) with doubled offsets in x, as the C recipe does
    report_flags : bool
        hand out which rows were flagged as cosmic rays
    """

    grid: OutputGrid
    reference: tuple[float, float]
    resampling: Resampling
    cosmics: CosmicRejection | None = None
    border_rows: bool = False
    shifted_nearest: bool = False
    report_flags: bool = False

    @property
    def halo(self) -> int:
        """Planes needed on each side of a slab."""
        reach = 0 if self.resampling.method == "nearest" else self.resampling.ld
        return reach + (1 if self.cosmics else 0)


@dataclass
class Slab:
    """Finished planes first .. first + n - 1.

    Parameters
    ----------
    data, stat : float32[n, ny, nx]
    flagged : list of int64 arrays
        per contribution, the numbers of the rows flagged as cosmic rays in these planes
    cosmics : int
        number of flagged rows
    """

    first: int
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    flagged: list[npt.NDArray[np.int64]] = field(default_factory=list)
    cosmics: int = 0


def planes_per_slab(plan: CubePlan, rows: int, memory_bytes: int, threads: int) -> int:
    """Choose the slab height that keeps all slabs in flight within the memory budget."""
    grid = plan.grid
    per_plane = BYTES_PER_ROW * rows / grid.nz + BYTES_PER_VOXEL * grid.nx * grid.ny
    # one finished slab per thread may wait to be handed out beside the one at work
    fit = int(memory_bytes / (1.3 * threads) / per_plane) - 2 * plan.halo
    # several slabs per thread keep all threads busy to the end; the halo makes very thin ones wasteful
    even = max(8 * max(plan.halo, 1), -(-grid.nz // (4 * threads)))
    return max(1, min(fit, MAX_PLANES, even))


class _Geometry:
    """Arrays of the grid that all slabs share."""

    def __init__(self, plan: CubePlan) -> None:
        grid = plan.grid
        self.centre1, self.centre2 = grid.voxel_centres()
        self.cosine = np.cos(np.radians(self.centre2)) if grid.celestial else np.ones_like(self.centre1)
        self.plane_lam = grid.wavelength(np.arange(grid.nz))
        self.plane_step = np.abs(grid.plane_width(np.arange(grid.nz))) / 1.25
        self.inverse = np.linalg.inv(np.array(grid.matrix))
        self.step1 = abs(grid.matrix[0][0]) / grid.scale[0]
        self.step2 = abs(grid.matrix[1][1]) / grid.scale[1]
        self.target1, self.target2, self.target_cosine = self.centre1, self.centre2, self.cosine
        if plan.shifted_nearest:
            shifted = replace(grid, crpix=(grid.crpix[0] + 1.0, grid.crpix[1] + 1.0, grid.crpix[2]))
            self.target1, self.target2 = shifted.voxel_centres()
            self.target_cosine = np.full_like(self.centre1, _NEAREST_STRETCH)


def cube_slabs(
    contributions: Sequence[Contribution],
    plan: CubePlan,
    *,
    threads: int,
    memory_bytes: int,
    planes: int | None = None,
) -> Iterator[Slab]:
    """Make the cube, slab by slab, in order.

    Parameters
    ----------
    planes : int or None
        slab height; None = as the memory budget allows
    """
    height = planes or planes_per_slab(plan, sum(c.rows for c in contributions), memory_bytes, threads)
    geometry = _Geometry(plan)
    starts = range(0, plan.grid.nz, height)
    jobs = ((first, min(first + height, plan.grid.nz)) for first in starts)

    def work(limits: tuple[int, int]) -> Slab:
        return make_slab(contributions, plan, geometry, *limits)

    yield from in_order(work, jobs, threads)


def in_order(work: Callable, jobs: Iterator, threads: int) -> Iterator:
    """Run `work(job)` on threads and yield the results in order, with a bounded number in flight."""
    if threads <= 1:
        yield from map(work, jobs)
        return
    jobs = iter(jobs)
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future] = deque(pool.submit(work, job) for job in islice(jobs, threads))
        try:
            for job in chain(jobs, [None] * threads):
                if not pending:
                    break
                result = pending.popleft().result()
                if job is not None:
                    pending.append(pool.submit(work, job))
                yield result
        finally:
            for future in pending:
                future.cancel()


def _wavelength_limits(plan: CubePlan, first: int, last: int) -> tuple[float, float]:
    """Wavelengths that can belong to planes first .. last - 1 (border planes take what lies outside)."""
    grid = plan.grid
    low = grid.edge(max(first, 0)) - _MARGIN_A
    high = grid.edge(min(last, grid.nz)) + _MARGIN_A
    near = (plan.halo + 1) * float(np.max(grid.plane_width(np.array([0, grid.nz - 1]))))
    if first <= 0:
        low = -np.inf if plan.border_rows else low - near
    if last >= grid.nz:
        high = np.inf if plan.border_rows else high + near
    return low, high


def make_slab(
    contributions: Sequence[Contribution], plan: CubePlan, geometry: _Geometry, first: int, last: int
) -> Slab:
    """Make planes first .. last - 1 of the cube."""
    grid, halo = plan.grid, plan.halo
    k0, k1 = max(first - halo, 0), min(last + halo, grid.nz)
    limits = _wavelength_limits(plan, k0, k1)
    blocks = [contribution.gather(*limits) for contribution in contributions]
    counts = [len(block) for block in blocks]
    weighted = any(c.weight is not None for c in contributions)

    def column(name: str) -> npt.NDArray:
        parts = [getattr(block, name) for block in blocks]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    xpos, ypos, lam = column("xpos"), column("ypos"), column("lam")
    total = lam.size
    spaxel = np.empty(total, np.int32)
    if grid.celestial:
        locate_celestial(
            xpos,
            ypos,
            *map(float, plan.reference),
            grid.crval[0],
            grid.crval[1],
            geometry.inverse,
            grid.crpix[0],
            grid.crpix[1],
            grid.nx,
            grid.ny,
            spaxel,
        )
    else:
        locate_pixel(
            xpos,
            ypos,
            grid.crval[0],
            grid.crval[1],
            grid.matrix[0][0],
            grid.matrix[1][1],
            grid.nx,
            grid.ny,
            spaxel,
        )
    plane = np.empty(total, np.int32)
    locate_plane(lam, grid.crval[2], grid.crpix[2], grid.dlambda, grid.log_wavelength, grid.nz, plane)
    order = np.empty(total, np.int32)
    starts = np.empty((k1 - k0) * grid.nx * grid.ny + 1, np.int32)
    used = order_by_voxel(spaxel, plane, k0, k1 - k0, grid.nx * grid.ny, order, starts)
    order = order[:used]
    plane = plane[order]
    del spaxel
    xpos, ypos, lam = xpos[order], ypos[order], lam[order]
    data, stat, dq = column("data")[order], column("stat")[order], column("dq")[order]
    if weighted:
        per_exposure = np.array([1.0 if c.weight is None else c.weight for c in contributions], np.float32)
        weight = np.repeat(per_exposure, counts)[order]
    else:
        weight = np.empty(0, np.float32)
    slab = Slab(
        first,
        np.empty((last - first, grid.ny, grid.nx), np.float32),
        np.empty((last - first, grid.ny, grid.nx), np.float32),
    )
    row = column("row") if plan.report_flags else None
    blocks.clear()
    if plan.cosmics:
        flags = np.zeros(used, np.uint8)
        judge_first, judge_last = max(first - halo + 1, 0), min(last + halo - 1, grid.nz)
        flag_cosmics(
            data,
            stat,
            dq,
            starts,
            grid.nx,
            grid.ny,
            k1 - k0,
            judge_first - k0,
            judge_last - k0,
            COSMIC_METHODS[plan.cosmics.method],
            plan.cosmics.sigma,
            plan.cosmics.rule,
            flags,
        )
        hit = np.flatnonzero(flags)
        dq[hit] |= COSMIC_RAY
        inside = hit[(plane[hit] >= first) & (plane[hit] < last)]
        slab.cosmics = inside.size
        if row is not None:
            rows = order[inside]
            bounds = np.cumsum([0, *counts])
            slab.flagged = [row[rows[(rows >= a) & (rows < b)]] for a, b in zip(bounds[:-1], bounds[1:])]
    method = METHODS[plan.resampling.method]
    if method == NEAREST:
        nearest_rows(
            xpos,
            ypos,
            lam,
            data,
            stat,
            dq,
            starts,
            grid.nx,
            grid.ny,
            first - k0,
            first,
            geometry.target1,
            geometry.target2,
            geometry.target_cosine,
            geometry.plane_lam,
            *map(float, plan.reference),
            *grid.scale,
            slab.data,
            slab.stat,
        )
        return slab
    sums = np.zeros((last - first, grid.ny, grid.nx, 3))
    add_rows(
        xpos,
        ypos,
        lam,
        data,
        stat,
        dq,
        weight,
        starts,
        grid.nx,
        grid.ny,
        k0,
        k1 - k0,
        first,
        geometry.centre1,
        geometry.centre2,
        geometry.cosine,
        geometry.plane_lam,
        geometry.plane_step,
        *map(float, plan.reference),
        *grid.scale,
        geometry.step1,
        geometry.step2,
        method,
        np.array(plan.resampling.pixfrac, np.float64),
        float(plan.resampling.rc),
        max(int(plan.resampling.ld), 1),
        sums,
    )
    finish_voxels(sums, slab.data, slab.stat)
    return slab

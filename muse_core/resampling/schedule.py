# SPDX-License-Identifier: BSD-3-Clause
"""How high the slabs of a cube are, and who makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from muse_core.framework.team import Team
from muse_core.resampling.pipeline import layers_in_flight
from muse_core.resampling.plan import CubePlan, Slab
from muse_core.resampling.slabs import slabs_between
from muse_core.resampling.voxel_layers import Contribution

BYTES_PER_ROW_AT_WORK = 95
BYTES_PER_ROW = 32
BYTES_PER_VOXEL_AT_WORK = 40
BYTES_PER_VOXEL = 4
BYTES_PER_VOXEL_BY_EXPOSURE = 40
PART_OF_STACKS = 0.25
"""Of the memory: for the sums of all exposures side by side, when they are judged."""
MAX_PLANES = 16
SLABS_PER_RUN = 4
"""Of planes that a worker of a cluster makes one after the other, at most."""
MOST_ROWS = 1_500_000
"""In a slab of several planes: more cost memory, and fresh memory costs time. Those of a single full exposure
in `MAX_PLANES` planes; the more exposures there are, the lower the slabs, so that memory stays the same."""


def planes_per_slab(plan: CubePlan, rows: int, memory_bytes: int, threads: int) -> int:
    """Choose the slab height that keeps all slabs in flight within the memory budget."""
    grid, by_exposure = plan.grid, plan.by_exposure is not None
    spaxels = grid.nx * grid.ny
    return max(
        plan.least_height, slab_height(rows, spaxels, grid.nz, memory_bytes, threads, by_exposure=by_exposure)
    )


def slab_height(
    rows: float, spaxels: int, nz: int, memory_bytes: float, threads: int, *, by_exposure: bool
) -> int:
    """Return the number of planes of a slab of a cube, as the memory allows (0: not even one)."""
    plane = bytes_of_plane(rows / nz, spaxels, threads, by_exposure=by_exposure)
    fit = int(memory_bytes / (1.3 * plane))
    # several slabs per thread keep all threads busy to the end
    even = -(-nz // (4 * threads))
    few = int(MOST_ROWS * nz // max(rows, 1))
    return min(fit, MAX_PLANES, even, few)


def bytes_of_plane(rows: float, spaxels: int, threads: int, *, by_exposure: bool) -> float:
    """Return the memory for each plane of the slabs in flight, where a plane has so many rows."""
    waiting = layers_in_flight(threads, 3)
    per_row = BYTES_PER_ROW_AT_WORK * threads + BYTES_PER_ROW * waiting
    at_work = BYTES_PER_VOXEL_AT_WORK + (BYTES_PER_VOXEL_BY_EXPOSURE if by_exposure else 0)
    per_voxel = at_work * threads + BYTES_PER_VOXEL * waiting
    return per_row * rows + per_voxel * spaxels


def cube_slabs(
    contributions: Sequence[Contribution],
    plan: CubePlan,
    *,
    team: Team,
    memory_bytes: int,
    planes: int | None = None,
    first: int = 0,
) -> Iterator[Slab]:
    """Make the cube, slab by slab, in order.

    Parameters
    ----------
    team : Team
        who makes the planes
    planes : int or None
        slab height (at least `plan.least_height`); None = as the memory budget allows
    first : int
        plane to begin with
    """
    if first >= plan.grid.nz:
        return
    nz, threads = plan.grid.nz, team.threads
    if plan.by_exposure and plan.by_exposure.rejection:
        stacks = int(PART_OF_STACKS * memory_bytes)
        memory_bytes -= stacks
        plan = replace(plan, by_exposure=replace(plan.by_exposure, stack_bytes=stacks // max(threads, 1)))
    height = planes or planes_per_slab(plan, sum(c.rows for c in contributions), memory_bytes, threads)
    height = max(height, plan.least_height)
    if team.shares_memory:  # a slab lends its rows to its neighbours
        yield from slabs_between(contributions, plan, first, nz, height, threads)
        return
    runs = runs_of_planes(first, nz, height, team.hands)
    for slabs in team.map(RunOfPlanes(tuple(contributions), plan, height), runs):
        yield from slabs


def runs_of_planes(first: int, last: int, height: int, hands: int) -> list[tuple[int, int]]:
    """Return the planes that are made in one go: shorter runs towards the end, so that all end together.

    Parameters
    ----------
    hands : runs that are made at the same time

    >>> runs_of_planes(0, 10, 1, 2)
    [(0, 3), (3, 5), (5, 7), (7, 8), (8, 9), (9, 10)]
    """
    runs = []
    while first < last:
        left = -(-(last - first) // height)
        end = min(first + height * min(SLABS_PER_RUN, -(-left // (2 * hands))), last)
        runs.append((first, end))
        first = end
    return runs


@dataclass(frozen=True)
class RunOfPlanes:
    """Makes some slabs that share nothing but the files with others; the rows next to them are read, too.

    Parameters
    ----------
    height : planes of a slab
    """

    contributions: tuple[Contribution, ...]
    plan: CubePlan
    height: int

    def __call__(self, planes: tuple[int, int]) -> list[Slab]:
        """Make the slabs from a first plane to the one before the last."""
        return list(slabs_between(self.contributions, self.plan, *planes, self.height, 1))

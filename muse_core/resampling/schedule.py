# SPDX-License-Identifier: BSD-3-Clause
"""How high the slabs of a cube are, and who makes them: local threads or the workers of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

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
MOST_ROWS = 1_500_000
"""In a slab of several planes: more cost memory, and fresh memory costs time. Those of a single full exposure
in `MAX_PLANES` planes; the more exposures there are, the lower the slabs, so that memory stays the same."""


def planes_per_slab(plan: CubePlan, rows: int, memory_bytes: int, threads: int) -> int:
    """Choose the slab height that keeps all slabs in flight within the memory budget."""
    grid = plan.grid
    waiting = layers_in_flight(threads, 3)
    per_row = BYTES_PER_ROW_AT_WORK * threads + BYTES_PER_ROW * waiting
    at_work = BYTES_PER_VOXEL_AT_WORK + (BYTES_PER_VOXEL_BY_EXPOSURE if plan.by_exposure else 0)
    per_voxel = at_work * threads + BYTES_PER_VOXEL * waiting
    fit = int(memory_bytes / (1.3 * (per_row * rows / grid.nz + per_voxel * grid.nx * grid.ny)))
    # several slabs per thread keep all threads busy to the end
    even = -(-grid.nz // (4 * threads))
    few = MOST_ROWS * grid.nz // max(rows, 1)
    return max(plan.least_height, min(fit, MAX_PLANES, even, few))


def cube_slabs(
    contributions: Sequence[Contribution],
    plan: CubePlan,
    *,
    threads: int,
    memory_bytes: int,
    planes: int | None = None,
    cluster: str = "",
    first: int = 0,
) -> Iterator[Slab]:
    """Make the cube, slab by slab, in order.

    Parameters
    ----------
    planes : int or None
        slab height (at least `plan.least_height`); None = as the memory budget allows
    cluster : str
        scheduler of a Dask cluster that does the work instead of local threads (see `resampling.cluster`)
    first : int
        plane to begin with
    """
    if first >= plan.grid.nz:
        return
    if plan.by_exposure and plan.by_exposure.rejection:
        stacks = int(PART_OF_STACKS * memory_bytes)
        memory_bytes -= stacks
        plan = replace(plan, by_exposure=replace(plan.by_exposure, stack_bytes=stacks // max(threads, 1)))
    height = planes or planes_per_slab(plan, sum(c.rows for c in contributions), memory_bytes, threads)
    height = max(height, plan.least_height)
    if cluster:
        from muse_core.resampling.cluster import slabs_on_cluster

        yield from slabs_on_cluster(cluster, contributions, plan, height, first)
    else:
        yield from slabs_between(contributions, plan, first, plan.grid.nz, height, threads)

# SPDX-License-Identifier: BSD-3-Clause
"""The slab loop on a Dask cluster: runs of planes are made by its workers from the same files.

Only the finished planes travel. Workers need the pixel tables under the same path (a shared file system) and
the same version of this package.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_core.framework import RecipeError
from muse_core.framework.settings import CLUSTER_VARIABLE as VARIABLE
from muse_core.resampling.voxel_layers import Contribution
from muse_core.version import __version__

if TYPE_CHECKING:
    from muse_core.resampling.plan import CubePlan, Slab

SLABS_PER_TASK = 4


def slabs_on_cluster(
    scheduler: str, contributions: Sequence[Contribution], plan: CubePlan, height: int
) -> Iterator[Slab]:
    """Make all planes on a cluster and yield the slabs in order.

    Parameters
    ----------
    scheduler : str
        address of the scheduler (tcp://host:port), or its scheduler file
    height : int
        planes of one slab

    Raises
    ------
    RecipeError
        if there is no such cluster, or its workers are of no use
    """
    nz, step = plan.grid.nz, SLABS_PER_TASK * height
    jobs = iter([(first, min(first + step, nz)) for first in range(0, nz, step)])
    with _connect(scheduler) as client:
        threads = _check_workers(client, scheduler)
        # each worker gets the steps and zone maps once
        payload = client.scatter((tuple(contributions), plan, height), broadcast=True, hash=False)

        def submit(job: tuple[int, int]) -> Any:
            return client.submit(_work, payload, *job, pure=False)

        # one task more than can run keeps every worker busy; what is made waits to be taken in order
        pending = deque(submit(job) for job in islice(jobs, threads + 1))
        while pending:
            slabs = pending.popleft().result()
            pending.extend(submit(job) for job in islice(jobs, 1))
            yield from slabs


def _work(payload: tuple[Sequence[Contribution], CubePlan, int], first: int, last: int) -> list[Slab]:
    """Make the planes first .. last - 1, on a worker."""
    from muse_core.resampling.slabs import slabs_between

    contributions, plan, height = payload
    return list(slabs_between(contributions, plan, first, last, height, 1))


def _connect(scheduler: str) -> Any:
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise RecipeError(
            f"{VARIABLE} is set, but Dask is not installed: pip install 'muse-recipes[cluster]'"
        ) from error
    try:
        if "://" not in scheduler and Path(scheduler).is_file():
            return Client(scheduler_file=scheduler, timeout="10s")
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError, TypeError) as error:
        raise RecipeError(
            f"{VARIABLE}: no Dask scheduler answers at {scheduler!r} ({error}); give its address "
            "(tcp://host:port) or its scheduler file"
        ) from error


def _check_workers(client: Any, scheduler: str) -> int:
    """Return the number of threads of all workers."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise RecipeError(f"{VARIABLE}: the Dask cluster at {scheduler!r} has no workers")
    try:
        versions = client.run(_version)
    except ImportError as error:
        raise RecipeError(f"{VARIABLE}: muse-recipes is not installed on the workers ({error})") from error
    other = {address: version for address, version in versions.items() if version != __version__}
    if other:
        raise RecipeError(
            f"{VARIABLE}: muse-recipes {__version__} here, but on the workers "
            + ", ".join(f"{version} ({address})" for address, version in other.items())
        )
    return sum(worker["nthreads"] for worker in workers.values())


def _version() -> str:
    return __version__

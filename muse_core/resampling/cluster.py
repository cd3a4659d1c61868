# SPDX-License-Identifier: BSD-3-Clause
"""The slab loop on a Dask cluster: runs of planes are made by its workers from the same files.

Only the finished planes travel. Workers need the pixel tables under the same path (a shared file system) and
the same version of this package. A worker that dies or falls silent costs the planes it was making: they are
made again by the others.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_core.framework import LostWorkerError, RecipeError
from muse_core.framework.settings import CLUSTER_VARIABLE as VARIABLE
from muse_core.resampling.voxel_layers import Contribution
from muse_core.version import __version__

if TYPE_CHECKING:
    from muse_core.resampling.plan import CubePlan, Slab

SLABS_PER_TASK = 4
ANSWER_SECONDS = 30.0
"""Time for a worker to take the plan, or to say its version."""
SILENT_SECONDS = 60.0
"""A worker that the scheduler has not heard of for so long is given up (it calls every half second)."""
POLL_SECONDS = 2.0
MOST_LOSSES = 3
"""So often the same planes may be lost; then they are what kills the workers."""


def slabs_on_cluster(
    scheduler: str, contributions: Sequence[Contribution], plan: CubePlan, height: int, begin: int = 0
) -> Iterator[Slab]:
    """Make all planes on a cluster and yield the slabs in order.

    Parameters
    ----------
    scheduler : str
        address of the scheduler (tcp://host:port), or its scheduler file
    height : int
        planes of one slab
    begin : int
        first plane

    Raises
    ------
    RecipeError
        if there is no such cluster, or its workers are of no use
    LostWorkerError
        if the scheduler or all workers are lost, or the same planes are lost again and again
    """
    nz, step = plan.grid.nz, SLABS_PER_TASK * height
    jobs = [(first, min(first + step, nz)) for first in range(begin, nz, step)]
    with _connect(scheduler) as client:
        workers = _Workers(client, scheduler)
        yield from _Tasks(client, workers, (tuple(contributions), plan, height)).results(jobs)


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


class _Workers:
    """The workers that answer, have this version of the package, and have not been given up."""

    def __init__(self, client: Any, scheduler: str) -> None:
        self._client, self._scheduler = client, scheduler
        self._seen: dict[str, tuple[float, float]] = {}
        self.lost: set[str] = set()
        self.threads = self._check()

    def listed(self) -> dict[str, Any]:
        """Those that the scheduler knows, without the ones given up."""
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise LostWorkerError(
                f"{VARIABLE}: the Dask scheduler at {self._scheduler!r} is gone ({error}); start it again"
            ) from error
        return {address: state for address, state in workers.items() if address not in self.lost}

    def living(self) -> list[str]:
        """Addresses of those that have said something lately; raises if there are none left."""
        now, living = time.monotonic(), []
        for address, state in self.listed().items():
            said, since = self._seen.get(address, (None, now))
            if state.get("last_seen") != said:
                since = now
            self._seen[address] = (state.get("last_seen"), since)
            if now - since > SILENT_SECONDS:
                self.lost.add(address)
            else:
                living.append(address)
        if not living:
            raise LostWorkerError(
                f"{VARIABLE}: all workers of the Dask cluster at {self._scheduler!r} are lost; see their "
                "logs (one that dies of a lack of memory needs fewer threads or a lower MUSE_RECIPES_MEMORY)"
            )
        return living

    def _check(self) -> int:
        """Return the number of threads of the workers that answer."""
        workers = self.listed()
        if not workers:
            raise RecipeError(f"{VARIABLE}: the Dask cluster at {self._scheduler!r} has no workers")
        asked = {address: self._client.submit(_version, workers=[address], pure=False) for address in workers}
        started = time.monotonic()
        while not all(answer.done() for answer in asked.values()):
            waited = time.monotonic() - started
            # the first answer of a worker takes its imports, and none is left out while no other is known
            if waited > 4 * ANSWER_SECONDS or (
                waited > ANSWER_SECONDS and any(answer.done() for answer in asked.values())
            ):
                break
            time.sleep(0.05)
        other = []
        for address, answer in asked.items():
            if answer.status == "error":
                error = answer.exception(timeout=ANSWER_SECONDS)
                if isinstance(error, ImportError):
                    raise RecipeError(
                        f"{VARIABLE}: muse-recipes is not installed on the workers ({error})"
                    ) from error
                self.lost.add(address)
            elif answer.status == "finished":
                version = answer.result(timeout=ANSWER_SECONDS)
                if version != __version__:
                    other.append(f"{version} ({address})")
            else:
                self.lost.add(address)
        if other:
            raise RecipeError(
                f"{VARIABLE}: muse-recipes {__version__} here, but on the workers {', '.join(other)}"
            )
        return sum(workers[address]["nthreads"] for address in self.living())


class _Tasks:
    """Runs of planes on the workers; those that are lost are made again."""

    def __init__(self, client: Any, workers: _Workers, payload: Any) -> None:
        self._client, self._workers, self._payload = client, workers, payload
        self._holder, self._place = "", None

    def results(self, jobs: list[tuple[int, int]]) -> Iterator[Slab]:
        """Yield the slabs of all jobs (first and last plane), in order."""
        rest = iter(jobs)
        # one task more than can run keeps every worker busy; what is made waits to be taken in order
        pending = deque((job, self._submit(job)) for job in islice(rest, self._workers.threads + 1))
        losses = 0
        while pending:
            job, task = pending[0]
            slabs = self._wait(task)
            if slabs is not None:
                pending.popleft()
                losses = 0
                pending.extend((job, self._submit(job)) for job in islice(rest, 1))
                yield from slabs
                continue
            losses += 1
            if losses > MOST_LOSSES:
                raise LostWorkerError(
                    f"{VARIABLE}: planes {job[0]} to {job[1] - 1} were lost {losses} times with the workers "
                    "that made them; see their logs (one that dies of a lack of memory needs fewer threads "
                    "or a lower MUSE_RECIPES_MEMORY)"
                )
            self._holder = ""  # what the workers were given may be lost, too
            pending = deque(
                (job, task if task.status == "finished" else self._submit(job)) for job, task in pending
            )

    def _submit(self, job: tuple[int, int]) -> Any:
        living = self._workers.living()
        if self._holder not in living:
            self._give_payload(living)
        return self._client.submit(_work, self._place, *job, pure=False, workers=living)

    def _give_payload(self, living: list[str]) -> None:
        """Give the steps and zone maps to one worker, from which the others get them."""
        for address in living:
            try:
                self._place = self._client.scatter(
                    self._payload, hash=False, workers=[address], timeout=ANSWER_SECONDS
                )
            except (TimeoutError, OSError, ValueError, KeyError):
                self._workers.lost.add(address)
            else:
                self._holder = address
                return
        self._workers.living()  # tells that none is left
        raise LostWorkerError(f"{VARIABLE}: no worker of the Dask cluster takes the plan of the cube")

    def _wait(self, task: Any) -> list[Slab] | None:
        """Return the slabs of a task when they are made, None when it is lost; raises what it has raised."""
        from dask.distributed import wait
        from distributed.scheduler import KilledWorker

        while True:
            try:
                wait(task, timeout=POLL_SECONDS)
                if task.status == "finished":
                    slabs: list[Slab] = task.result(timeout=ANSWER_SECONDS)
                    return slabs
            except TimeoutError:
                gone = len(self._workers.lost)
                self._workers.living()
                if len(self._workers.lost) > gone:
                    return None
                continue
            except Exception:  # noqa: BLE001  what Dask raises for a task or a worker that is gone
                if task.status != "error":
                    return None
            if task.status != "error":  # cancelled, or lost
                return None
            error = task.exception(timeout=ANSWER_SECONDS)
            if isinstance(error, KilledWorker):
                return None
            raise error


def _version() -> str:
    return __version__

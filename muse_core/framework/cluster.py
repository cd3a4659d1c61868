# SPDX-License-Identifier: BSD-3-Clause
"""A team on a Dask cluster: the jobs of a pass are done by its workers, from the same files.

Workers need the files of a run under the same path (a shared file system) and the same versions of this
package and of what it computes with. A worker that dies or falls silent costs the jobs it was doing: they are
done again by the others. A scheduler that is started again, and gets workers, is given what was not finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_core.framework.errors import LostWorkerError, RecipeError
from muse_core.framework.identity import versions
from muse_core.framework.settings import CLUSTER_VARIABLE as VARIABLE
from muse_core.framework.team import J, S, T, Threads, Total

if TYPE_CHECKING:
    import logging

ANSWER_SECONDS = 30.0
"""Time for a worker to take what a pass needs, or to say its version."""
SILENT_SECONDS = 60.0
"""A worker that the scheduler has not heard of for so long is given up (it calls every half second)."""
RETURN_SECONDS = 120.0
"""Time for a scheduler that is gone to be started again, and for workers to come when all are lost."""
POLL_SECONDS = 2.0
MOST_LOSSES = 3
"""So often the same jobs may be lost; then they are what kills the workers."""
TASKS_PER_THREAD = 3
TASKS_AHEAD = 3
"""For each thread: they are handed out, or done and waiting for those before them."""
MOST_JOBS = 8
"""In one task, where what comes back of them is as large as that of a single job, or nearly nothing."""
DIED = "see their logs (one that dies of a lack of memory needs fewer threads or a lower MUSE_RECIPES_MEMORY)"


class _Gone(Exception):  # noqa: N818  no error yet: the scheduler may come back
    """The scheduler does not answer."""


class UnfitWorkersError(RecipeError):
    """Workers that cannot do the work, and will not be able to later."""


class Cluster:
    """The workers of a Dask cluster, as a `Team`; it is reached when there is something to do.

    Parameters
    ----------
    scheduler : address of the scheduler (tcp://host:port), or its scheduler file
    threads : of this process
    log : of the run

    Raises
    ------
    RecipeError
        by all that it does, if there is no such cluster, or its workers are of no use
    LostWorkerError
        if the scheduler or all workers are lost, or the same jobs are lost again and again
    """

    shares_memory = False

    def __init__(self, scheduler: str, threads: int, log: logging.Logger) -> None:
        self.threads = threads
        self._crew = _Crew(scheduler, log)

    def __reduce__(self) -> tuple[type[Threads], tuple[int]]:
        """A worker that is given the team works alone."""
        return Threads, (1,)

    def map(
        self,
        work: Callable[[J], T],
        jobs: Sequence[J],
        at_once: int | None = None,
        *,
        small: bool = False,
    ) -> Iterator[T]:
        """See `Team`; how many jobs fit into the memory of a worker is told by its number of threads.

        Jobs whose memory counts (``at_once``) are long: each is a task.
        """
        for results in self._done(_Each(work), jobs, most=MOST_JOBS if small and at_once is None else 1):
            yield from results

    def total(self, new: Callable[[], S], add: Callable[[S, J], object], jobs: Sequence[J]) -> S:
        """See `Team`; a worker adds the jobs of a task to a total of its own."""
        total = new()
        for part in self._done(_Sum(new, add), jobs, most=MOST_JOBS):
            total.merge(part)
        return total

    def _done(self, work: Callable[[Sequence[J]], Any], jobs: Sequence[J], most: int) -> Iterator[Any]:
        """Yield what is made of tasks of at most so many jobs each, in order."""
        jobs = list(jobs)
        if not jobs:
            return
        self._crew.join()
        yield from Pass(self._crew, work).results(shares(jobs, self._crew.threads, most))

    @property
    def hands(self) -> int:
        """See `Team`."""
        self._crew.join()
        return self._crew.threads

    def close(self) -> None:
        """Leave the cluster for good; passes that other threads make end."""
        self._crew.is_closed = True
        self._crew.leave()


def shares(jobs: Sequence[J], threads: int, most: int) -> list[Sequence[J]]:
    """Return the jobs of each task: of at most so many, and as many for one thread as for another.

    >>> [len(share) for share in shares(range(72), 2, 8)]
    [7, 7, 7, 7, 8, 7, 7, 7, 7, 8]
    """
    size = min(-(-len(jobs) // (TASKS_PER_THREAD * threads)), most)
    count = -(-len(jobs) // size)
    count = min(-(-count // threads) * threads, len(jobs))
    edges = [len(jobs) * number // count for number in range(count + 1)]
    return [jobs[low:high] for low, high in pairwise(edges)]


class _Each:
    """Does jobs one by one."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.work = work

    def __call__(self, jobs: Sequence[Any]) -> list[Any]:
        return [self.work(job) for job in jobs]


class _Sum:
    """Adds jobs to a total of their own."""

    def __init__(self, new: Callable[[], Any], add: Callable[[Any, Any], object]) -> None:
        self.new, self.add = new, add

    def __call__(self, jobs: Sequence[Any]) -> Total:
        total: Total = self.new()
        for job in jobs:
            self.add(total, job)
        return total


def _do(here: dict[str, str], work: Callable[[Sequence[Any]], Any], jobs: Sequence[Any]) -> Any:
    """Do the jobs of a task, on a worker.

    Parameters
    ----------
    here : versions of those who ask; a worker that has come later may have others
    """
    _check_versions(here, {"the worker that was asked": versions()})
    try:
        return work(jobs)
    except FileNotFoundError as error:
        raise RecipeError(
            f"{VARIABLE}: a worker does not find {error.filename}: inputs and output folder need the same "
            "path on all nodes (a shared file system)"
        ) from error


def _check_versions(here: dict[str, str], there: dict[str, dict[str, str]]) -> None:
    """Refuse workers (by name) whose versions are others."""
    other = [
        f"{found.get(name, 'no')} {name} on {worker}"
        for worker, found in there.items()
        for name, version in here.items()
        if found.get(name) != version
    ]
    if other:
        names = dict.fromkeys(text.split(" ")[1] for text in other)
        said = ", ".join(f"{here[name]} {name}" for name in names)
        text = f"{VARIABLE}: {said} here, but {'; '.join(other)}; install the same everywhere"
        raise UnfitWorkersError(text)


def _within_limit(client: Any, asked: Any) -> Any:
    """Return what the client has been asked for (asynchronously); TimeoutError if it does not come.

    The limits of the client itself wait for the end of what they give up, which a silent worker never lets
    come.
    """
    answer = asyncio.run_coroutine_threadsafe(asked, client.loop.asyncio_loop)
    try:
        return answer.result(ANSWER_SECONDS)
    finally:
        answer.cancel()


def _fetched(client: Any, future: Any) -> Any:
    """Return what a worker has made; TimeoutError if it does not hand it over."""
    return _within_limit(client, client.gather(future, asynchronous=True))


class _Crew:
    """The workers that answer, have the same versions, and have not been given up."""

    def __init__(self, scheduler: str, log: logging.Logger) -> None:
        self._scheduler, self._log = scheduler, log
        self._seen: dict[str, tuple[float | None, float]] = {}
        self._threads_of: dict[str, int] = {}
        self._lock = threading.RLock()
        self.client: Any = None
        self.given: list[tuple[Any, str]] = []
        self.lost: set[str] = set()
        self.threads = 1
        self.here = versions()
        self.is_closed = False

    def join(self) -> None:
        """Reach the cluster, if that has not been done, and see what its workers are."""
        with self._lock:
            if self.client is None:
                self._refuse_if_closed()
                self._connect()
                self.threads = self._check()

    def leave(self) -> None:
        """Leave the cluster."""
        with self._lock:
            client, self.client = self.client, None
            if client is not None:
                with contextlib.suppress(OSError, TimeoutError, RuntimeError):
                    client.close(timeout=5)

    def rejoin(self, left: Any) -> None:
        """Wait for a scheduler that is gone, and for its workers.

        Parameters
        ----------
        left : the client of it; another thread may have waited before
        """
        with self._lock:
            self._refuse_if_closed()
            if self.client is not left:
                return
            self._log.warning(
                "the Dask scheduler at %s is gone; waiting for it to be started again", self._scheduler
            )
            self.leave()
            self._seen.clear()
            self.lost.clear()
            until = time.monotonic() + RETURN_SECONDS
            while True:
                try:
                    self._connect()
                    self.living()
                    self.threads = self._check()
                except UnfitWorkersError:
                    raise
                except (_Gone, RecipeError) as error:
                    self.leave()
                    if time.monotonic() > until:
                        text = (
                            f"{VARIABLE}: the Dask scheduler at {self._scheduler!r} is gone; start it again"
                        )
                        raise LostWorkerError(text) from error
                    time.sleep(min(POLL_SECONDS, 1.0))
                else:
                    return

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise LostWorkerError(f"{VARIABLE}: the run has left the cluster")

    def _connect(self) -> None:
        try:
            from dask.distributed import Client
        except ImportError as error:
            raise RecipeError(
                f"{VARIABLE} is set, but Dask is not installed: pip install 'muse-recipes[cluster]'"
            ) from error
        scheduler = self._scheduler
        try:
            is_file = "://" not in scheduler and Path(scheduler).is_file()
            where = {"scheduler_file": scheduler} if is_file else {"address": scheduler}
            self.client = Client(**where, timeout="10s", direct_to_workers=True, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise RecipeError(
                f"{VARIABLE}: no Dask scheduler answers at {scheduler!r} ({error}); give its address "
                "(tcp://host:port) or its scheduler file"
            ) from error

    def listed(self) -> dict[str, Any]:
        """Those that the scheduler knows, without the ones given up."""
        client = self.client
        try:
            if client is None or client.status not in ("running", "connecting"):
                raise _Gone
            workers = client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, ValueError, RuntimeError, AttributeError, KeyError) as error:
            raise _Gone from error
        return {address: state for address, state in workers.items() if address not in self.lost}

    def living(self) -> list[str]:
        """Addresses of those that have said something lately; raises if none are left, or come."""
        until = time.monotonic() + RETURN_SECONDS
        while True:
            living = self._heard_of()
            if living:
                return living
            if time.monotonic() > until:
                text = f"{VARIABLE}: all workers of the Dask cluster at {self._scheduler!r} are lost; {DIED}"
                raise LostWorkerError(text)
            time.sleep(min(POLL_SECONDS, 0.5))

    def _heard_of(self) -> list[str]:
        now, living = time.monotonic(), []
        with self._lock:
            for address, state in self.listed().items():
                self._threads_of[address] = max(1, state.get("nthreads", 1))
                said, since = self._seen.get(address, (None, now))
                if state.get("last_seen") != said:
                    since = now
                self._seen[address] = (state.get("last_seen"), since)
                if now - since > SILENT_SECONDS:
                    self.give_up(address)
                else:
                    living.append(address)
        return living

    def least_busy(self, living: Sequence[str]) -> str:
        """Return the one of some workers that has the fewest unfinished tasks for each of its threads."""
        with self._lock:
            self.given = [(task, address) for task, address in self.given if task.status == "pending"]
            tasks = Counter(address for _, address in self.given)
            return min(living, key=lambda address: tasks[address] / self._threads_of.get(address, 1))

    def give_up(self, address: str) -> None:
        """Ask this worker no more."""
        if address not in self.lost:
            self.lost.add(address)
            self._log.warning("the worker %s of the cluster is lost; the others do its work", address)

    def _check(self) -> int:
        """Return the number of threads of the workers that answer."""
        try:
            workers = self.listed()
        except _Gone as error:
            raise RecipeError(f"{VARIABLE}: the Dask scheduler at {self._scheduler!r} is gone") from error
        if not workers:
            raise RecipeError(f"{VARIABLE}: the Dask cluster at {self._scheduler!r} has no workers")
        asked = {address: self.client.submit(versions, workers=[address], pure=False) for address in workers}
        started = time.monotonic()
        while not all(answer.done() for answer in asked.values()):
            waited = time.monotonic() - started
            # the first answer of a worker takes its imports, and none is left out while no other is known
            if waited > 4 * ANSWER_SECONDS or (
                waited > ANSWER_SECONDS and any(answer.done() for answer in asked.values())
            ):
                break
            time.sleep(0.02)
        said = {}
        for address, answer in asked.items():
            if answer.status == "error":
                fault = answer.exception(timeout=ANSWER_SECONDS)
                if isinstance(fault, ImportError | AttributeError):
                    raise UnfitWorkersError(
                        f"{VARIABLE}: muse-recipes is not installed on the workers, or in another version "
                        f"({fault})"
                    ) from fault
                self.give_up(address)
            elif answer.status == "finished":
                try:
                    said[address] = _fetched(self.client, answer)
                except TimeoutError:
                    self.give_up(address)
            else:
                self.give_up(address)
        _check_versions(self.here, said)
        return max(1, sum(workers[address]["nthreads"] for address in said))


class Pass:
    """The tasks of one pass; those that are lost are done again."""

    def __init__(self, crew: _Crew, work: Callable[[Any], Any]) -> None:
        self._crew, self._work = crew, work
        self._client: Any = None
        self._holder, self._place = "", None
        self._lost_before: set[str] = set()

    def results(self, tasks: Sequence[Sequence[Any]]) -> Iterator[Any]:
        """Yield the results of all tasks, in order."""
        rest = iter(tasks)
        # some for each thread keep it busy; what is made waits to be taken in order
        ahead = TASKS_AHEAD * self._crew.threads
        waiting: deque[list[Any]] = deque([task, None] for task in islice(rest, ahead))
        losses = 0
        while waiting:
            try:
                self._submit(waiting)
                task, future = waiting[0]
                done = self._wait(future)
            except _Gone:
                self._crew.rejoin(self._client)
                for entry in waiting:
                    entry[1] = None
                continue
            if done is None:
                losses += 1
                if losses > MOST_LOSSES:
                    raise LostWorkerError(
                        f"{VARIABLE}: the same work ({task[0]!r:.60} ...) was lost {losses} times with the "
                        f"workers that did it; {DIED}"
                    )
                self._holder = ""  # what the workers were given may be lost, too, and what they have made
                for entry in waiting:
                    entry[1] = None
                continue
            waiting.popleft()
            losses = 0
            waiting.extend([task, None] for task in islice(rest, 1))
            with contextlib.suppress(_Gone):  # seen again in a moment
                self._submit(waiting)
            yield done[0]

    def _submit(self, waiting: deque[list[Any]]) -> None:
        """Hand out the tasks that nobody does."""
        if self._client is not self._crew.client:
            self._client, self._holder = self._crew.client, ""
            for entry in waiting:
                entry[1] = None  # another thread has rejoined the cluster
        if all(future is not None for _, future in waiting):
            return
        living = self._crew.living()
        if self._holder not in living:
            self._give_work(living)
            living = [address for address in living if address not in self._crew.lost]
        if all(future is None for _, future in waiting):
            self._lost_before = self._crew.lost - set(living)
        for entry in waiting:
            if entry[1] is None:
                try:
                    # Dask would give it to who holds what is to be done, whatever that one has to do
                    where = self._crew.least_busy(living)
                    entry[1] = self._client.submit(
                        _do, self._crew.here, self._place, entry[0], pure=False,
                        workers=living if self._crew.lost else [where],
                        allow_other_workers=not self._crew.lost,
                    )  # fmt: skip
                    self._crew.given.append((entry[1], where))
                except (
                    OSError,
                    RuntimeError,
                    AttributeError,
                ) as error:  # of a client whose scheduler is gone
                    raise _Gone from error

    def _give_work(self, living: list[str]) -> None:
        """Give what is to be done to one worker, from which the others get it."""
        for address in living:
            try:
                # (through the scheduler: this worker may be silent)
                given = self._client.scatter(
                    self._work, hash=False, workers=[address], direct=False, asynchronous=True
                )
                self._place = _within_limit(self._client, given)
            except (TimeoutError, OSError, ValueError, KeyError):
                self._crew.listed()  # tells if it is the scheduler that is gone
                self._crew.give_up(address)
            else:
                self._holder = address
                return
        self._crew.living()  # tells that none is left
        raise LostWorkerError(f"{VARIABLE}: no worker of the Dask cluster takes what is to be done; {DIED}")

    def _wait(self, future: Any) -> list[Any] | None:
        """Return the result of a task, in a list; None if it is lost; raises what it has raised."""
        from dask.distributed import wait
        from distributed.scheduler import KilledWorker

        while True:
            try:
                with self._client.as_current():
                    wait(future, timeout=POLL_SECONDS)
                if future.status == "finished":
                    return [_fetched(self._client, future)]
            except TimeoutError:
                self._crew.living()
                if self._crew.lost - self._lost_before:  # whichever thread has given them up
                    return None
                continue
            except Exception:  # noqa: BLE001  what Dask raises for a task, a worker or a scheduler that is gone
                if future.status != "error":
                    self._crew.listed()
                    return None
            if future.status != "error":  # cancelled, or lost
                self._crew.listed()
                return None
            error = future.exception(timeout=ANSWER_SECONDS)
            if isinstance(error, KilledWorker):
                return None
            raise error

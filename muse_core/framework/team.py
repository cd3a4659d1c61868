# SPDX-License-Identifier: BSD-3-Clause
"""Who does the work of a pass: threads of this process, or the workers of a cluster.

A pass is a list of jobs (pieces of rows, runs of planes, IFUs), a function that does one of them, and what
is made of the results in the order of the jobs. Who wrote the pass does not know who works; two rules make
that possible. A function takes all it needs from its arguments and its own attributes, since it may be run in
another process (an object of a class at the top of a module can be sent; so can a function in another one,
but not a compiled kernel). And sums are exact, so that they do not depend on who has added what.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, Protocol, Self, TypeVar

J = TypeVar("J")
T = TypeVar("T")


class Total(Protocol):
    """What a pass collects; several threads may add to it at once."""

    def merge(self, other: Self, /) -> None:
        """Take over what another one of its kind has collected."""
        ...


S = TypeVar("S", bound=Total)


class Team(Protocol):
    """Those who do the work of a run."""

    threads: int
    """Threads of this process, for what is done here."""
    shares_memory: bool
    """What a job leaves in the objects of this process is there when it is done."""

    @property
    def hands(self) -> int:
        """Jobs that are done at the same time, if there are enough of them."""
        ...

    def map(
        self, work: Callable[[J], T], jobs: Sequence[J], at_once: int | None = None, *, small: bool = False
    ) -> Iterator[T]:
        """Yield ``work(job)`` of all jobs in their order.

        Parameters
        ----------
        at_once : as many jobs fit into the memory of this process at the same time
        small : results are no more than numbers, so that those of several jobs may wait or come together
        """
        ...

    def total(self, new: Callable[[], S], add: Callable[[S, J], object], jobs: Sequence[J]) -> S:
        """Return one total to which ``add(total, job)`` has added all jobs, in any order."""
        ...

    def close(self) -> None:
        """Let go of what was needed to reach the others."""
        ...


class Threads:
    """The threads of this process.

    >>> list(Threads(2).map(lambda number: number * number, [1, 2, 3]))
    [1, 4, 9]
    """

    shares_memory = True

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    @property
    def hands(self) -> int:
        """See `Team`."""
        return self.threads

    def map(
        self,
        work: Callable[[J], T],
        jobs: Sequence[J],
        at_once: int | None = None,
        *,
        small: bool = False,
    ) -> Iterator[T]:
        """See `Team`; each job is handed out alone."""
        threads = self.threads if at_once is None else min(self.threads, at_once)
        yield from in_order(work, iter(jobs), threads, ahead=len(jobs) if small else 0)

    def total(self, new: Callable[[], S], add: Callable[[S, J], object], jobs: Sequence[J]) -> S:
        """See `Team`; all threads add to the same total."""
        total = new()
        for _ in self.map(lambda job: add(total, job), jobs):
            pass
        return total

    def close(self) -> None:
        """Nothing is held."""


def in_order(work: Callable[[J], T], jobs: Iterable[J], threads: int, ahead: int = 0) -> Iterator[T]:
    """Run `work(job)` on threads and yield the results in order, with a bounded number in flight.

    Parameters
    ----------
    ahead : so many more jobs may be done, and their results wait, while an earlier one is at work
    """
    if threads <= 1:
        yield from map(work, jobs)
        return
    jobs = iter(jobs)
    with ThreadPoolExecutor(threads) as pool:
        first = islice(jobs, threads + ahead)
        pending: deque[Future[Any]] = deque(pool.submit(work, job) for job in first)
        try:
            for job in chain(jobs, [None] * (threads + ahead)):
                if not pending:
                    break
                result = pending.popleft().result()
                if job is not None:
                    pending.append(pool.submit(work, job))
                yield result
        finally:
            for future in pending:
                future.cancel()

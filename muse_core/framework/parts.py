# SPDX-License-Identifier: BSD-3-Clause
"""Parts of a run that write products of their own: IFUs, exposures.

IFUs are made by the threads here or by the workers of a cluster. A worker has a context of its own, with the
working folder of the run; what it has written and said comes back with its result. (It sets no flags.)

Exposures are taken care of here; their passes are made by the team.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from muse_core.framework.context import RunContext
from muse_core.framework.frames import ProductFrame
from muse_core.framework.log import Heard, Message, repeat

J = TypeVar("J")
R = TypeVar("R")
Job = TypeVar("Job", contravariant=True)
Result = TypeVar("Result", covariant=True)


EXPOSURES_AT_ONCE = 2
"""Whose passes are made by a cluster at the same time: while something is fitted of the one, the workers have
the rows of the other."""


class Part(Protocol[Job, Result]):
    """Makes a part of the run; it is called on several threads, or in other processes."""

    def __call__(self, job: Job, ctx: RunContext, /) -> Result:
        """Return what came of it, its products written."""
        ...


def made_parts(
    work: Part[J, R], jobs: Sequence[J], at_once: int, ctx: RunContext, label: str = "IFUs"
) -> Iterator[R]:
    """Yield what came of the parts, in the order of the jobs; those that are ready may wait for others.

    Parameters
    ----------
    work : Part
    jobs : sequence
    at_once : int
        As many fit into the memory of this process at the same time.
    ctx : RunContext
        Gets products and messages of the parts.
    label : str
        What a progress bar calls them.
    """
    team = ctx.team
    if team.shares_memory:
        done = team.map(lambda job: work(job, ctx), jobs, at_once, small=True)
        yield from ctx.progress(done, label, total=len(jobs))
        return
    for made in ctx.progress(team.map(_Elsewhere(work, ctx), jobs, at_once, small=True), label, len(jobs)):
        ctx.products.extend(made.products)
        repeat(made.messages, ctx.log)
        yield made.result


def in_turn(work: Callable[[J, RunContext], None], jobs: Sequence[J], ctx: RunContext) -> None:
    """Make parts with flags of their own, one after the other.

    The workers of a cluster get the passes of two at a time; messages and products of a part come when it and
    those before it are done.
    """
    if ctx.team.shares_memory:
        for job in jobs:
            with ctx.part():
                work(job, ctx)
        return

    def beside(job: J) -> tuple[RunContext, list[Message]]:
        log, heard = _listened_to()
        apart = ctx.apart(log)
        work(job, apart)
        return apart, heard.messages

    rest = iter(jobs)
    with ThreadPoolExecutor(EXPOSURES_AT_ONCE) as pool:
        waiting = deque(pool.submit(beside, job) for job in islice(rest, EXPOSURES_AT_ONCE))
        try:
            while waiting:
                apart, messages = waiting.popleft().result()
                waiting.extend(pool.submit(beside, job) for job in islice(rest, 1))
                repeat(messages, ctx.log)
                ctx.join(apart)
        except BaseException:
            for other in waiting:
                other.cancel()
            ctx.team.close()  # ends the passes of the others
            raise


def _listened_to() -> tuple[logging.Logger, Heard]:
    """Return a logger, and what keeps its messages."""
    log, heard = logging.Logger("muse.part", logging.DEBUG), Heard()
    log.addHandler(heard)
    return log, heard


@dataclass(frozen=True)
class _Made(Generic[R]):
    """What comes back from a worker."""

    result: R
    products: list[ProductFrame]
    messages: list[Message]


class _Elsewhere:
    """Makes parts in another process.

    Parameters
    ----------
    work : Part
    ctx : RunContext
        Of the run; what a worker needs of it is sent.
    """

    def __init__(self, work: Part[Any, Any], ctx: RunContext) -> None:
        self._work = work
        self._essence = {
            name: getattr(ctx, name)
            for name in (
                "spec", "params", "workdir", "defects", "memory_bytes", "report_requested", "sign_products",
            )
        }  # fmt: skip
        self._essence["flags"] = dict(ctx.flags_here)

    def __call__(self, job: Any) -> _Made[Any]:
        folder = self._essence["workdir"]
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        log, heard = _listened_to()
        ctx = RunContext(log=log, **self._essence)
        try:
            result = self._work(job, ctx)
            ctx.on_disk.wait()
        finally:
            ctx.on_disk.close()
        return _Made(result, ctx.products, heard.messages)

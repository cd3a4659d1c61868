# SPDX-License-Identifier: BSD-3-Clause
"""The loop over IFUs of recipes that make calibrations: several at a time, failures kept apart.

They are made by the threads here or by the workers of a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from muse_core.detector.master_products import MasterFiles, merge_files
from muse_core.detector.merged import ExtensionPart, ExtensionParts
from muse_core.framework.errors import InputError, RecipeError
from muse_core.framework.execution import RunContext
from muse_core.framework.log import UNDONE
from muse_core.framework.parts import made_parts

S = TypeVar("S")
T = TypeVar("T")
C = TypeVar("C", covariant=True)
LEAST_BUDGET = 700_000_000
"""IFUs worked on at the same time fit in these bytes, whatever the budget of the run."""


@dataclass
class IfuRun(Generic[T]):
    """What came of the IFUs of a run: a result each, or the reason why there is none."""

    made: dict[int, T] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def workers_for(bytes_per_ifu: int, ctx: RunContext) -> int:
    """Number of IFUs that fit in the memory at the same time, at most that of the threads."""
    budget = max(ctx.memory_bytes, LEAST_BUDGET)
    return int(np.clip(budget // max(bytes_per_ifu, 1), 1, max(ctx.threads, 1)))


def threads_within(ifus: Sequence[int], workers: int, ctx: RunContext) -> int:
    """Number of threads that each IFU may use itself, when ``workers`` of them are worked on together."""
    if not ctx.team.shares_memory:
        return 1
    return max(ctx.threads // max(min(workers, len(ifus)), 1), 1)


def spread(work: Callable[[S], T], items: Sequence[S], threads: int) -> list[T]:
    """Apply ``work`` to each of the items, on several threads; results in the order of the items."""
    if threads <= 1 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


class IfuMaker(Protocol[C]):
    """Makes an IFU; it is called on several threads, or in other processes."""

    def __call__(self, ifu: int, files: MasterFiles, ctx: RunContext, /) -> C:
        """Return what came of it, its products written.

        Raises
        ------
        InputError
            With the reason why there are none.
        """
        ...


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """A result and what is kept for the files of all IFUs, or the reason why there is none."""

    made: T | None
    reason: str = ""
    kept: tuple[ExtensionPart, ...] = ()


@dataclass(frozen=True)
class _Attempt(Generic[T]):
    """Makes an IFU; one that fails does not stop the others."""

    maker: IfuMaker[T]
    merge: bool

    def __call__(self, ifu: int, ctx: RunContext) -> _Outcome[T]:
        files = MasterFiles(ctx, merge=self.merge)
        try:
            made = self.maker(ifu, files, ctx)
        except InputError as error:
            files.kept.close()
            return _Outcome(None, str(error))
        return _Outcome(made, kept=tuple(files.kept.parts))


def run_ifus(
    maker: IfuMaker[T],
    ifus: Sequence[int],
    workers: int,
    ctx: RunContext,
    tell: Callable[[T], None],
    *,
    merge: bool = False,
) -> IfuRun[T]:
    """Make all IFUs; one that fails does not stop the others.

    Parameters
    ----------
    maker : IfuMaker
    ifus : sequence of int
    workers : int
        How many are worked on at the same time.
    ctx : RunContext
    tell : function
        Called with each result, in the order of the IFUs (for the log).
    merge : bool
        Write one file for all IFUs.

    Raises
    ------
    RecipeError
        If no IFU could be made.
    """
    run: IfuRun[T] = IfuRun()
    kept = ExtensionParts()
    try:
        for ifu, outcome in zip(ifus, made_parts(_Attempt(maker, merge), ifus, workers, ctx), strict=True):
            kept.take(outcome.kept)
            if outcome.made is None:
                run.failed[ifu] = outcome.reason
                ctx.log.error("IFU %d: no product: %s", ifu, outcome.reason)
                continue
            run.made[ifu] = outcome.made
            tell(outcome.made)
        _sum_up(run, len(ifus), ctx)
        merge_files(kept, ctx, complete=not run.failed)
    finally:
        kept.close()
    return run


def _sum_up(run: IfuRun[T], asked: int, ctx: RunContext) -> None:
    """Tell which IFUs failed."""
    if run.failed and run.made:
        text = f"{len(run.failed)} of {asked} IFUs failed, see above: {listed(run.failed)}"
        ctx.log.warning("%s", text, extra=UNDONE)
    if not run.made:
        raise RecipeError(f"no IFU could be processed: {'; '.join(dict.fromkeys(run.failed.values()))}")


def finish(run: IfuRun[T], ctx: RunContext) -> None:
    """Give products their place in the list, and note for hosts whether something beside them is missing."""
    ctx.products.sort(key=lambda product: product.path.name)
    if run.failed:
        ctx.products[:] = [replace(product, complete=False) for product in ctx.products]


def tell_absent(absent: Mapping[int, str], calibrated: Collection[int], ctx: RunContext) -> None:
    """Tell which IFUs the raw data lack.

    An IFU that neither data nor calibrations have is of another instrument (a simulated one with few of
    them): no reason for a warning.
    """
    for tell, missing in (
        (ctx.log.warning, set(absent) & set(calibrated)),
        (ctx.log.info, set(absent) - set(calibrated)),
    ):
        if missing:
            tell("not in the raw data: IFU %s", listed(missing))


def listed(numbers: Collection[int]) -> str:
    """Return numbers in their order, with commas."""
    return ", ".join(map(str, sorted(numbers)))

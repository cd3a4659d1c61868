# SPDX-License-Identifier: BSD-3-Clause
"""The loop over IFUs of recipes that make calibrations: several at a time, failures kept apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from muse_core.framework.errors import InputError, RecipeError
from muse_core.framework.execution import RunContext
from muse_core.framework.log import UNDONE

T = TypeVar("T")
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


def run_ifus(
    work: Callable[[int], T],
    ifus: Sequence[int],
    workers: int,
    ctx: RunContext,
    tell: Callable[[T], None] | None = None,
) -> IfuRun[T]:
    """Run all IFUs on threads; one that fails does not stop the others.

    Parameters
    ----------
    work : function
        Makes and writes the products of an IFU; an `InputError` tells why they cannot be made.
    ifus : sequence of int
    workers : int
        How many are worked on at the same time.
    ctx : RunContext
    tell : function, optional
        Called with each result, in the order of the IFUs (for the log).

    Raises
    ------
    RecipeError
        If no IFU could be made.
    """
    run: IfuRun[T] = IfuRun()

    def attempted(ifu: int) -> tuple[T | None, str]:
        try:
            return work(ifu), ""
        except InputError as error:
            return None, str(error)

    with ThreadPoolExecutor(workers) as pool:
        outcomes = ctx.progress(pool.map(attempted, ifus), "IFUs", total=len(ifus))
        for ifu, (result, reason) in zip(ifus, outcomes, strict=True):
            if result is None:
                run.failed[ifu] = reason
                ctx.log.error("IFU %d: no product: %s", ifu, reason)
                continue
            run.made[ifu] = result
            if tell is not None:
                tell(result)
    if run.failed and run.made:
        text = f"{len(run.failed)} of {len(ifus)} IFUs failed, see above: {listed(run.failed)}"
        ctx.log.warning("%s", text, extra=UNDONE)
    if not run.made:
        raise RecipeError(f"no IFU could be processed: {'; '.join(dict.fromkeys(run.failed.values()))}")
    return run


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

# SPDX-License-Identifier: BSD-3-Clause
"""Work on threads in stages that look at their neighbours, with results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any


class _Inline:
    """An executor without threads."""

    def __enter__(self) -> _Inline:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable, *arguments: object) -> Future:
        """Run at once; an error is raised at once."""
        future: Future = Future()
        future.set_result(work(*arguments))
        return future


def _executor(threads: int) -> Any:
    return ThreadPoolExecutor(threads) if threads > 1 else _Inline()


def stage_lag(threads: int) -> int:
    """Return by how many steps each stage follows the one before, so that nobody waits for a neighbour."""
    return 1 if threads <= 1 else threads // 3 + 2


def layers_in_flight(threads: int, stages: int) -> int:
    """Return the largest number of steps of which `in_stages` keeps results."""
    return stage_lag(threads) * (stages - 1) + threads // 2 + 2


def in_stages(
    first: Callable[[int], Any], later: Sequence[Callable[[Any, Any, Any], Any]], count: int, threads: int
) -> Iterator:
    """Run the stages of steps 0 .. count - 1 on threads and yield the results of the last stage in order.

    Parameters
    ----------
    first : callable (step) -> result
    later : sequence of callable (before, own, after) -> result
        each stage gets what the stage before it made of the neighbouring steps (None outside) and its own
    """
    lag = stage_lag(threads)
    stages = len(later) + 1
    made: list[dict[int, Future]] = [{} for _ in range(stages)]

    def run(stage: int, near: list[Future | None]) -> Any:
        # what is waited for was submitted earlier, so the oldest task can always go on
        return later[stage - 1](*(future.result() if future else None for future in near))

    pending: deque[Future] = deque()
    with _executor(threads) as pool:
        try:
            for turn in range(count + lag * (stages - 1)):
                for stage in range(stages):
                    step = turn - lag * stage
                    if not 0 <= step < count:
                        continue
                    if stage == 0:
                        made[0][step] = pool.submit(first, step)
                        continue
                    near = [made[stage - 1].get(step + offset) for offset in (-1, 0, 1)]
                    future = pool.submit(run, stage, near)
                    made[stage - 1].pop(step - 1, None)
                    if stage == stages - 1:
                        pending.append(future)
                    else:
                        made[stage][step] = future
                while len(pending) > threads // 2 + 1:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in chain(pending, *(futures.values() for futures in made)):
                future.cancel()

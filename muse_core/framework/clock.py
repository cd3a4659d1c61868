# SPDX-License-Identifier: BSD-3-Clause
"""How long a run and its steps take."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Times of a run and of its steps.

    Parameters
    ----------
    started : seconds since 1970
    """

    def __init__(self) -> None:
        self.started = time.time()
        self.steps: dict[str, float] = {}
        self._wall = time.monotonic()
        self._cpu = _cpu()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time that is spent inside to a step."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.steps[name] = self.steps.get(name, 0.0) + time.monotonic() - begin

    def cost(self) -> tuple[float, float, float]:
        """Return wall seconds, CPU seconds, and the peak memory of the process in MB."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return (
            time.monotonic() - self._wall,
            _cpu() - self._cpu,
            peak / (1e6 if sys.platform == "darwin" else 1e3),
        )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

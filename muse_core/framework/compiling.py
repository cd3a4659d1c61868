# SPDX-License-Identifier: BSD-3-Clause
"""Says when kernels are compiled: the first run of an installation takes longer than all others."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

from muse_core.framework import first_kernels
from muse_core.framework.kernels import when_loaded

TEXT = (
    "compiling the kernels (first run only: it can take a minute; 'musetools warm' compiles those of "
    "muse_scipost beforehand)"
)


class Compilations:
    """Counts the compilations of a run; they hold numba's lock, so that one runs at a time.

    Parameters
    ----------
    run : its name in the list of kernels
    helpers : processes that may compile at the same time
    """

    def __init__(self, log: logging.Logger, run: str = "", helpers: int = 0) -> None:
        self.count = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self._run, self._helpers = run, helpers
        self.seconds = 0.0
        self._log = log
        self._depth = 0
        self._started = 0.0
        self._lock = threading.Lock()

    def begins(self) -> None:
        """Note that a kernel is being compiled, and say so of the first."""
        with self._lock:
            first = self.count == 0
            self.count += 1
            if self._depth == 0:
                self._started = time.monotonic()
            self._depth += 1
        if first:
            self._log.info("%s", TEXT)
            if self._helpers:
                self.processes += first_kernels.start(self._run, self._helpers)

    def ends(self) -> None:
        """Note that it is done."""
        with self._lock:
            self._depth -= 1
            if self._depth == 0:
                self.seconds += time.monotonic() - self._started


def _listen(told: Compilations) -> Callable[[], None]:
    """Have numba tell of compilations; returns what ends that."""
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, _: event.Event) -> None:
            told.begins()

        def on_end(self, _: event.Event) -> None:
            told.ends()

    listener = Listener()
    event.register("numba:compile", listener)
    return lambda: event.unregister("numba:compile", listener)


@contextlib.contextmanager
def announced(log: logging.Logger, run: str = "", threads: int = 1) -> Iterator[Compilations]:
    """Log the first compilation of a run, and at the end what all of them took.

    Kernels that come from the cache on the disk are not compiled, and nothing is said.

    Parameters
    ----------
    run : its name in the list of kernels (`first_kernels`): other processes compile those that it will need
    threads : as many processes may be busy
    """
    helpers = min(threads - 1, first_kernels.MOST_HELPERS) if run else 0
    told = Compilations(log, run, helpers)
    stops: list[Callable[[], None]] = []
    stops.append(when_loaded(lambda: stops.append(_listen(told))))
    try:
        yield told
    finally:
        for stop in stops:
            stop()
        first_kernels.end(told.processes)
    if told.count:
        log.info("%d kernels compiled in %.0f s", told.count, told.seconds)

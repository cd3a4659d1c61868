# SPDX-License-Identifier: BSD-3-Clause
"""Says when kernels are compiled: the first run of an installation takes a minute longer than all others."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

TEXT = (
    "compiling the kernels (first run only: it can take a minute; 'musetools warm' compiles those of "
    "muse_scipost beforehand)"
)


@contextlib.contextmanager
def announced(log: logging.Logger) -> Iterator[None]:
    """Log the first compilation of a run, and at the end what all of them took.

    Kernels that come from the cache on the disk are not compiled, and nothing is said. Imports numba.
    """
    from numba.core import event

    class Listener(event.Listener):
        """Counts compilations; they hold numba's lock, so that one runs at a time."""

        def __init__(self) -> None:
            self.count = 0
            self.seconds = 0.0
            self.depth = 0
            self.started = 0.0
            self.lock = threading.Lock()

        def on_start(self, event: Any) -> None:  # noqa: ARG002  numba's interface
            with self.lock:
                first = self.count == 0
                self.count += 1
                if self.depth == 0:
                    self.started = time.monotonic()
                self.depth += 1
            if first:
                log.info("%s", TEXT)

        def on_end(self, event: Any) -> None:  # noqa: ARG002  numba's interface
            with self.lock:
                self.depth -= 1
                if self.depth == 0:
                    self.seconds += time.monotonic() - self.started

    listener = Listener()
    with event.install_listener("numba:compile", listener):
        yield
    if listener.count:
        log.info("%d kernels compiled in %.0f s", listener.count, listener.seconds)

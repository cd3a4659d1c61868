# SPDX-License-Identifier: BSD-3-Clause
"""Says when kernels are compiled: the first run of an installation takes a minute longer than all others."""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from muse_core.framework.settings import is_own_process

TEXT = (
    "compiling the kernels (first run only: it can take a minute; 'musetools warm' compiles those of "
    "muse_scipost beforehand)"
)


def _without_linear_algebra() -> None:
    """Load what numba knows of numpy without scipy.linalg, which takes a twentieth of all imports.

    numba looks whether matrix products can be compiled; no kernel has one. Not done in a process that may
    have kernels of others.
    """
    library = "scipy.linalg.cython_blas"
    if library in sys.modules:
        return
    sys.modules.update({library: None})  # type: ignore[dict-item]  # an import of it fails
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[library]


@dataclass
class Compilations:
    """How many kernels a run has compiled, known at its end."""

    count: int = 0


@contextlib.contextmanager
def announced(log: logging.Logger) -> Iterator[Compilations]:
    """Log the first compilation of a run, and at the end what all of them took.

    Kernels that come from the cache on the disk are not compiled, and nothing is said. Imports numba.
    """
    from numba.core import event

    from muse_core.framework import kernel_cache

    kernel_cache.install()
    if is_own_process():
        _without_linear_algebra()

    told = Compilations()

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
        yield told
        told.count = listener.count
    if listener.count:
        log.info("%d kernels compiled in %.0f s", listener.count, listener.seconds)

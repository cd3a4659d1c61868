# SPDX-License-Identifier: BSD-3-Clause
"""What is to be given up when a run ends, so that a caller gets its memory back."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable

_releases: list[Callable[[], None]] = []


def after_every_run(release: Callable[[], None]) -> Callable[[], None]:
    """Have a function called at the end of every run, whatever its end; to be used as a decorator.

    It must do no harm to other runs in the same process.
    """
    _releases.append(release)
    return release


def release_all() -> None:
    """Call them all, and hand free pages back to the system (glibc keeps them else)."""
    for release in _releases:
        release()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)

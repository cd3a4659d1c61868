# SPDX-License-Identifier: BSD-3-Clause
"""Large arrays whose memory is used again: fresh memory costs as much as what is done with the rows in it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.cleanup import after_every_run

SMALLEST = 1 << 18  # bytes; smaller arrays come from the heap, which is used again anyway

_free: list[npt.NDArray[np.uint8]] = []
_lock = threading.Lock()


class _Loan:
    """What an array stands on: gives the memory back when the last array on it is gone."""

    def __init__(self, memory: npt.NDArray[np.uint8]) -> None:
        self._memory, self._free = memory, _free
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        self._free.append(self._memory)


def borrow_words(count: int) -> npt.NDArray[np.uint32]:
    """Return an array of unset values, to be used like any other.

    Its memory returns when no array refers to it any more. Smaller pieces of free memory are given up when a
    larger one has to be made, so no more is kept than was in use at the same time.
    """
    size = 4 * count
    if size < SMALLEST:
        return np.empty(count, np.uint32)
    with _lock:
        fitting = [memory for memory in _free if memory.size >= size]
        if fitting:
            memory = min(fitting, key=len)
            _free[:] = [other for other in _free if other is not memory]
        else:
            _free.clear()
            memory = np.empty(size + size // 8, np.uint8)
    words: npt.NDArray[np.uint32] = np.asarray(_Loan(memory))[:size].view(np.uint32)
    return words


@after_every_run
def release_free_memory() -> None:
    """Give up all memory that is not in use (that of runs still at work is)."""
    with _lock:
        _free.clear()

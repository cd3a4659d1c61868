# SPDX-License-Identifier: BSD-3-Clause
"""Large arrays whose memory is used again: fresh memory costs as much as what is done with the rows in it."""

from __future__ import annotations

import contextlib
import math
import mmap
import threading
from collections import deque
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from muse_core.framework.cleanup import after_every_run

SMALLEST = 1 << 18  # bytes; smaller arrays come from the heap, which is used again anyway
_LARGEST_PART = 2


class _Pool:
    """Pieces of memory that are free, and how much is in use.

    No more is kept than was in use at one time since the last `release`: before a new piece is made, free
    ones are given up that would be too much.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.free: list[npt.NDArray[np.uint8]] = []
        self.returned: deque[npt.NDArray[np.uint8]] = deque()
        self.in_use = self.most = 0

    def borrow(self, size: int) -> npt.NDArray[np.uint8]:
        with self.lock:
            self._take_back()
            fitting = [n for n, piece in enumerate(self.free) if size <= piece.size <= _LARGEST_PART * size]
            if fitting:
                memory = self.free.pop(min(fitting, key=lambda n: self.free[n].size))
            else:
                memory = self._new_piece(size + size // 8)
            self.in_use += memory.size
            self.most = max(self.most, self.in_use)
            return memory

    def release(self) -> None:
        with self.lock:
            self._take_back()
            self.free.clear()
            self.most = self.in_use

    def _new_piece(self, size: int) -> npt.NDArray[np.uint8]:
        too_much = self.in_use + size + sum(piece.size for piece in self.free) - self.most
        self.free.sort(key=len, reverse=True)
        while self.free and too_much > 0:
            too_much -= self.free.pop().size
        return _fresh(size)

    def _take_back(self) -> None:
        while self.returned:
            memory = self.returned.popleft()
            self.in_use -= memory.size
            self.free.append(memory)


def _fresh(size: int) -> npt.NDArray[np.uint8]:
    """Return memory that goes back to the system as soon as it is given up.

    That of the heap does so only where nothing else stands behind it.
    """
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a system may be built without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


_pool = _Pool()


class _Loan:
    """What an array stands on: gives the memory back when the last array on it is gone.

    That may be in the middle of `_Pool.borrow`, so the lock is not asked for.
    """

    def __init__(self, memory: npt.NDArray[np.uint8]) -> None:
        self._memory, self._returned = memory, _pool.returned
        self.__array_interface__: dict[str, Any] = memory.__array_interface__

    def __del__(self) -> None:
        self._returned.append(self._memory)


def borrow(shape: SupportsIndex | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of unset values, to be used like any other.

    Its memory returns when no array refers to it any more.
    """
    kind = np.dtype(dtype)
    size = int(math.prod(shape) if isinstance(shape, tuple) else shape) * kind.itemsize
    if size < SMALLEST:
        return np.empty(shape, kind)
    return np.asarray(_Loan(_pool.borrow(size)))[:size].view(kind).reshape(shape)


@after_every_run
def release_free_memory() -> None:
    """Give up all memory that is not in use (that of runs still at work is)."""
    _pool.release()

# SPDX-License-Identifier: BSD-3-Clause
"""Something that each thread has one of, to collect without waiting for the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerThread(Generic[T]):
    """One object per thread that asks, made when it first does.

    Parameters
    ----------
    make : callable
        returns a new, empty object

    Examples
    --------
    >>> counts = PerThread(list)
    >>> counts.mine().append(3)
    >>> counts.mine().append(4)
    >>> counts.joined(lambda total, other: total.extend(other))
    [3, 4]
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._objects: dict[int, T] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[Callable[[], T], list[T]]:
        """Go to another process with all that was collected."""
        return self._make, self.objects()

    def __setstate__(self, state: tuple[Callable[[], T], list[T]]) -> None:
        """Come from another process: the objects belong to no thread of this one."""
        self._make, objects = state
        self._objects = {-number: each for number, each in enumerate(objects, 1)}
        self._lock = threading.Lock()

    def mine(self) -> T:
        """Return the object of the calling thread."""
        found = self._objects.get(threading.get_ident())
        if found is None:
            with self._lock:
                found = self._objects[threading.get_ident()] = self._make()
        return found

    def objects(self) -> list[T]:
        """Return the objects there are; ask only when no thread is at work on them any more."""
        return list(self._objects.values())

    def joined(self, add: Callable[[T, T], object]) -> T:
        """Return one object with what all have collected; the others are given up.

        Parameters
        ----------
        add : callable (total, other)
            takes over what the second object has collected into the first one
        """
        with self._lock:
            first, *others = self._objects.values() or [self._make()]
            for other in others:
                add(first, other)
            self._objects = {threading.get_ident(): first}
        return first

# SPDX-License-Identifier: BSD-3-Clause
"""Frames: the files of one run, by tag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Frame:
    """One input file with its tag and group (RAW, CALIB, PRODUCT or None as given).

    ``path`` is the file to read; ``given`` the one that the user gave, where that is packed; ``unset`` the
    variables in its name that are not set.
    """

    path: Path
    tag: str
    group: str | None = None
    given: Path | None = None
    unset: tuple[str, ...] = field(default=(), compare=False)

    @property
    def source(self) -> Path:
        """The file that the user gave, for messages."""
        return self.given or self.path

    @property
    def name(self) -> str:
        """File name without folder, as the user gave it."""
        return self.source.name


class Frames:
    """The input frames of a run in the order given; ``frames[tag]`` is the tuple of frames of that tag.

    Parameters
    ----------
    taken : called with the frames of a tag when they are asked for the first time
    """

    def __init__(
        self, frames: Iterable[Frame] = (), taken: Callable[[tuple[Frame, ...]], None] | None = None
    ) -> None:
        self._frames = tuple(frames)
        self._taken = taken
        self._asked: set[str] = set()

    def __reduce__(self) -> tuple[type[Frames], tuple[tuple[Frame, ...]]]:
        """What is sent to another process tells nobody what is asked for there."""
        return Frames, (self._frames,)

    def __getitem__(self, tag: str) -> tuple[Frame, ...]:
        found = tuple(frame for frame in self._frames if frame.tag == tag)
        if tag not in self._asked:
            self._asked.add(tag)
            if found and self._taken is not None:
                self._taken(found)
        return found

    def never_asked(self) -> list[Frame]:
        """Return the frames that nobody asked for by their tag."""
        return [frame for frame in self._frames if frame.tag not in self._asked]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def first(self, tag: str) -> Frame | None:
        """Return the first frame of a tag, or None."""
        return next(iter(self[tag]), None)


@dataclass(frozen=True)
class ProductFrame:
    """One finished product file."""

    path: Path
    tag: str
    level: str = "FINAL"
    group: str = "PRODUCT"
    type: str = "IMAGE"
    complete: bool = True  # False: part of the data that should be in it, or beside it, could not be made

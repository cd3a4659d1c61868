# SPDX-License-Identifier: BSD-3-Clause
"""Frames: the files of one run, by tag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Frame:
    """One input file with its tag and group (RAW, CALIB, PRODUCT or None as given).

    ``path`` is the file to read; ``given`` the one that the user gave, where that is packed.
    """

    path: Path
    tag: str
    group: str | None = None
    given: Path | None = None

    @property
    def source(self) -> Path:
        """The file that the user gave, for messages."""
        return self.given or self.path

    @property
    def name(self) -> str:
        """File name without folder, as the user gave it."""
        return self.source.name


class Frames:
    """The input frames of a run in the order given; ``frames[tag]`` is the tuple of frames of that tag."""

    def __init__(self, frames: Iterable[Frame] = ()) -> None:
        self._frames = tuple(frames)

    def __getitem__(self, tag: str) -> tuple[Frame, ...]:
        return tuple(frame for frame in self._frames if frame.tag == tag)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)

    def first(self, tag: str) -> Frame | None:
        """Return the first frame of a tag, or None."""
        return next((frame for frame in self._frames if frame.tag == tag), None)


@dataclass(frozen=True)
class ProductFrame:
    """One finished product file."""

    path: Path
    tag: str
    level: str = "FINAL"
    group: str = "PRODUCT"
    type: str = "IMAGE"

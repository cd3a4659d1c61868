# SPDX-License-Identifier: BSD-3-Clause
"""Frames: the files of one run, by tag."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Frame:
    """One input file with its tag and group (RAW, CALIB, PRODUCT or None as given)."""

    path: Path
    tag: str
    group: str | None = None

    @property
    def name(self) -> str:
        """File name without folder."""
        return self.path.name


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

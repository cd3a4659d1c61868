# SPDX-License-Identifier: BSD-3-Clause
"""The calibration frames of a run: each is read once, and named in the products it went into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import Values, check
from muse_core.framework import Frame, Frames, InputError, fits_file

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import RunContext

T = TypeVar("T")
Products = Literal["all", "images", "cube"]


@dataclass
class UsedFrames:
    """Which calibration frames the products name in their headers.

    Parameters
    ----------
    all : those of all products
    images : those that only filter images and what follows them need
    cube : those that only the cube needs
    """

    all: list[Frame] = field(default_factory=list)
    images: list[Frame] = field(default_factory=list)
    cube: list[Frame] = field(default_factory=list)

    def add(self, frames: tuple[Frame, ...], products: Products = "all") -> None:
        """Note that some products depend on frames (once for each tag)."""
        known: list[Frame] = getattr(self, products)
        tags = {frame.tag for frame in known}
        known += [frame for frame in frames if frame.tag not in tags]


class CalibrationFrames:
    """Reads the calibrations that the corrections ask for.

    What is wrong with a frame is noted in ``ctx.problems``, so that a run reports all faults at once. Several
    corrections may ask for the same frame: it is read for the first of them.

    Parameters
    ----------
    frames : Frames
        all input frames of the run
    ctx : RunContext
    """

    def __init__(self, frames: Frames, ctx: RunContext) -> None:
        self.used = UsedFrames()
        self._frames = frames
        self._ctx = ctx
        self._known: dict[tuple[str, Callable[..., Any]], Any] = {}
        self._checked: set[str] = set()

    def __getitem__(self, tag: str) -> tuple[Frame, ...]:
        return self._frames[tag]

    def first(self, tag: str) -> Frame | None:
        """Return the first frame of a tag, or None."""
        return self._frames.first(tag)

    def read(self, tag: str, reader: Callable[[Frame], T], products: Products | None = "all") -> T | None:
        """Return what a reader makes of the first frame of a tag; None if there is none, or a faulty one.

        Parameters
        ----------
        products : which products name the frame; None leaves that to `use`
        """
        frame = self.first(tag)
        return None if frame is None else self._once(tag, reader, frame, (frame,), products)

    def read_all(
        self, tag: str, reader: Callable[[tuple[Frame, ...]], T], products: Products | None = "all"
    ) -> T | None:
        """Return what a reader makes of all frames of a tag; see `read`."""
        frames = self[tag]
        return self._once(tag, reader, frames, frames, products) if frames else None

    def use(self, tag: str, products: Products = "all") -> None:
        """Note that products depend on the frames of a tag."""
        self.used.add(self[tag], products)

    def require(self, tag: str, why: str, remedy: str) -> None:
        """Note a fault if there is no frame of a tag."""
        if not self[tag]:
            self._ctx.problems.add(
                "", f"input {tag}", expected=f"a frame with this tag for {why}", found="none", remedy=remedy
            )

    def check(self, tag: str, values: Values | None) -> None:
        """Note where the first frame of a tag breaks the rules of that input (once a run).

        Parameters
        ----------
        values : a header, or columns by their names; None where the frame could not be read
        """
        frame = self.first(tag)
        if frame is not None and values is not None and tag not in self._checked:
            self._checked.add(tag)
            check(frame.path, INPUT_RULES[tag], values, self._ctx)

    def _once(
        self,
        tag: str,
        reader: Callable[[Any], T],
        argument: Frame | tuple[Frame, ...],
        frames: tuple[Frame, ...],
        products: Products | None,
    ) -> T | None:
        key = (tag, reader)
        if key not in self._known:
            try:
                self._known[key] = reader(argument)
            except InputError as error:
                self._ctx.problems.extend(error)
                self._known[key] = None
                return None
        value: T | None = self._known[key]
        if value is not None and products:
            self.used.add(frames, products)
        return value


def read_header(frame: Frame) -> Header:
    """Return the primary header of a frame."""
    return fits_file.read_header(frame.path)

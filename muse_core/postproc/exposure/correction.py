# SPDX-License-Identifier: BSD-3-Clause
"""What a fitted correction is, and what stands in its place where it is not made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from muse_core.data.block import Block

Card = tuple[str, object, str]
"""Keyword, value, comment."""


class Correction(Protocol):
    """A small frozen model that was fitted once and changes blocks of rows in place.

    The log, the history of a product and the chain of an exposure take what they print from here.
    """

    @property
    def name(self) -> str:
        """Say in one word what it is, for the log and the header."""
        ...

    @property
    def moves(self) -> bool:
        """Tell whether it changes positions or wavelengths (only then limits of the data change)."""
        ...

    @property
    def stretch(self) -> float:
        """Return the factor by which it stretches wavelengths, the only way in which it may change them."""
        ...

    def apply(self, block: Block) -> None:
        """Correct a block of rows, in place, without memory of other blocks."""
        ...

    def cards(self) -> list[Card]:
        """Return the header cards (keyword, value, comment) that tell of it."""
        ...


@dataclass(frozen=True)
class Skipped:
    """A correction that was not made.

    Parameters
    ----------
    name : of the correction, in one word
    reason : in a few words, for the log and the header (which has room for about 35 letters)
    wanted : the user asked for it or expects it, so that its absence is a warning
    earlier : an earlier run has made it: the log tells, the header need not
    cards : header cards that the C recipe writes in this case
    """

    name: str
    reason: str
    wanted: bool = False
    earlier: bool = False
    cards: tuple[Card, ...] = ()

# SPDX-License-Identifier: BSD-3-Clause
"""The sky of one exposure: a spectrum that all slices share, and lines with the profile of each slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from muse_core.postproc.exposure.reduction import PIXTABLE
from muse_core.postproc.lsf.tables import LsfTable
from muse_core.postproc.sky.line_subtraction import LineModel, subtract_lines
from muse_core.postproc.sky.refinement import SliceRefinement
from muse_core.postproc.sky.spectrum import SkyCurve, subtract_curve

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.postproc.exposure.correction import Card


@dataclass(frozen=True)
class SkyModel:
    """What is subtracted from the rows.

    Parameters
    ----------
    curve : SkyCurve or None
        the mean sky spectrum (skymethod=simple), or the continuum
    lines : LineModel or None
    refinement : SliceRefinement or None
        what is left of the sky in each slice
    """

    name: ClassVar[str] = "sky"
    moves: ClassVar[bool] = False
    stretch: ClassVar[float] = 1.0

    curve: SkyCurve | None
    lines: LineModel | None = None
    refinement: SliceRefinement | None = None

    def apply(self, block: Block) -> None:
        """Subtract the sky from the rows of a block; the variances stay as they are."""
        if self.curve is not None:
            subtract_curve(block.lam, block.data, self.curve)
        if self.lines is not None:
            subtract_lines(block.lam, block.data, block.origin, block.row, self.lines)
        if self.refinement is not None:
            self.refinement.apply(block)

    def cards(self) -> list[Card]:
        """Return the card of a subtracted sky (C: with LSF tables only), and those of the refinement."""
        cards: list[Card] = []
        if self.lines is not None and isinstance(self.lines.lsf, LsfTable):
            cards.append((f"{PIXTABLE} SKYSUB", True, "Pixel table was sky-subtracted"))
        return cards if self.refinement is None else cards + self.refinement.cards()

# SPDX-License-Identifier: BSD-3-Clause
"""The state of an exposure between two corrections, kept for a run that goes on after it was killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muse_core.framework.log import Message, repeat

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU, Header

    from muse_core.data.header_values import Keywords
    from muse_core.framework import RunContext
    from muse_core.postproc.astrometry.position import PositionModel
    from muse_core.postproc.exposure.correction import Correction
    from muse_core.postproc.exposure.reduction import PendingProduct, Reduction
    from muse_core.postproc.exposure.row_limits import RowLimits
    from muse_core.postproc.white_light.image import WhiteImage


@dataclass(frozen=True)
class ExposureState:
    """All that corrections change of an exposure, and what they said.

    Parameters
    ----------
    done : number of corrections that were made, or found not to be needed
    cut : wavelength limits of the rows [Angstrom]
    flags : of the products
    messages : of the log
    """

    done: int
    corrections: list[Correction]
    cut: tuple[float, float]
    polar: bool
    sorted_slices: bool
    header: Header
    data_unit: str
    position_unit: str
    tables: list[BinTableHDU]
    pending: list[PendingProduct]
    keywords: Keywords
    reference_limits: RowLimits | None
    white_image: WhiteImage | None
    position: PositionModel | None
    flags: dict[str, Any]
    messages: list[Message]

    @classmethod
    def of(
        cls, exposure: Reduction, done: int, messages: Sequence[Message], ctx: RunContext
    ) -> ExposureState:
        """Return the present state of an exposure."""
        chain, product = exposure.chain, exposure.product
        return cls(
            done, chain.corrections, chain.files.cut, chain.polar, chain.sorted_slices, product.header,
            product.data_unit, product.position_unit, product.tables, product.pending, exposure.keywords,
            exposure.reference_limits, exposure.white_image, exposure.position, ctx.flags_here,
            list(messages),
        )  # fmt: skip

    def restore(self, exposure: Reduction, ctx: RunContext) -> None:
        """Give an exposure this state; its messages are repeated."""
        chain, product = exposure.chain, exposure.product
        chain.corrections[:] = self.corrections
        chain.narrow(*self.cut)
        chain.polar, chain.sorted_slices = self.polar, self.sorted_slices
        product.header = self.header
        product.data_unit, product.position_unit = self.data_unit, self.position_unit
        product.tables[:], product.pending[:] = self.tables, self.pending
        exposure.keywords = self.keywords
        exposure.reference_limits, exposure.white_image = self.reference_limits, self.white_image
        exposure.position = self.position
        ctx.flags_here.update(self.flags)
        repeat(self.messages, ctx.log)

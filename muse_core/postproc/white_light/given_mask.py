# SPDX-License-Identifier: BSD-3-Clause
"""Rows that lie on the sky by a SKY_MASK of the user, in pixels or on the celestial sphere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.framework.log import UNDONE
from muse_core.postproc.astrometry.position import apply_position, fit_position
from muse_core.postproc.astrometry.projection import apply_astrometry
from muse_core.postproc.astrometry.step import projection_of

if TYPE_CHECKING:
    from muse_core.framework import RunContext
    from muse_core.postproc.exposure.chain import Chain
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.white_light.calibrations import MaskCalibrations
    from muse_core.postproc.white_light.sky_mask import SkyMask

Selector = Callable[[Block], npt.NDArray[np.bool_]]


def given_mask(exposure: Reduction, given: MaskCalibrations, ctx: RunContext) -> Selector | None:
    """Return the selection of rows by an input SKY_MASK, or None if there is none that can be used."""
    mask = given.mask
    if mask is None:
        return None
    if mask.kind == "unsupported":
        ctx.log.warning(
            "Cannot use mask WCS for pixel selection, unsupported celestial WCS (%s / %s)",
            *mask.ctype,
            extra=UNDONE,
        )
        return None
    if mask.kind == "none":
        ctx.log.warning(
            "SKY_MASK has no world coordinates (CTYPE, CRVAL, CD): it cannot be placed on the data and is "
            "not used, all of the field may count as sky. Copy them from the image it was made of.",
            extra=UNDONE,
        )
    if mask.kind != "celestial":
        return lambda block: mask.select(block.xpos, block.ypos)
    solution, offsets = given.astrometry.solution, given.astrometry.offsets
    if solution is None:
        ctx.log.warning("No ASTROMETRY_WCS was given, pixel selection using mask will be inaccurate!")
    if offsets is None:
        ctx.log.warning(
            "SKY_MASK has celestial coordinates but no OFFSET_LIST was given. "
            "Results will likely be inaccurate!"
        )
    projection = projection_of(exposure, solution, ctx)
    position = fit_position(exposure.keywords.without_replacements(), offsets, ctx.log)

    def select(block: Block) -> npt.NDArray[np.bool_]:
        x, y = block.xpos.copy(), block.ypos.copy()
        apply_astrometry(x, y, projection)
        apply_position(x, y, position)
        return mask.select(x.astype(np.float64) + position.crval1, y.astype(np.float64) + position.crval2)

    return select


def check_overlap(selected: Selector, mask: SkyMask, chain: Chain) -> None:
    """Refuse a mask that none of the rows to which it was applied lies on.

    Workers of a cluster have counted those rows for themselves, so they are asked once more, until one is
    found.
    """
    if not chain.team.shares_memory:
        for rows, inside in chain.map_blocks(_Counted(selected, mask)):
            mask.seen.add(rows, inside)
            if inside:
                break
    mask.check_overlap()


@dataclass(frozen=True)
class _Counted:
    """Tells how many rows of a block were looked up in a mask, and how many lie on its image."""

    selected: Selector
    mask: SkyMask

    def __call__(self, block: Block) -> tuple[int, int]:
        self.selected(block)
        return self.mask.seen.take()

# SPDX-License-Identifier: BSD-3-Clause
"""Several exposures in one coordinate system, with their weights and the header of what is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.block import Block
from muse_core.data.header_values import is_narrow_field
from muse_core.data.row_set import RowSet
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.astrometry.position import PositionModel, shift_rows
from muse_core.postproc.combination.checks import warn_about_mixtures
from muse_core.postproc.combination.weights import fit_weights, mean_strehl
from muse_core.postproc.exposure.products import WCS_KEYS, offset_cards, table_limits
from muse_core.postproc.exposure.reduction import PIXTABLE, Reduction, Step
from muse_core.postproc.exposure.row_limits import RowLimits, join_limits
from muse_core.postproc.inputs.calibrations import Calibrations

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import Frame, ParamValues, RunContext


@dataclass
class Combination:
    """All exposures in one coordinate system.

    Parameters
    ----------
    members : list of Reduction
        their rows are relative to `reference`
    positions : list of PositionModel
        empty for data in pixel coordinates
    weights : tuple of float, or None
    reference : (float, float)
        pole of the first exposure
    limits : RowLimits
        of all rows, full coordinates
    header : Header
        of the combined table
    frames : tuple of Frame
        pixel tables and calibrations that every product names
    image_frames : tuple of Frame
        the same with the frames that filter images and what follows need
    """

    members: list[Reduction]
    positions: list[PositionModel]
    weights: tuple[float, ...] | None
    reference: tuple[float, float]
    limits: RowLimits
    header: Header
    frames: tuple[Frame, ...]
    image_frames: tuple[Frame, ...]
    cosmics: list[RowSet] | None = None

    @property
    def celestial(self) -> bool:
        """True if the rows are on the sky."""
        return bool(self.positions)


def combine(
    members: list[Reduction],
    positions: list[PositionModel],
    calib: Calibrations,
    frames: tuple[Frame, ...],
    p: ParamValues,
    ctx: RunContext,
) -> Combination:
    """Bring all exposures to the pole of the first one, find their weights and common limits."""
    first = members[0]
    reference = (positions[0].crval1, positions[0].crval2) if positions else (0.0, 0.0)
    for member, position in zip(members[1:], positions[1:]):
        turn = 360.0 * round((position.crval1 - reference[0]) / 360.0)  # fields on both sides of RA = 0
        shift = (position.crval1 - turn - reference[0], position.crval2 - reference[1])

        def apply(block: Block, shift: tuple[float, float] = shift) -> None:
            shift_rows(block.xpos, block.ypos, *shift)

        member.add(Step("common reference", apply, moves=True))
    weights = fit_weights([member.header for member in members], p.weight, ctx.log, compat=ctx.compat)
    parts = [table_limits(member, ctx) for member in members]
    warn_about_mixtures(members, parts, ctx)
    limits = join_limits(parts).shifted(*reference)
    several = len(members) > 1  # then slice offsets are kept under the number of each exposure
    combination = Combination(
        members,
        positions,
        weights.weights if weights else None,
        reference,
        limits,
        header_without(first.header, lambda key: several and key.startswith(f"{PIXTABLE} EXP0 ")),
        (*frames, *calib.used, *calib.used_by_cube),
        (*frames, *calib.used, *calib.used_by_cube, *calib.used_by_images),
    )
    _combined_header(combination, frames, ctx)
    return combination


def _combined_header(combination: Combination, frames: tuple[Frame, ...], ctx: RunContext) -> None:
    header, members = combination.header, combination.members
    if len(members) > 1:
        if is_narrow_field(header):
            strehl = mean_strehl([member.header for member in members], ctx.log, compat=ctx.compat)
            if strehl:
                set_card(header, "ESO DRS MUSE RTC STREHL", strehl[0])
                set_card(header, "ESO DRS MUSE RTC STREHERR", strehl[1])
    _take_standard_keywords(header, members, frames)
    for number, position in enumerate(combination.positions, 1):
        for card in offset_cards(position, number):
            set_card(header, *card)


def _take_standard_keywords(header: Header, members: list[Reduction], frames: tuple[Frame, ...]) -> None:
    """Inherit the standard keywords from the first frame given whatever its date (CPL's product rules)."""
    first = frames[0]
    for member in members[1:]:
        if first in member.frames:
            own = member.header
            for key in list(header):
                if not key.startswith(("ESO DRS", *WCS_KEYS)) and key in own:
                    header[key] = own[key]

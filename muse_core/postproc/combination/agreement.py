# SPDX-License-Identifier: BSD-3-Clause
"""A warning before exposures are combined whose stars do not lie on each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.alignment.disagreement import warn_about_disagreement
from muse_core.data.header_values import is_narrow_field
from muse_core.postproc.combination.field_images import field_images, step_arcsec

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.combination.combine import Combination

COMBINED = frozenset(("cube", "combined", "stacked"))


def check_agreement(combination: Combination, p: ParamValues, ctx: RunContext) -> None:
    """Compare the stars of exposures for which there is no OFFSET_LIST, in quick images (a warning only)."""
    members = combination.members
    placed = all(member.position is not None for member in members)
    aligned = placed and all(member.position.offset is not None for member in members if member.position)
    if len(members) < 2 or not placed or aligned or not COMBINED.intersection(p.save):
        return
    images = field_images(combination)
    mode = "NFM" if is_narrow_field(members[0].keywords) else "WFM"
    numbers = [member.number for member in members]
    warn_about_disagreement(images, numbers, step_arcsec(combination), mode, ctx.log)

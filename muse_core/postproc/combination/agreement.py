# SPDX-License-Identifier: BSD-3-Clause
"""A warning before exposures are combined whose stars do not lie on each other, whatever OFFSET_LIST says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.alignment.disagreement import disagreements
from muse_core.data.header_values import is_narrow_field
from muse_core.postproc.combination.beside_sums import image_of_sums, warn_of_lost
from muse_core.postproc.combination.field_images import field_grid, field_images, step_arcsec

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.combination.combine import Combination

ALIGNED = "EXPOSURES ALIGNED"
COMBINED = frozenset(("cube", "combined", "stacked", "sums"))


def check_agreement(
    combination: Combination, p: ParamValues, ctx: RunContext, *, keep_images: bool = False
) -> None:
    """Compare the stars of the exposures, in quick images (a warning and a flag only).

    Parameters
    ----------
    keep_images : the images are needed again (`flag_unconfirmed`)
    """
    members = combination.members
    earlier = combination.earlier
    if len(members) + (earlier is not None) < 2 or not COMBINED.intersection(p.save):
        return
    if any(member.position is None for member in members):
        return
    listed = [bool(member.position and member.position.offset) for member in members]
    ctx.flag("OFFSETS APPLIED", all(listed), "OFFSET_LIST has every exposure")
    grid = field_grid(combination)
    with ctx.clock.step("images of the exposures"):
        images = ctx.kept.once("images of the exposures", lambda: field_images(combination, ctx))
    if grid is None or not images:
        ctx.log.info("The exposures lie too far apart for quick images: their stars are not compared")
        return
    if keep_images:
        combination.images = images
    mode = "NFM" if is_narrow_field(members[0].keywords) else "WFM"
    numbers = [str(member.number) for member in members]
    if earlier is not None:
        warn_of_lost(combination, earlier, grid, images, ctx)
        images = [image_of_sums(combination, earlier, grid), *images]
        numbers = ["of the sums", *numbers]
    texts, compared = disagreements(images, numbers, step_arcsec(combination), mode)
    advice = (
        "the OFFSET_LIST contradicts the data: see whether it is of these exposures, or make it anew"
        if any(listed)
        else "give an OFFSET_LIST made by muse_exp_align"
    )
    for text in texts:
        ctx.undone(ALIGNED, f"{text}; {advice}", "Stars of exposures lie on each other")
    if compared and not texts:
        ctx.flag(ALIGNED, True, "Stars of exposures lie on each other")

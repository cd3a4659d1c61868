# SPDX-License-Identifier: BSD-3-Clause
"""Exposures that are combined although they differ in what one would expect to be the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.data.header_values import get_str
from muse_core.framework import RecipeError
from muse_core.framework.unit_spelling import c_spelling
from muse_core.postproc.exposure.reduction import PIXTABLE, Reduction
from muse_core.postproc.exposure.row_limits import RowLimits

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext


def warn_about_mixtures(members: list[Reduction], limits: list[RowLimits], ctx: RunContext) -> None:
    """Warn about different units, modes, velocity frames and fields.

    Parameters
    ----------
    limits : list of RowLimits
        of each exposure, in common coordinates
    """
    units = {c_spelling(member.product.data_unit) for member in members}
    if len(units) > 1:
        ctx.log.warning("the exposures have data in different units (%s)", ", ".join(sorted(units)))
    modes = {get_str(t.header, "ESO INS MODE") or "" for member in members for t in member.chain.files.files}
    if len(modes) > 1:
        ctx.log.warning("the exposures have different instrument modes (%s)", ", ".join(sorted(modes)))
    for member in members:
        if len(members) > 1 and f"{PIXTABLE} RVCORR" not in member.product.header:
            ctx.log.warning(
                "Data of exposure %d (DATE-OBS=%s) was not radial-velocity corrected!",
                member.number,
                get_str(member.product.header, "DATE-OBS"),
            )
    fields = separate_fields(limits)
    if len(fields) > 1:
        listed = (", ".join(f"{i + 1}" for i in field) for field in fields)
        ctx.log.warning("the exposures are of %d fields without overlap: %s", len(fields), " | ".join(listed))


def separate_fields(limits: list[RowLimits]) -> list[list[int]]:
    """Return which exposures (as indices) hang together, each overlapping some other one of its group."""

    def overlap(a: RowLimits, b: RowLimits) -> bool:
        pairs = ((a.x, b.x), (a.y, b.y))
        return all(one[0] <= two[1] and two[0] <= one[1] for one, two in pairs)

    groups: list[list[int]] = []
    for i, own in enumerate(limits):
        near = [group for group in groups if any(overlap(own, limits[j]) for j in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([*(j for group in near for j in group), i]))
    return sorted(groups)


def check_combination(members: list[Reduction], p: ParamValues, ctx: RunContext) -> None:
    """Refuse to combine exposures in pixel coordinates, in which they do not lie on each other.

    The C recipe refuses it whatever is to be saved, and only when it has reduced all of them.
    """
    wanted = ctx.defects.refused_after_reduction or {"cube", "combined", "stacked"}.intersection(p.save)
    if len(members) > 1 and wanted and not p.astrometry:
        raise RecipeError(
            f"{len(members)} exposures cannot be combined with astrometry=false: their pixel coordinates "
            "have nothing in common; leave astrometry on, or reduce one exposure at a time"
        )

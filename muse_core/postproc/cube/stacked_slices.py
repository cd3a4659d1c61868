# SPDX-License-Identifier: BSD-3-Clause
"""The image of all slices side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from muse_core.data.header_values import is_narrow_field
from muse_core.postproc.combination.combine import Combination
from muse_core.postproc.cube.make_cube import product_base
from muse_core.resampling.stacked import (
    SliceLimits,
    StackedSource,
    column_step,
    stacked_layout,
    write_stacked,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muse_core.data.block import Block
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.exposure.reduction import Reduction


def save_stacked(
    combination: Combination, p: ParamValues, ctx: RunContext, extra: Iterable[Card] = ()
) -> None:
    """Write OBJECT_RESAMPLED."""
    if ctx.take_kept("OBJECT_RESAMPLED"):
        return
    members = combination.members
    scale, in_degrees = _column_scale(combination), ctx.defects.stacked_dx_in_degrees
    step = column_step(scale, p.dx, combination.celestial, in_degrees=in_degrees)
    limits = _slice_limits(members)
    layout = stacked_layout(limits, step, combination.limits.lam, p.dlambda or 1.25)
    sources = [
        StackedSource(member.chain.gather, combination.cosmics[i].contains if combination.cosmics else None)
        for i, member in enumerate(members)
    ]
    ctx.log.info("Slices side by side: %d columns, %d wavelengths", layout.nx, layout.ny)
    with ctx.stream(
        "OBJECT_RESAMPLED",
        base=product_base(combination),
        used=combination.image_frames,
        extra=extra,
        resumable=True,
    ) as product:
        write_stacked(
            product.path,
            product.header,
            sources,
            layout,
            combination.data_unit,
            rows=sum(member.chain.rows for member in members),
            team=ctx.team,
            memory_bytes=ctx.memory_bytes,
        )


def _column_scale(combination: Combination) -> float:
    """First row norm of the effective CD matrix in degrees."""
    header = combination.header
    scale = math.hypot(float(header.get("CD1_1", 0.0)), float(header.get("CD1_2", 0.0)))
    if scale > 0.0:
        return scale
    return (0.02519 if is_narrow_field(header) else 0.2) / 3600.0


def _slice_limits(members: list[Reduction]) -> SliceLimits:
    """Range of positions of each slice; only corrections that move rows are run."""
    limits = SliceLimits()
    for member in members:
        limits.merge(member.chain.total_of_positions(SliceLimits, _add_places))
    return limits


def _add_places(limits: SliceLimits, block: Block) -> None:
    limits.add(block.xpos, block.origin)

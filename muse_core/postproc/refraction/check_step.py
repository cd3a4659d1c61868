# SPDX-License-Identifier: BSD-3-Clause
"""Step of muse_scipost that checks the refraction correction on point sources."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.header_values import seven_digits
from muse_core.postproc.exposure.reduction import PIXTABLE, Reduction, Step
from muse_core.postproc.refraction.residual import (
    PLANE_STEP,
    CentroidTrack,
    apply_dar_check,
    find_sources,
    fit_dar_check,
    reference_plane,
)
from muse_core.resampling.cosmics import NOT_SAME_Y
from muse_core.resampling.grid import OutputGrid, pixel_grid
from muse_core.resampling.plan import CosmicRejection, CubePlan, Slab
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import Resampling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from muse_core.framework import ParamValues, RunContext

_PIXFRAC = (1.0, 1.0, 1.0)
_SIGMA = 7.0
_PREDAR = f"{PIXTABLE} PREDAR LIMITS"


def check_refraction(reduction: Reduction, p: ParamValues, ctx: RunContext) -> None:
    """Measure the residual refraction of an exposure (darcheck=check) and take it out (darcheck=correct)."""
    if p.darcheck == "none":
        return
    limits = reduction.limits()
    grid = pixel_grid((limits.x, limits.y, limits.lam), (1.0, 1.0, PLANE_STEP))
    corrected = reduction.header.get(f"{PIXTABLE} DAR CORRECT", -1.0) > 0
    reference, plane = reference_plane(p.lambdaref if corrected else -1.0, grid.crval[2], grid.nz, ctx.log)
    sources = find_sources(_reference_image(reduction, grid, plane, ctx), ctx.log)
    if not sources:
        return
    track = CentroidTrack(sources)
    for slab in ctx.progress(_slabs(reduction, grid, ctx), "refraction check"):
        for k in range(slab.data.shape[0]):
            wavelength = grid.crval[2] + (slab.first + k) * PLANE_STEP
            track.add(wavelength, slab.data[k], slab.stat[k])
    model = fit_dar_check(track, reference, corrected=corrected, log=ctx.log)
    if model is None:
        return
    applied = p.darcheck == "correct"
    for key, value, comment in model.cards(applied=applied):
        reduction.set_card(key, value, comment)
    if reduction.reference_limits is None and f"{_PREDAR} XLO" not in reduction.header:
        for name, value in zip(("XLO", "XHI", "YLO", "YHI"), (*limits.x, *limits.y), strict=True):
            reduction.set_card(f"{_PREDAR} {name}", seven_digits(value))
        reduction.reference_limits = limits
    if not applied:
        return

    def apply(block: Block) -> None:
        apply_dar_check(block.xpos, block.ypos, block.lam, model)

    reduction.add(Step("refraction check", apply, moves=True))


def _slabs(reduction: Reduction, grid: OutputGrid, ctx: RunContext) -> Iterator[Slab]:
    cosmics = CosmicRejection("iraf", _SIGMA, NOT_SAME_Y)
    plan = CubePlan(grid, (0.0, 0.0), Resampling("drizzle", _PIXFRAC), cosmics, defects=ctx.defects)
    rows = Contribution(reduction.gather, reduction.exposure.rows)
    return cube_slabs([rows], plan, threads=reduction.threads, memory_bytes=ctx.memory_bytes)


def _reference_image(
    reduction: Reduction, grid: OutputGrid, plane: int, ctx: RunContext
) -> npt.NDArray[np.float64]:
    """Mean of the planes around the reference wavelength, NaN where empty."""
    first, last = max(plane - 1, 0), min(plane + 2, grid.nz)
    lam = grid.crval[2] + first * PLANE_STEP
    part = replace(grid, nz=last - first, crval=(grid.crval[0], grid.crval[1], lam))
    total, number = np.zeros((grid.ny, grid.nx)), np.zeros((grid.ny, grid.nx))
    for slab in _slabs(reduction, part, ctx):
        good = np.isfinite(slab.data)
        total += np.where(good, slab.data, 0.0).sum(axis=0)
        number += good.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)

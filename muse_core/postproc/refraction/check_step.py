# SPDX-License-Identifier: BSD-3-Clause
"""Step of muse_scipost that checks the refraction correction on point sources."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.reduction import PREDAR, Reduction, predar_cards
from muse_core.postproc.refraction.dar import CORRECT_KEY
from muse_core.postproc.refraction.residual import (
    PLANE_STEP,
    CentroidTrack,
    DarCheck,
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


def correct(
    exposure: Reduction,
    calibrations: None,
    p: ParamValues,
    ctx: RunContext,
) -> Skipped | None:
    """Measure the residual refraction of an exposure (darcheck=check) and take it out (darcheck=correct)."""
    limits = exposure.chain.limits()
    header = exposure.product.header
    grid = pixel_grid((limits.x, limits.y, limits.lam), (1.0, 1.0, PLANE_STEP))
    corrected = header.get(CORRECT_KEY, -1.0) > 0
    reference, plane = reference_plane(p.lambdaref if corrected else -1.0, grid.crval[2], grid.nz, ctx.log)
    sources = find_sources(_reference_image(exposure, grid, plane, ctx), ctx.log)
    if not sources:
        return Skipped(DarCheck.name, "no sources found")
    track = CentroidTrack(sources)
    slabs = _slabs(exposure, grid, ctx)
    for slab in ctx.progress(slabs, "refraction check", grid.nz, lambda slab: len(slab.data)):
        for k in range(slab.data.shape[0]):
            wavelength = grid.crval[2] + (slab.first + k) * PLANE_STEP
            track.add(wavelength, slab.data[k], slab.stat[k])
    model = fit_dar_check(track, reference, corrected=corrected, log=ctx.log)
    if isinstance(model, Skipped):
        return model
    if p.darcheck == "correct":
        exposure.add(model)
    else:
        for card in model.check_cards():
            exposure.product.set_card(*card)
    if exposure.reference_limits is None and f"{PREDAR} XLO" not in header:
        for card in predar_cards(limits, rounded=ctx.defects.predar_limits_rounded):
            exposure.product.set_card(*card)
        exposure.reference_limits = limits
    return None


def _slabs(exposure: Reduction, grid: OutputGrid, ctx: RunContext) -> Iterator[Slab]:
    cosmics = CosmicRejection("iraf", _SIGMA, NOT_SAME_Y)
    plan = CubePlan(grid, (0.0, 0.0), Resampling("drizzle", _PIXFRAC), cosmics, defects=ctx.defects)
    rows = Contribution(exposure.chain.gather, exposure.chain.rows)
    return cube_slabs([rows], plan, team=exposure.chain.team, memory_bytes=ctx.memory_bytes)


def _reference_image(
    exposure: Reduction, grid: OutputGrid, plane: int, ctx: RunContext
) -> npt.NDArray[np.float64]:
    """Mean of the planes around the reference wavelength, NaN where empty."""
    first, last = max(plane - 1, 0), min(plane + 2, grid.nz)
    lam = grid.crval[2] + first * PLANE_STEP
    part = replace(grid, nz=last - first, crval=(grid.crval[0], grid.crval[1], lam))
    total, number = np.zeros((grid.ny, grid.nx)), np.zeros((grid.ny, grid.nx))
    for slab in _slabs(exposure, part, ctx):
        good = np.isfinite(slab.data)
        total += np.where(good, slab.data, 0.0).sum(axis=0)
        number += good.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)

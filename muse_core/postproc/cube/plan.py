# SPDX-License-Identifier: BSD-3-Clause
"""How the final cube is to be made: its grid, the resampling, the rejection of cosmic rays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.header_values import is_narrow_field
from muse_core.framework import InputError, RecipeError
from muse_core.framework.errors import names_of
from muse_core.postproc.combination.combine import Combination
from muse_core.postproc.exposure.pointing import position_angle
from muse_core.resampling.cosmics import neighbourhood
from muse_core.resampling.grid import (
    ARCSEC,
    NFM_STEP,
    NOMINAL_STEP_A,
    WFM_STEP,
    OutputGrid,
    celestial_grid,
    distance_from_data,
    override_grid,
    pixel_grid,
)
from muse_core.resampling.plan import CosmicRejection, CubePlan
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import Resampling

MOST_PLANES = 100_000
"""Planes of a cube at most: the range of MUSE in steps of 0.05 Angstrom."""

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.framework import ParamValues, RunContext


def output_grid(
    combination: Combination, output_wcs: Header | None, p: ParamValues, ctx: RunContext
) -> OutputGrid:
    """Return the grid of the final cube: fit to the data, steps from the parameters, OUTPUT_WCS on top."""
    limits = (combination.limits.x, combination.limits.y, combination.limits.lam)
    dlambda = p.dlambda or NOMINAL_STEP_A
    if not all(math.isfinite(value) for pair in limits for value in pair):
        raise RecipeError(
            f"{names_of(combination.files)}: there are positions or wavelengths that are not finite "
            f"(x {limits[0]}, y {limits[1]}, wavelength {limits[2]}); make them again"
        )
    check_planes(*limits[2], dlambda)
    if not combination.celestial:
        grid = pixel_grid(limits, (p.dx or 1.0, p.dy or 1.0, dlambda))
    else:
        header = combination.header
        nominal = NFM_STEP if is_narrow_field(header) else WFM_STEP
        cd = [float(header.get(key, 0.0)) for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")]
        scale = (float(np.hypot(cd[0], cd[1])), float(np.hypot(cd[2], cd[3])))
        if not all(scale):
            scale = (nominal[0] * ARCSEC, nominal[1] * ARCSEC)
        grid = celestial_grid(
            limits, combination.reference, (p.dx or nominal[0], p.dy or nominal[1], dlambda), scale
        )
    how = "fit to data"
    if output_wcs is not None:
        grid, how = override_grid(grid, output_wcs), "overridden"
        if not ctx.defects.pc_matrix_passed_over:
            data = names_of(combination.files)
            _check_grid(grid, output_wcs, limits, data, celestial=combination.celestial)
        if grid.nz > MOST_PLANES:
            raise InputError(
                "", "OUTPUT_WCS, keyword NAXIS3", expected=f"at most {MOST_PLANES} planes", found=grid.nz
            )
    ctx.log.info("  Output cube size %d x %d x %d (%s)", grid.nx, grid.ny, grid.nz, how)
    if grid.nx * grid.ny > 2_000_000_000 // 40:
        raise RecipeError(
            f"the output cube would have {grid.nx} x {grid.ny} spaxels; check the coordinates of the "
            "exposures and the OFFSET_LIST, or give an OUTPUT_WCS"
        )
    return grid


def check_planes(low: float, high: float, dlambda: float) -> None:
    """Refuse steps of wavelength [Angstrom] that make more planes than any cube has.

    Raises
    ------
    RecipeError
    """
    if (high - low) / MOST_PLANES > dlambda:
        raise RecipeError(
            f"a cube of {low:.1f} to {high:.1f} Angstrom in steps of {dlambda:g} would have more than "
            f"{MOST_PLANES} planes; choose a larger dlambda"
        )


def _check_grid(
    grid: OutputGrid,
    output_wcs: Header,
    limits: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    data: str,
    *,
    celestial: bool,
) -> None:
    """Refuse a grid that is of another kind than the data, or that none of them (`data`) lies on."""
    if str(output_wcs["CTYPE1"]).startswith("RA") != celestial:
        wanted, there = ("RA---TAN, DEC--TAN", "pixel") if celestial else ("PIXEL, PIXEL", "celestial")
        raise InputError(
            "", "OUTPUT_WCS", expected=f"the axes {wanted}, as {data}", found=f"{there} coordinates",
            remedy="Give another OUTPUT_WCS, or change the parameter astrometry.",
        )  # fmt: skip
    (_, c12), (c21, _) = grid.matrix
    if not celestial and (c12 or c21):
        raise InputError(
            "", "OUTPUT_WCS", expected="axes along those of the pixels", found="a rotated matrix",
            remedy="Give another OUTPUT_WCS, or use astrometry=true.",
        )  # fmt: skip
    where = distance_from_data(grid, limits)
    if where:
        raise InputError(
            "", "OUTPUT_WCS", expected=f"a grid on the data ({data})", found=f"none of them: {where}",
            remedy="Check CRVAL, CRPIX and the steps, and the coordinates of the exposures (OFFSET_LIST).",
        )  # fmt: skip


def resampling_of(p: ParamValues) -> Resampling:
    """Return the resampling method with its settings; `pixfrac` is for all axes, or space and wavelength."""
    x, *others = p.pixfrac
    y, wavelength = {0: (x, x), 1: (x, *others)}.get(len(others), others)
    return Resampling(p.resample, (x, y, wavelength), p.rc, max(p.ld, 1))


def cube_plan(combination: Combination, grid: OutputGrid, p: ParamValues, ctx: RunContext) -> CubePlan:
    """Return how the final cube is made."""
    resampling = resampling_of(p)
    cosmics = None
    if p.crsigma > 0:
        angle = None
        if combination.celestial:
            angle = position_angle(combination.members[0].keywords, ctx.log)
        cosmics = CosmicRejection(p.crtype, p.crsigma, neighbourhood(angle))
        ctx.log.info("  Using %s statistics (%.3f sigma level) for cosmic-ray rejection", p.crtype, p.crsigma)
    ctx.log.info(
        '  Starting resampling, using method "%s" (pixfrac f=%.3f,%.3f,%.3f, loop distance ld=%d)',
        p.resample,
        *resampling.pixfrac,
        resampling.ld,
    )
    return CubePlan(
        grid,
        combination.reference,
        resampling,
        cosmics,
        defects=ctx.defects,
        report_flags=bool({"combined", "stacked"}.intersection(p.save)) or p.collapse_pixtable,
    )


def contributions(combination: Combination) -> list[Contribution]:
    """Return the exposures as the slab loop takes them."""
    weights = combination.weights or (None,) * len(combination.members)
    return [
        Contribution(member.chain.gather, member.chain.rows, weight)
        for member, weight in zip(combination.members, weights)
    ]

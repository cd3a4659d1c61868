# SPDX-License-Identifier: BSD-3-Clause
"""What is written of a combination of exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.postproc.combination.pixel_table import save_combined
from muse_core.postproc.cube.calibrations import WITH_CUBE
from muse_core.postproc.cube.exposure_options import NO_OPTIONS, ExposureOptions
from muse_core.postproc.cube.make_cube import make_cube

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.combination.combine import Combination
    from muse_core.postproc.cube.calibrations import CubeCalibrations


def save_combination(
    combination: Combination,
    calibrations: CubeCalibrations,
    p: ParamValues,
    ctx: RunContext,
    options: ExposureOptions = NO_OPTIONS,
) -> None:
    """Write the products of all exposures that the parameter ``save`` asks for."""
    if WITH_CUBE.intersection(p.save):
        with ctx.clock.step("cube and images"):
            make_cube(combination, calibrations, p, ctx, options)
    if "combined" in p.save:
        with ctx.clock.step("combined pixel table"):
            save_combined(combination, p, ctx)
    if "stacked" in p.save:
        from muse_core.postproc.cube.stacked_slices import save_stacked

        with ctx.clock.step("stacked slices"):
            save_stacked(combination, p, ctx)

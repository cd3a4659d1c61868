# SPDX-License-Identifier: BSD-3-Clause
"""A cube from one pixel table, in whatever coordinates its positions are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.postproc.astrometry.position import PositionModel
from muse_core.postproc.combination.combine import Combination, combine
from muse_core.postproc.combination.reduced_tables import stored_weights
from muse_core.postproc.cube.calibrations import load as load_for_cube
from muse_core.postproc.cube.make_cube import make_cube
from muse_core.postproc.exposure.pixel_tables import log_exposure
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
from muse_core.postproc.inputs.exposures import each_alone, open_tables
from muse_core.postproc.settings import check_settings
from muse_core.postproc.single.checks import chosen_table
from muse_core.postproc.single.tables import limits_of_header, name_of_ifu
from muse_core.postproc.stages import POSITION, Inputs, ReadyStage, correct, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muse_core.framework import Frames, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction


def save_cube(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Make a cube from one table, and its images."""
    check_settings(p, ctx)
    calibrations = CalibrationFrames(frames, ctx)
    tables = chosen_table(open_tables(frames["PIXTABLE_OBJECT"], ctx, needs_mode=False), ctx)
    position = prepare(POSITION, Inputs(p, calibrations, tables), ctx)
    for_cube = load_for_cube(calibrations, p, ctx)
    for exposure in each_alone(tables, p, ctx):
        log_exposure(exposure, ctx.log)
        combination = place_table(exposure, position, calibrations, p, ctx)
        make_cube(combination, for_cube, p, ctx)
        if p.stacked:
            from muse_core.postproc.cube.stacked_slices import save_stacked

            save_stacked(combination, p, ctx, name_of_ifu(exposure))


def place_table(
    exposure: Reduction,
    position: Sequence[ReadyStage],
    calibrations: CalibrationFrames,
    p: ParamValues,
    ctx: RunContext,
) -> Combination:
    """Put the rows of a table on the sky, if they are projected, and return it as a combination of one.

    Parameters
    ----------
    position : what puts projected rows on the sky
    """
    header, unit = exposure.product.header, exposure.product.position_unit
    given = None
    if unit == "rad":
        correct(exposure, position, p, ctx)
    else:
        if unit == "deg":
            pole = (float(header.get("CRVAL1", 0.0)), float(header.get("CRVAL2", 0.0)))
            exposure.position = PositionModel(*pole, 1.0, None)
        if ctx.defects.limits_from_header:
            given = limits_of_header(header, p)
    combination = combine([exposure], exposure.product.frames, calibrations.used, p, ctx)
    if given is not None:
        combination.limits = given
    weights = stored_weights(exposure.chain.files.files[0])
    if weights is not None:
        combination.weights = (weights,)
    return combination

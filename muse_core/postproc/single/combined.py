# SPDX-License-Identifier: BSD-3-Clause
"""IFUs of an exposure, or several exposures, in one pixel table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.framework.log import UNDONE
from muse_core.postproc.astrometry.offsets import check_offsets
from muse_core.postproc.combination.agreement import check_agreement
from muse_core.postproc.combination.combine import combine
from muse_core.postproc.combination.pixel_table import save_combined
from muse_core.postproc.combination.reduced_tables import check_frames, check_tables
from muse_core.postproc.exposure.pixel_tables import log_exposure
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
from muse_core.postproc.settings import check_settings
from muse_core.postproc.stages import POSITION, Inputs, correct, prepare, stages

if TYPE_CHECKING:
    from muse_core.framework import Frames, ParamValues, RunContext


def combine_tables(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Merge the IFUs of each exposure; several exposures are put on the sky and weighted."""
    check_settings(p, ctx)
    check_frames(frames, ctx)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames["PIXTABLE_OBJECT"], ctx)
    several = len({table.date_obs for _, table in tables}) > 1
    inputs = Inputs(p, calibrations, tables)
    flat = prepare(stages("flat-field spectrum"), inputs, ctx)
    position = prepare(POSITION, inputs, ctx)
    exposures = sort_exposures(check_tables(tables, p, ctx) if several else tables, p, ctx)
    if several:
        check_offsets(exposures, calibrations, p, ctx)
    elif frames["OFFSET_LIST"] and not ctx.defects:
        ctx.log.warning("OFFSET_LIST is of no use: a single exposure is not moved", extra=UNDONE)
    for exposure in exposures:
        with ctx.part():
            log_exposure(exposure, ctx.log)
            correct(exposure, (*flat, *position) if several else flat, p, ctx)
    combination = combine(exposures, frames["PIXTABLE_OBJECT"], calibrations.used, p, ctx)
    if several:
        check_agreement(combination, p, ctx)
    save_combined(combination, p, ctx)

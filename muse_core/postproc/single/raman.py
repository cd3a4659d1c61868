# SPDX-License-Identifier: BSD-3-Clause
"""Raman light taken out of one exposure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from muse_core.postproc.exposure.pixel_tables import log_exposure, save_pending, save_pixtable
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
from muse_core.postproc.raman import step
from muse_core.postproc.raman.calibrations import RamanCalibrations
from muse_core.postproc.settings import check_settings
from muse_core.postproc.single.checks import chosen_exposure
from muse_core.postproc.single.tables import TAG, limits_of
from muse_core.postproc.stages import Inputs, prepare, stages
from muse_core.postproc.stages import correct as make_corrections
from muse_core.postproc.white_light import calibrations as white_light

if TYPE_CHECKING:
    from muse_core.framework import Frames, ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Skipped
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.raman.model import RamanModel


def correct_exposure(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Merge the IFUs of an exposure, take out refraction and Raman light, and save table and images."""
    check_settings(p, ctx)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames["PIXTABLE_OBJECT"], ctx)
    *first, light = stages("flat-field spectrum", "atmospheric refraction", "Raman light")
    light = replace(light, module=__name__, asked=lambda _: True)
    ready = prepare((*first, light), Inputs(p, calibrations, tables), ctx)
    for exposure in sort_exposures(chosen_exposure(tables, ctx), p, ctx):
        log_exposure(exposure, ctx.log)
        make_corrections(exposure, ready, p, ctx)
        used = (*frames["PIXTABLE_OBJECT"], *calibrations.used.all)
        save_pending(exposure, used, ctx)
        save_pixtable(
            exposure, TAG, limits_of(exposure, ctx), used, p, ctx, good_only=ctx.defects.flagged_rows_lost
        )


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> RamanCalibrations | None:
    """Read RAMAN_LINES, LSF_PROFILE and SKY_MASK; the first two are needed."""
    for tag in ("RAMAN_LINES", "LSF_PROFILE"):
        frames.require(tag, "the Raman light", "Add it to the set of frames.")
    found = step.load(frames, p, ctx)
    return None if found is None else replace(found, mask=white_light.load(frames, p, ctx))


def correct(
    exposure: Reduction, calibrations: RamanCalibrations | None, p: ParamValues, ctx: RunContext
) -> RamanModel | Skipped | None:
    """Fit the Raman light of an exposure with lasers, on the sky that the mask shows."""
    return step.correct(exposure, calibrations, p, ctx)

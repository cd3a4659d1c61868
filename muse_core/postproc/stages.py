# SPDX-License-Identifier: BSD-3-Clause
"""Steps that only some runs ask for: their modules are imported when one is asked for, not in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibrations import Calibrations, Settings
    from muse_core.postproc.inputs.slice_calibrations import SliceCalibrations
    from muse_core.postproc.white_light.image import WhiteImage


def multiply_flat_spectrum(exposure: Reduction, calib: Calibrations, ctx: RunContext) -> None:
    """Multiply the data by the smoothed flat-field spectrum, if the tables have one."""
    if any(table.flat_field is not None for table in exposure.exposure.files):
        from muse_core.postproc.flatfield import step as flat_step

        flat_step.multiply_flat_spectrum(exposure, calib, ctx)


def check_refraction(exposure: Reduction, p: ParamValues, ctx: RunContext) -> None:
    """Measure the residual refraction (darcheck=check) and take it out (darcheck=correct)."""
    if p.darcheck != "none":
        from muse_core.postproc.refraction import check_step as darcheck_step

        darcheck_step.check_refraction(exposure, p, ctx)


def subtract_raman(
    exposure: Reduction, p: ParamValues, settings: Settings, extra: SliceCalibrations, ctx: RunContext
) -> None:
    """Fit and subtract the Raman light, if there are RAMAN_LINES."""
    if extra.raman_lines is not None:
        from muse_core.postproc.raman import step as raman_step

        raman_step.subtract_raman(exposure, p, settings, extra.raman_lines, extra.lsf, ctx)


def autocalibrate(
    exposure: Reduction,
    p: ParamValues,
    settings: Settings,
    calib: Calibrations,
    extra: SliceCalibrations,
    ctx: RunContext,
) -> WhiteImage | None:
    """Calibrate the slices against each other; return the white-light image if one was made."""
    if p.autocalib == "none":
        return None
    from muse_core.postproc.autocalibration import step as slice_steps

    return slice_steps.autocalibrate(exposure, p, settings, calib, extra.factors, ctx)


def subtract_sky(
    exposure: Reduction,
    p: ParamValues,
    settings: Settings,
    calib: Calibrations,
    ctx: RunContext,
    white: WhiteImage | None,
) -> None:
    """Subtract the sky by the method asked for; an image that the autocalibration has made is kept."""
    if p.skymethod != "none" or white is not None:
        from muse_core.postproc.sky import step as night_sky

        night_sky.subtract_sky(exposure, p, settings, calib, ctx, white)


def flag_cosmic_rays(exposure: Reduction, white: WhiteImage | None) -> None:
    """Flag the cosmic rays that the autocalibration has found."""
    if white is not None:
        from muse_core.postproc.autocalibration import step as slice_steps

        slice_steps.flag_cosmic_rays(exposure, white)

# SPDX-License-Identifier: BSD-3-Clause
"""Counts become fluxes, if there is a response curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.calibration import read_curve
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.pointing import airmass
from muse_core.postproc.flux.calibration import FluxModel, fit_flux
from muse_core.resampling.cube_cards import FLUX_UNIT

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


@dataclass(frozen=True)
class FluxCalibrations:
    """Columns of the tables, None where one was not given."""

    response: tuple[Floats, ...] | None
    """lambda, response, resperr of STD_RESPONSE."""
    extinction: tuple[Floats, ...] | None
    """lambda, extinction of EXTINCT_TABLE."""
    telluric: tuple[Floats, ...] | None
    """lambda, ftelluric, ftellerr of STD_TELLURIC."""


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> FluxCalibrations:
    """Read STD_RESPONSE, EXTINCT_TABLE and STD_TELLURIC."""
    return FluxCalibrations(
        frames.read("STD_RESPONSE", _response),
        frames.read("EXTINCT_TABLE", _extinction),
        frames.read("STD_TELLURIC", _telluric),
    )


def _response(frame: Frame) -> tuple[Floats, ...]:
    return read_curve(frame, ("lambda", "response", "resperr"))


def _extinction(frame: Frame) -> tuple[Floats, ...]:
    return read_curve(frame, ("lambda", "extinction"))


def _telluric(frame: Frame) -> tuple[Floats, ...]:
    return read_curve(frame, ("lambda", "ftelluric", "ftellerr"), positive=True)


def correct(
    exposure: Reduction,
    calibrations: FluxCalibrations,
    p: ParamValues,
    ctx: RunContext,
) -> FluxModel | Skipped:
    """Turn counts into fluxes by response, extinction and telluric absorption."""
    if calibrations.response is None:
        return Skipped("flux", "no STD_RESPONSE")
    model = fit_flux(
        exposure.keywords,
        airmass(exposure.keywords, ctx.log),
        calibrations.response,
        calibrations.extinction,
        calibrations.telluric,
        ctx.log,
        zero_outside_response=ctx.defects.zero_outside_response,
    )
    if isinstance(model, FluxModel):
        exposure.product.data_unit = FLUX_UNIT
    return model

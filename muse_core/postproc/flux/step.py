# SPDX-License-Identifier: BSD-3-Clause
"""Counts become fluxes, if there is a response curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.calibration import read_curve
from muse_core.framework.unit_spelling import FLUX_UNIT
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.pointing import airmass
from muse_core.postproc.flux.calibration import FLUX_KEY, FluxModel, fit_flux

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


FLUXES = "data are fluxes (F: counts)"


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
    if exposure.keywords.get(FLUX_KEY) is True:
        ctx.flag("CALIBRATED FLUX", True, FLUXES)
        return Skipped("flux", "made before", earlier=True)
    if calibrations.response is None:
        ctx.flag("CALIBRATED FLUX", False, FLUXES)
        return Skipped("flux", "no STD_RESPONSE, the data are counts, not fluxes", wanted=True)
    model = fit_flux(
        exposure.keywords,
        airmass(exposure.keywords, ctx.log),
        calibrations.response,
        calibrations.extinction,
        calibrations.telluric,
        ctx.log,
        zero_outside_response=ctx.defects.zero_outside_response,
    )
    ctx.flag("CALIBRATED FLUX", isinstance(model, FluxModel), FLUXES)
    if isinstance(model, FluxModel):
        exposure.product.data_unit = FLUX_UNIT
        _flag_curves(calibrations, ctx)
    return model


def _flag_curves(calibrations: FluxCalibrations, ctx: RunContext) -> None:
    """Say which of the curves were applied."""
    for name, curve, text, comment in (
        (
            "CALIBRATED EXTINCT",
            calibrations.extinction,
            "EXTINCT_TABLE missing! Flux calibration without extinction correction.",
            "atmospheric extinction is corrected",
        ),
        (
            "CALIBRATED TELLURIC",
            calibrations.telluric,
            "STD_TELLURIC missing! The absorption bands of the atmosphere are left in the data.",
            "telluric absorption is corrected",
        ),
    ):
        if curve is None:
            ctx.undone(name, text, comment)
        else:
            ctx.flag(name, True, comment)

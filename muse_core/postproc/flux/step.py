# SPDX-License-Identifier: BSD-3-Clause
"""Counts become fluxes, if there is a response curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.calibration import read_curve
from muse_core.data.curves import UNCOVERED
from muse_core.framework import InputError
from muse_core.framework.unit_spelling import FLUX_UNIT
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.pointing import airmass
from muse_core.postproc.flux.calibration import FLUX_KEY, TELLURIC_START, FluxModel, fit_flux

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


RESPONSE = ("lambda", "response", "resperr")
EXTINCTION = ("lambda", "extinction")
TELLURIC = ("lambda", "ftelluric", "ftellerr")
NO_EXTINCTION = "not corrected for extinction"
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
    response = frames.read("STD_RESPONSE", _response)
    extinction = frames.read("EXTINCT_TABLE", _extinction)
    telluric = frames.read("STD_TELLURIC", _telluric)
    for tag, names, columns in (
        ("STD_RESPONSE", RESPONSE, response),
        ("EXTINCT_TABLE", EXTINCTION, extinction),
        ("STD_TELLURIC", TELLURIC, telluric),
    ):
        frames.check(tag, None if columns is None else dict(zip(names, columns, strict=True)))
    return FluxCalibrations(response, extinction, telluric)


def _response(frame: Frame) -> tuple[Floats, ...]:
    return read_curve(frame, RESPONSE)


def _extinction(frame: Frame) -> tuple[Floats, ...]:
    return read_curve(frame, EXTINCTION)


def _telluric(frame: Frame) -> tuple[Floats, ...]:
    return read_curve(frame, TELLURIC, positive=True)


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
    _check_coverage(exposure, calibrations, ctx)
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


def _check_coverage(exposure: Reduction, calibrations: FluxCalibrations, ctx: RunContext) -> None:
    limits = exposure.chain.files.lambda_limits()
    if calibrations.response is not None:
        check_coverage("STD_RESPONSE", calibrations.response, limits, "flagged", ctx)
    if calibrations.extinction is not None:
        check_coverage("EXTINCT_TABLE", calibrations.extinction, limits, NO_EXTINCTION, ctx)
    if calibrations.telluric is not None and limits[1] > TELLURIC_START:
        lam = calibrations.telluric[0]
        if lam[-1] < max(limits[0], TELLURIC_START) or lam[0] > limits[1]:
            ctx.log.warning(
                "STD_TELLURIC covers only %.1f to %.1f Angstrom of %.1f to %.1f Angstrom, the rest is not "
                "corrected for telluric absorption", lam[0], lam[-1], *limits,
            )  # fmt: skip


def check_coverage(
    tag: str, curve: tuple[Floats, ...], limits: tuple[float, float], rest: str, ctx: RunContext
) -> None:
    """Refuse a curve that has no wavelength in common with the data, tell of one that ends within them.

    Parameters
    ----------
    curve : columns of the table, its wavelengths first
    limits : lowest and highest wavelength of the data [Angstrom]
    rest : what becomes of the data beyond the curve, in words

    Raises
    ------
    InputError
        naming the tag
    """
    low, high = limits
    usable = np.isfinite(np.array(curve)).all(axis=0)
    first, last = float(curve[0][usable].min()), float(curve[0][usable].max())
    covers, data = f"{first:.1f} to {last:.1f} Angstrom", f"{low:.1f} to {high:.1f} Angstrom"
    if last < low or first > high:
        if not ctx.defects.absurd_values_used:
            raise InputError(
                "", f"{tag}, column lambda", expected=f"wavelengths of the data ({data})", found=covers,
                remedy="Give a curve of this setup, with wavelengths in Angstrom.",
            )  # fmt: skip
        ctx.log.warning("%s covers %s, nothing of the data (%s)", tag, covers, data)
    elif first > low + UNCOVERED or last < high - UNCOVERED:
        ctx.log.warning("%s covers only %s of %s, the rest is %s", tag, covers, data, rest)


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

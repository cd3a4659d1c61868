# SPDX-License-Identifier: BSD-3-Clause
"""Flux calibration: counts to 1e-20 erg/s/cm^2/Angstrom by response, extinction and telluric absorption."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.curves import Curve, Floats, cut_curve, make_curve
from muse_core.data.header_values import Keywords
from muse_core.postproc.exposure.correction import Card, Skipped
from muse_core.postproc.flux.flux_kernels import BIN_WIDTH, calibrate_rows

TELLURIC_START = 6273.0
"""Wavelength [Angstrom] from which telluric absorption is corrected."""

FLUX_KEY = "ESO DRS MUSE PIXTABLE FLUXCAL"
Columns = Sequence[npt.ArrayLike]
Column = npt.NDArray[np.float32]
_MAG = 0.4 * math.log(10.0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FluxModel:
    """Everything that turns counts into flux for one exposure."""

    name: ClassVar[str] = "flux"
    moves: ClassVar[bool] = False
    stretch: ClassVar[float] = 1.0

    response: Curve
    extinction: Curve
    """Extinction [mag per airmass]; a single node of 0 if there is none."""
    telluric: Curve
    """Factor that takes out the telluric absorption; a single node of 1 if there is none."""
    airmass: float
    exptime: float
    flag_outside: bool
    """Flag rows outside of the response curve and set them to NaN."""
    pieces: Floats
    """float64[n, 11] the curves cut at all their nodes, see `_cut`."""

    def apply(self, block: Block) -> None:
        """Calibrate the rows of a block."""
        apply_flux(block.lam, block.data, block.stat, block.dq, self)

    def cards(self) -> list[Card]:
        """Header cards of the step."""
        return [(FLUX_KEY, True, "Pixel table was flux-calibrated")]


def fit_flux(
    keywords: Keywords,
    airmass_value: float,
    response: Columns,
    extinction: Columns | None = None,
    telluric: Columns | None = None,
    log: logging.Logger = _log,
    *,
    zero_outside_response: bool = False,
) -> FluxModel | Skipped:
    """Prepare the flux calibration of an exposure.

    Parameters
    ----------
    keywords : Keywords
        Primary header of the exposure (EXPTIME).
    airmass_value : float
        Effective airmass, see `pointing.airmass`.
    response : tuple of arrays
        Columns lambda, response, resperr of STD_RESPONSE.
    extinction : tuple of arrays or None
        Columns lambda, extinction of EXTINCT_TABLE.
    telluric : tuple of arrays or None
        Columns lambda, ftelluric, ftellerr of STD_TELLURIC.
    log : logging.Logger
        Takes the messages.
    zero_outside_response : bool
        Leave rows outside of the response curve unflagged with data larger by a factor of about 1e17,
        as the C pipeline does.

    Returns
    -------
    FluxModel or Skipped
        Skipped if the calibration was made before, or cannot be made for want of an exposure time.
    """
    if keywords.get(FLUX_KEY) is True:
        return Skipped("flux", "made before", earlier=True)
    exptime = keywords.number("EXPTIME")
    if exptime is None or exptime <= 0.0:
        return Skipped("flux", "no positive EXPTIME", wanted=True)
    if airmass_value < 0.0:
        log.warning("Airmass unknown, flux calibration without extinction and telluric correction")
    extinction_airmass = max(airmass_value, 0.0)
    log.info(
        "Starting flux calibration (exptime=%.2fs, airmass=%.4f), %s telluric correction",
        exptime,
        airmass_value,
        "without" if telluric is None else "with",
    )
    curves = (
        make_curve(*response),
        make_curve([0.0], [0.0]) if extinction is None else make_curve(*extinction),
        _telluric_factor(telluric, extinction_airmass),
    )
    pieces = _cut(*curves, extinction_airmass)
    return FluxModel(*curves, extinction_airmass, exptime, not zero_outside_response, pieces)


def _cut(response: Curve, extinction: Curve, telluric: Curve, airmass_value: float) -> Floats:
    """Cut the curves at all their nodes.

    Within a piece everything is a polynomial of lambda - start. Columns of the result: start; coefficients of
    the exponent of the factor (2), the telluric factor (2), the relative variance by the response (3), the
    variance of the telluric factor (3).
    """
    curves = response, extinction, telluric
    # the last node of a curve still belongs to it, the next number does not
    ends = [np.nextafter(curve.nodes[-1], np.inf) for curve in curves]
    starts = np.unique(np.concatenate([[0.0, TELLURIC_START], ends, *(curve.nodes for curve in curves)]))
    resp, ext = cut_curve(response, starts, 0.0), cut_curve(extinction, starts, 0.0)
    tell = cut_curve(telluric, starts, 1.0)
    before = starts < TELLURIC_START
    tell.value[before] = 1.0, 0.0
    tell.variance[before] = 0.0
    exponent = _MAG * (ext.value * airmass_value - resp.value)
    columns = [starts[:, None], exponent, tell.value, _MAG * _MAG * resp.variance, tell.variance]
    return np.hstack(columns)


def _telluric_factor(telluric: Columns | None, airmass_value: float) -> Curve:
    """Node by node transmission^(-airmass), the errors unchanged (measured against 2.8.7)."""
    if telluric is None:
        return make_curve([0.0], [1.0])
    lam, transmission, error = (np.asarray(column, dtype=np.float64) for column in telluric)
    positive = transmission > 0.0
    return make_curve(lam[positive], transmission[positive] ** -airmass_value, error[positive])


def apply_flux(lam: Column, data: Column, stat: Column, dq: npt.NDArray[np.int32], model: FluxModel) -> None:
    """Calibrate a block of rows, in place.

    Parameters
    ----------
    lam : float32[n]
        Wavelengths [Angstrom].
    data, stat : float32[n]
        Counts and variance, become flux [1e-20 erg/s/cm^2/Angstrom] and its variance.
    dq : int32[n]
        Flags; rows outside of the response curve get `DQ_MISSING` unless the fit was told otherwise.
    model : FluxModel
        Result of `fit_flux`.
    """
    scale = 1e20 / (model.exptime * BIN_WIDTH)
    calibrate_rows(lam, data, stat, dq, model.pieces, *model.response.covers, scale, model.flag_outside)

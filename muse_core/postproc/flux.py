# SPDX-License-Identifier: BSD-3-Clause
"""Flux calibration: counts to 1e-20 erg/s/cm^2/Angstrom by response, extinction and telluric absorption."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from muse_core.postproc.curves import Curve, Floats, cut_curve, make_curve
from muse_core.postproc.header_values import Header, get_float

BIN_WIDTH = 1.25
"""Nominal width of a detector pixel [Angstrom]."""
TELLURIC_START = 6273.0
"""Wavelength [Angstrom] from which telluric absorption is corrected."""
DQ_MISSING = 1 << 30
"""Flag of rows outside of the response curve (missing data)."""

_WIDTH_ERROR = 0.02
_MAG = 0.4 * math.log(10.0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FluxModel:
    """Everything that turns counts into flux for one exposure."""

    response: Curve
    extinction: Curve
    """Extinction [mag per airmass]; a single node of 0 if there is none."""
    telluric: Curve
    """Factor that takes out the telluric absorption; a single node of 1 if there is none."""
    airmass: float
    exptime: float
    flag_outside: bool
    """Flag rows outside of the response curve and set them to NaN."""
    starts: Floats
    """float64[n] all nodes of the three curves: within a piece everything is a polynomial."""
    pieces: Floats
    """float64[n, 10] see `_cut`."""

    def cards(self) -> list[tuple[str, object, str]]:
        """Header cards of the step."""
        return [("ESO DRS MUSE PIXTABLE FLUXCAL", True, "Pixel table was flux-calibrated")]


def fit_flux(
    header: Header,
    airmass_value: float,
    response: tuple | None,
    extinction: tuple | None = None,
    telluric: tuple | None = None,
    log: logging.Logger = _log,
    *,
    compat: bool = False,
) -> FluxModel | None:
    """Prepare the flux calibration of an exposure.

    Parameters
    ----------
    header : Header
        Primary header of the exposure (EXPTIME).
    airmass_value : float
        Effective airmass, see `observation.airmass`.
    response : tuple of arrays or None
        Columns lambda, response, resperr of STD_RESPONSE.
    extinction : tuple of arrays or None
        Columns lambda, extinction of EXTINCT_TABLE.
    telluric : tuple of arrays or None
        Columns lambda, ftelluric, ftellerr of STD_TELLURIC.
    log : logging.Logger
        Takes the messages.
    compat : bool
        Leave rows outside of the response curve unflagged with data larger by a factor of about 1e17,
        as the C pipeline does.

    Returns
    -------
    FluxModel or None
        None if the calibration cannot be done: no response curve or no positive exposure time.
    """
    if response is None:
        log.info("Skipping flux calibration (no STD_RESPONSE curve)")
        return None
    if header.get("ESO DRS MUSE PIXTABLE FLUXCAL") is True:
        log.info("Pixel table is already flux calibrated")
        return None
    exptime = get_float(header, "EXPTIME", compat=compat)
    if exptime is None or exptime <= 0.0:
        log.warning("Non-positive EXPTIME, not doing flux calibration!")
        return None
    if extinction is None:
        log.warning("EXTINCT_TABLE missing! Flux calibration without extinction correction.")
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
    starts, pieces = _cut(*curves, extinction_airmass)
    return FluxModel(*curves, extinction_airmass, exptime, not compat, starts, pieces)


def _cut(response: Curve, extinction: Curve, telluric: Curve, airmass_value: float) -> tuple[Floats, Floats]:
    """Cut the curves at all their nodes.

    Columns of the pieces, all as functions of lambda - start: exponent of the factor (2 coefficients),
    telluric factor (2), relative variance by the response (3), variance of the telluric factor (3).
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
    return starts, np.hstack([exponent, tell.value, _MAG * _MAG * resp.variance, tell.variance])


def _telluric_factor(telluric: tuple | None, airmass_value: float) -> Curve:
    """Node by node transmission^(-airmass), the errors unchanged (measured against 2.8.7)."""
    if telluric is None:
        return make_curve([0.0], [1.0])
    lam, transmission, error = (np.asarray(column, dtype=np.float64) for column in telluric)
    positive = transmission > 0.0
    return make_curve(lam[positive], transmission[positive] ** -airmass_value, error[positive])


def apply_flux(lam, data, stat, dq, model: FluxModel) -> None:  # type: ignore[no-untyped-def]
    """Calibrate a block of rows, in place.

    Parameters
    ----------
    lam : float32[n]
        Wavelengths [Angstrom].
    data, stat : float32[n]
        Counts and variance, become flux [1e-20 erg/s/cm^2/Angstrom] and its variance.
    dq : int32[n]
        Flags; rows outside of the response curve get `DQ_MISSING` unless ``compat`` was given to the fit.
    model : FluxModel
        Result of `fit_flux`.
    """
    scale = 1e20 / (model.exptime * BIN_WIDTH)
    calibrate_rows(
        lam, data, stat, dq, model.starts, model.pieces, *model.response.covers, scale, model.flag_outside
    )


@njit(cache=True, nogil=True)
def calibrate_rows(lam, data, stat, dq, starts, pieces, first, last, scale, flag_outside):  # type: ignore[no-untyped-def]
    """Kernel of `apply_flux`.

    Parameters
    ----------
    lam, data, stat : float32[n], dq : int32[n]
        Columns; all but lam are updated.
    starts, pieces : float64[m], float64[m, 10]
        See `_cut`.
    first, last : float
        Range of the response curve.
    scale : float
        Factor on all data.
    flag_outside : bool
        Whether rows outside of first..last are flagged.
    """
    width_error = _WIDTH_ERROR / BIN_WIDTH
    n = starts.size
    k = 0
    for i in range(lam.size):
        wavelength = float(lam[i])
        if flag_outside and not (first <= wavelength <= last):
            data[i] = np.nan
            stat[i] = np.nan
            dq[i] |= DQ_MISSING
            continue
        # rows come in an order in which the next one mostly lies in the same piece
        if wavelength < starts[k] or (k + 1 < n and wavelength >= starts[k + 1]):
            low, high = 0, n
            while high - low > 1:
                middle = (low + high) // 2
                if wavelength >= starts[middle]:
                    low = middle
                else:
                    high = middle
            k = low
        x = wavelength - starts[k]
        tell = pieces[k, 2] + pieces[k, 3] * x
        factor = math.exp(pieces[k, 0] + pieces[k, 1] * x) * scale * tell
        resp_var = pieces[k, 4] + (pieces[k, 5] + pieces[k, 6] * x) * x
        tell_var = pieces[k, 7] + (pieces[k, 8] + pieces[k, 9] * x) * x
        relative_var = resp_var + width_error * width_error + tell_var / (tell * tell)
        value = float(data[i]) * factor
        data[i] = value
        stat[i] = float(stat[i]) * factor * factor + value * value * relative_var

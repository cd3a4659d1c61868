# SPDX-License-Identifier: BSD-3-Clause
"""Flux calibration: counts to 1e-20 erg/s/cm^2/Angstrom by response, extinction and telluric absorption."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from muse_core.postproc.curves import Curve, interpolate_at, interpolate_with_variance, make_curve
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
    return FluxModel(
        response=make_curve(*response),
        extinction=make_curve([0.0], [0.0]) if extinction is None else make_curve(*extinction),
        telluric=_telluric_factor(telluric, extinction_airmass),
        airmass=extinction_airmass,
        exptime=exptime,
        flag_outside=not compat,
    )


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
    r, e, t = model.response, model.extinction, model.telluric
    calibrate_rows(
        lam,
        data,
        stat,
        dq,
        (r.nodes, r.values, r.errors, r.cells, r.cells_per_angstrom),
        (e.nodes, e.values, e.cells, e.cells_per_angstrom),
        (t.nodes, t.values, t.errors, t.cells, t.cells_per_angstrom),
        model.airmass,
        1e20 / (model.exptime * BIN_WIDTH),
        model.flag_outside,
    )


@njit(cache=True, nogil=True)
def calibrate_rows(  # type: ignore[no-untyped-def]
    lam, data, stat, dq, response, extinction, telluric, airmass_value, scale, flag_outside
):
    """Kernel of `apply_flux`; curves are tuples (nodes, values[, errors], cells, cells_per_angstrom)."""
    nodes, values, errors, cells, per_angstrom = response
    e_nodes, e_values, e_cells, e_per_angstrom = extinction
    t_nodes, t_values, t_errors, t_cells, t_per_angstrom = telluric
    first, last = nodes[0], nodes[nodes.size - 1]
    width_error = _WIDTH_ERROR / BIN_WIDTH
    for i in range(lam.size):
        wavelength = float(lam[i])
        if flag_outside and not (first <= wavelength <= last):
            data[i] = np.nan
            stat[i] = np.nan
            dq[i] |= DQ_MISSING
            continue
        resp, resp_var = interpolate_with_variance(
            nodes, values, errors, cells, per_angstrom, wavelength, 0.0
        )
        ext = interpolate_at(e_nodes, e_values, e_cells, e_per_angstrom, wavelength, 0.0)
        factor = 10.0 ** (0.4 * (ext * airmass_value - resp)) * scale
        relative_var = _MAG * _MAG * resp_var + width_error * width_error
        if wavelength >= TELLURIC_START:
            tell, tell_var = interpolate_with_variance(
                t_nodes, t_values, t_errors, t_cells, t_per_angstrom, wavelength, 1.0
            )
            factor *= tell
            relative_var += tell_var / (tell * tell)
        value = data[i] * factor
        data[i] = value
        stat[i] = stat[i] * factor * factor + value * value * relative_var

# SPDX-License-Identifier: BSD-3-Clause
"""Differential atmospheric refraction: move the rows to where they were seen at a reference wavelength."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass

from numba import njit

from muse_core.postproc.header_values import Header, get_float, is_narrow_field
from muse_core.postproc.observation import airmass, parallactic_angle, position_angle
from muse_core.postproc.refraction import METHODS, Air, RefractiveIndex, refractive_index, refractivity_at

SPAXEL_ARCSEC = 0.2
_ARCSEC_PER_RADIAN = math.degrees(1.0) * 3600

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DarModel:
    """Refraction of one exposure: shift of a row = direction * (n(reference) - n(lambda))."""

    reference: float
    """Reference wavelength [Angstrom]."""
    method: str
    index: RefractiveIndex
    x_scale: float
    """Shift in x [pix] per unit of refractive index."""
    y_scale: float
    airmass: float


def method_from_environment() -> str:
    """Refraction formula chosen by ``MUSE_DAR_CORRECT_METHOD`` (Filippenko unless it names another one)."""
    name = os.environ.get("MUSE_DAR_CORRECT_METHOD", "")
    return name if name in METHODS else "Filippenko"


def read_air(header: Header, log: logging.Logger = _log, *, compat: bool = False) -> Air:
    """State of the air from the header; missing values are replaced by typical ones, with a warning."""
    default = Air()
    temperature = get_float(header, "ESO TEL AMBI TEMP", compat=compat)
    if temperature is None:
        log.warning("FITS header does not contain temperature: using %.1f degC", default.temperature)
        temperature = default.temperature
    humidity = get_float(header, "ESO TEL AMBI RHUM", compat=compat)
    if humidity is None:
        log.warning("FITS header does not contain relative humidity: using %.1f %%", default.humidity)
        humidity = default.humidity
    start = get_float(header, "ESO TEL AMBI PRES START", compat=compat)
    end = get_float(header, "ESO TEL AMBI PRES END", compat=compat)
    if start is None or end is None:
        log.warning("FITS header does not contain pressure values: using %.1f hPa", default.pressure)
        return Air(temperature, humidity, default.pressure)
    return Air(temperature, humidity, (start + end) / 2)


def fit_dar(
    header: Header,
    reference: float,
    log: logging.Logger = _log,
    *,
    method: str | None = None,
    compat: bool = False,
) -> DarModel | None:
    """Prepare the DAR correction of an exposure.

    Parameters
    ----------
    header : Header
        Primary header of the exposure.
    reference : float
        Reference wavelength [Angstrom]; negative: no correction.
    log : logging.Logger
        Takes the messages.
    method : str, optional
        One of `refraction.METHODS`; default: as chosen by the environment.
    compat : bool
        Restore the defects of the C pipeline.

    Returns
    -------
    DarModel or None
        None if no correction is to be made: negative reference, narrow-field mode, already corrected,
        laboratory data, or a missing parallactic angle.
    """
    if reference < 0.0:
        log.info("Reference lambda %.3f Angstrom: skipping DAR correction", reference)
        return None
    if is_narrow_field(header):
        log.info("NFM data, skipping DAR correction")
        return None
    if header.get("ESO DRS MUSE PIXTABLE DAR CORRECT") is not None:
        log.info("Pixel table is already DAR corrected")
        return None
    needed = ("RA", "DEC", "EXPTIME")
    missing = [key for key in needed if get_float(header, key, compat=compat) is None]
    if missing:
        log.warning("This seems to be lab data (no %s), not doing any DAR correction!", ", ".join(missing))
        return None
    parallactic = parallactic_angle(header, compat=compat)
    if parallactic is None:
        log.warning("One or both TEL.PARANG keywords are missing! No DAR correction.")
        return None
    airmass_value = airmass(header, log, compat=compat)
    if airmass_value < 1.0:
        log.warning("Airmass %.3f is not possible, not doing any DAR correction!", airmass_value)
        return None
    air = read_air(header, log, compat=compat)
    name = method_from_environment() if method is None else method
    model = _model(
        refractive_index(name, air, compat=compat),
        reference,
        name if name in METHODS else "Filippenko",
        airmass_value,
        parallactic + position_angle(header, log, compat=compat),
    )
    log.info(
        "DAR for T=%.2f degC, RH=%.2f %%, p=%.1f hPa, at airmass=%.4f, using ref. wavelength %.6f um (%s)",
        air.temperature,
        air.humidity,
        air.pressure,
        airmass_value,
        reference / 1e4,
        model.method,
    )
    return model


def _model(
    index: RefractiveIndex, reference: float, method: str, airmass_value: float, angle_deg: float
) -> DarModel:
    zenith = math.acos(1.0 / airmass_value)
    scale = math.tan(zenith) * _ARCSEC_PER_RADIAN / SPAXEL_ARCSEC
    angle = math.radians(angle_deg)
    return DarModel(
        reference, method, index, -math.sin(angle) * scale, math.cos(angle) * scale, airmass_value
    )


def apply_dar(xpos, ypos, lam, model: DarModel) -> None:  # type: ignore[no-untyped-def]
    """Shift the positions of a block of rows, in place.

    Parameters
    ----------
    xpos, ypos : float32[n]
        Positions [pix], updated.
    lam : float32[n]
        Wavelengths [Angstrom].
    model : DarModel
        Result of `fit_dar`.
    """
    coefficients = model.index.coefficients()
    at_reference = refractivity_at(model.reference, coefficients)
    shift_rows(xpos, ypos, lam, coefficients, at_reference, model.x_scale, model.y_scale)


@njit(cache=True, nogil=True)
def shift_rows(xpos, ypos, lam, coefficients, at_reference, x_scale, y_scale):  # type: ignore[no-untyped-def]
    """Add (n(reference) - n(lambda)) * (x_scale, y_scale) to the positions.

    Parameters
    ----------
    xpos, ypos : float32[n]
        Updated in place.
    lam : float32[n]
        Wavelengths [Angstrom].
    coefficients : tuple of 8 float
        As for `refraction.refractivity_at`.
    at_reference, x_scale, y_scale : float
        n - 1 at the reference wavelength and pixels per unit of refractive index.
    """
    for i in range(lam.size):
        dn = at_reference - refractivity_at(float(lam[i]), coefficients)
        xpos[i] = xpos[i] + x_scale * dn
        ypos[i] = ypos[i] + y_scale * dn

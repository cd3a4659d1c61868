# SPDX-License-Identifier: BSD-3-Clause
"""Differential atmospheric refraction: move the rows to where they were seen at a reference wavelength."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from muse_core.data.block import Block
from muse_core.data.header_values import Header, get_float, is_narrow_field
from muse_core.postproc.exposure.pointing import (
    BELOW_HORIZON,
    airmass,
    airmass_from_pointing,
    parallactic_angle,
    position_angle,
)
from muse_core.postproc.exposure.reduction import predar_cards
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.refraction.refractive_index import (
    METHODS,
    Air,
    RefractiveIndex,
    refractive_index,
    refractivity_at,
)

CORRECT_KEY = "ESO DRS MUSE PIXTABLE DAR CORRECT"
SPAXEL_ARCSEC = 0.2
_ARCSEC_PER_RADIAN = math.degrees(1.0) * 3600

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DarModel:
    """Refraction of one exposure: shift of a row = direction * (n(reference) - n(lambda))."""

    name: ClassVar[str] = "refraction"
    moves: ClassVar[bool] = True
    stretch: ClassVar[float] = 1.0

    reference: float
    """Reference wavelength [Angstrom]."""
    method: str
    index: RefractiveIndex
    x_scale: float
    """Shift in x [pix] per unit of refractive index."""
    y_scale: float
    airmass: float

    before: RowLimits | None = None
    """Limits of the rows before the correction."""

    def apply(self, block: Block) -> None:
        """Shift the rows of a block."""
        apply_dar(block.xpos, block.ypos, block.lam, self)

    def cards(self) -> list[tuple[str, object, str]]:
        """Header cards of the correction; the astrometry needs the limits before it."""
        limits = [] if self.before is None else predar_cards(self.before)
        return [(CORRECT_KEY, self.reference, "[Angstrom] ref. lambda for DAR corr."), *limits]


SKIPPED_CARD = (CORRECT_KEY, -1.0, "skipped DAR correction!")
"""Header card to write if the correction was left out because of a negative reference wavelength."""


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


def skip_cards(header: Header, reference: float, *, compat: bool = False) -> list[tuple[str, object, str]]:
    """Header cards for an exposure on the sky whose correction was switched off by a negative reference."""
    if reference >= 0.0 or is_narrow_field(header) or header.get(CORRECT_KEY) is not None:
        return []
    quiet = logging.Logger("quiet", logging.CRITICAL + 1)  # not connected to any handler
    return [] if _usable_airmass(header, quiet, compat=compat) is None else [SKIPPED_CARD]


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
        None if no correction is to be made: narrow-field mode, already corrected, laboratory data,
        negative reference, missing parallactic or position angle.
    """
    if is_narrow_field(header):
        log.info("Narrow-field mode: skipping DAR correction")
        return None
    if header.get(CORRECT_KEY) is not None:
        log.info("pixel table already corrected: skipping DAR correction")
        return None
    airmass_value = _usable_airmass(header, log, compat=compat)
    if airmass_value is None:
        return None
    if reference < 0.0:
        log.info("Reference lambda %.3f Angstrom: skipping DAR correction", reference)
        return None
    parallactic = parallactic_angle(header, compat=compat)
    if parallactic is None:
        log.warning("One or both TEL.PARANG keywords are missing! No DAR correction.")
        return None
    angle_keys = header.get("ESO INS DROT MODE"), get_float(header, "ESO INS DROT POSANG", compat=compat)
    if None in angle_keys:
        # the C pipeline leaves out the correction without a word
        log.warning(
            "Position angle of the field is not known (ESO INS DROT MODE, POSANG). No DAR correction."
        )
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


def _usable_airmass(header: Header, log: logging.Logger, *, compat: bool) -> float | None:
    """Airmass of an exposure on the sky, None for what looks like data from the laboratory."""
    computed, reason = airmass_from_pointing(header, compat=compat)
    value = airmass(header, log, compat=compat)
    missing = [k for k in ("RA", "DEC", "EXPTIME") if get_float(header, k, compat=compat) is None]
    below = computed is None and reason == BELOW_HORIZON
    # measured against 2.8.7: any failed look-up on the way to the airmass ends in this message
    refused = compat and (computed is None or get_float(header, "ESO TEL GEOLAT", compat=True) is None)
    if missing or below or refused or value < 1.0:
        log.warning(
            "This seems to be lab data (airmass=%f%s), not doing any DAR correction!",
            value,
            f", no {', '.join(missing)}" if missing else "",
        )
        return None
    return value


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


@njit(cache=True, nogil=True, error_model="numpy")
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
        dn = at_reference - refractivity_at(np.float64(lam[i]), coefficients)
        xpos[i] = np.float64(xpos[i]) + x_scale * dn
        ypos[i] = np.float64(ypos[i]) + y_scale * dn

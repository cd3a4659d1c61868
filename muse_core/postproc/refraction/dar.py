# SPDX-License-Identifier: BSD-3-Clause
"""Differential atmospheric refraction: move the rows to where they were seen at a reference wavelength."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.header_values import Keywords, is_narrow_field
from muse_core.postproc.exposure.correction import Card, Skipped
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
)
from muse_core.postproc.refraction.shift_kernels import refractivity_at, shift_rows

Column = npt.NDArray[np.float32]
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
    rounded: bool = False
    """These are rounded in the header."""

    def apply(self, block: Block) -> None:
        """Shift the rows of a block."""
        apply_dar(block.xpos, block.ypos, block.lam, self)

    def cards(self) -> list[Card]:
        """Header cards of the correction; the astrometry needs the limits before it."""
        limits = [] if self.before is None else predar_cards(self.before, rounded=self.rounded)
        return [(CORRECT_KEY, self.reference, "[Angstrom] ref. lambda for DAR corr."), *limits]


SKIPPED_CARD = (CORRECT_KEY, -1.0, "skipped DAR correction!")
"""Header card to write if the correction was left out because of a negative reference wavelength."""


def read_air(keywords: Keywords, log: logging.Logger = _log) -> Air:
    """State of the air from the header; missing values are replaced by typical ones, with a warning."""
    default = Air()
    temperature = keywords.number("ESO TEL AMBI TEMP")
    if temperature is None:
        log.warning("FITS header does not contain temperature: using %.1f degC", default.temperature)
        temperature = default.temperature
    humidity = keywords.number("ESO TEL AMBI RHUM")
    if humidity is None:
        log.warning("FITS header does not contain relative humidity: using %.1f %%", default.humidity)
        humidity = default.humidity
    start = keywords.number("ESO TEL AMBI PRES START")
    end = keywords.number("ESO TEL AMBI PRES END")
    if start is None or end is None:
        log.warning("FITS header does not contain pressure values: using %.1f hPa", default.pressure)
        return Air(temperature, humidity, default.pressure)
    return Air(temperature, humidity, (start + end) / 2)


def fit_dar(
    keywords: Keywords,
    reference: float,
    log: logging.Logger = _log,
    *,
    method: str = METHODS[0],
    lab_air_without_latitude: bool = False,
    water_vapour_tenfold: bool = False,
) -> DarModel | Skipped:
    """Prepare the DAR correction of an exposure.

    Parameters
    ----------
    keywords : Keywords
        Primary header of the exposure.
    reference : float
        Reference wavelength [Angstrom]; negative: no correction.
    log : logging.Logger
        Takes the messages.
    method : str
        One of `refractive_index.METHODS`.
    lab_air_without_latitude : bool
        Take data for those of a laboratory if a keyword of the airmass is missing, as the C pipeline does.
    water_vapour_tenfold : bool
        See `refractive_index`.

    Returns
    -------
    DarModel or Skipped
        Skipped in narrow-field mode, if the correction was made before, for laboratory data, a negative
        reference, or if the parallactic or position angle is missing.
    """
    if is_narrow_field(keywords):
        return Skipped(DarModel.name, "narrow-field mode")
    if keywords.get(CORRECT_KEY) is not None:
        return Skipped(DarModel.name, "made before", earlier=True)
    airmass_value = airmass(keywords, log)
    reason = _laboratory(keywords, airmass_value, lab_air_without_latitude=lab_air_without_latitude)
    if reason:
        return Skipped(DarModel.name, reason, wanted=True)
    if reference < 0.0:
        return Skipped(DarModel.name, "lambdaref is negative", cards=(SKIPPED_CARD,))
    parallactic = parallactic_angle(keywords)
    if parallactic is None:
        return Skipped(DarModel.name, "no ESO TEL PARANG START, END", wanted=True)
    if keywords.get("ESO INS DROT MODE") is None or keywords.number("ESO INS DROT POSANG") is None:
        return Skipped(DarModel.name, "no ESO INS DROT MODE, POSANG", wanted=True)
    air = read_air(keywords, log)
    model = _model(
        refractive_index(method, air, water_vapour_tenfold=water_vapour_tenfold),
        reference,
        method,
        airmass_value,
        parallactic + position_angle(keywords, log),
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


def _laboratory(keywords: Keywords, airmass_value: float, *, lab_air_without_latitude: bool) -> str:
    """Say why an exposure looks like one of the laboratory; "" for one of the sky."""
    computed, reason = airmass_from_pointing(keywords)
    missing = [key for key in ("RA", "DEC", "EXPTIME") if keywords.number(key) is None]
    if missing:
        return f"laboratory data? no {', '.join(missing)}"
    if computed is None and reason == BELOW_HORIZON:
        return f"laboratory data? {reason}"
    # measured against 2.8.7: any failed look-up on the way to the airmass ends in this message
    if lab_air_without_latitude and (computed is None or keywords.number("ESO TEL GEOLAT") is None):
        return "laboratory data? no ESO TEL GEOLAT or LST"
    return f"laboratory data? airmass {airmass_value:g}" if airmass_value < 1.0 else ""


def _model(
    index: RefractiveIndex, reference: float, method: str, airmass_value: float, angle_deg: float
) -> DarModel:
    zenith = math.acos(1.0 / airmass_value)
    scale = math.tan(zenith) * _ARCSEC_PER_RADIAN / SPAXEL_ARCSEC
    angle = math.radians(angle_deg)
    return DarModel(
        reference, method, index, -math.sin(angle) * scale, math.cos(angle) * scale, airmass_value
    )


def apply_dar(xpos: Column, ypos: Column, lam: Column, model: DarModel) -> None:
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

# SPDX-License-Identifier: BSD-3-Clause
"""Angles and airmass of an exposure from its primary header."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from muse_core.data.header_values import Keywords

DEFAULT_LATITUDE = -24.625278
"""Latitude of the VLT UT4 [deg], used if ``ESO TEL GEOLAT`` is missing."""

_POINTING_KEYS = ("RA", "DEC", "ESO INS DROT POSANG")
BELOW_HORIZON = "object below the horizon"

_log = logging.getLogger(__name__)


def position_angle(keywords: Keywords, log: logging.Logger = _log) -> float:
    """Position angle of the field [deg] from the derotator.

    ``ESO INS DROT POSANG``, negated in mode ``SKY``, used as it is in mode ``STAT``, and in others with a
    warning; 0 if it is missing.

    >>> position_angle(Keywords({"ESO INS DROT POSANG": 25.0, "ESO INS DROT MODE": "SKY"}))
    -25.0
    """
    angle = keywords.number("ESO INS DROT POSANG") or 0.0
    mode = keywords.text("ESO INS DROT MODE")
    if mode == "SKY":
        return -angle
    if mode is None:
        log.warning("Derotator mode is not given! Effective position angle may be wrong!")
    elif mode != "STAT":
        log.warning("Derotator mode is neither SKY nor STAT! Effective position angle may be wrong!")
    return angle


def replaced_pointing(values: Sequence[float]) -> dict[str, float]:
    """Header values that the parameter ``superflat_pos`` (RA, DEC, DROT) puts in place [deg].

    Measured against 2.8.7: the values hold for the corrections of the exposure (airmass, refraction,
    velocity, rotation of the astrometry), not for the headers of the products.

    >>> replaced_pointing((150.2, -31.0, 40.0))
    {'RA': 150.2, 'DEC': -31.0, 'ESO INS DROT POSANG': 40.0}
    """
    return dict(zip(_POINTING_KEYS, values, strict=True)) if values else {}


def parallactic_angle(keywords: Keywords) -> float | None:
    """Parallactic angle of mid-exposure [deg], or None if a keyword is missing.

    The mean of ``ESO TEL PARANG START`` and ``END``; where they lie on both sides of the +-180 deg jump the
    mean is taken across the jump.

    >>> parallactic_angle(Keywords({"ESO TEL PARANG START": 170.0, "ESO TEL PARANG END": -178.0}))
    176.0
    """
    start = keywords.number("ESO TEL PARANG START")
    end = keywords.number("ESO TEL PARANG END")
    if start is None or end is None:
        return None
    if start * end >= 0.0 or abs(start - end) < 90.0:
        return (start + end) / 2
    from_start, from_end = 180.0 - abs(start), 180.0 - abs(end)
    angle = 180.0 - abs(from_start - from_end) / 2
    nearer_to_zero = start if abs(start) < abs(end) else end
    return math.copysign(angle, nearer_to_zero)


def airmass_at(zenith_cosine: float) -> float:
    """Airmass for the cosine of a zenith distance (Hardie 1962).

    >>> round(airmass_at(0.5), 6)
    1.9945
    """
    secant = 1.0 / zenith_cosine
    s = secant - 1.0
    return secant - 0.0018167 * s - 0.002875 * s * s - 0.0008083 * s * s * s


@dataclass(frozen=True)
class _Pointing:
    ra: float
    dec: float
    lst: float
    exptime: float


def airmass(keywords: Keywords, log: logging.Logger = _log) -> float:
    """Effective airmass of an exposure: the weighted mean of start, middle and end (Stetson's rule).

    Falls back to the mean of ``ESO TEL AIRM START`` and ``END``; -1 if that is missing, too.
    """
    start = keywords.number("ESO TEL AIRM START")
    end = keywords.number("ESO TEL AIRM END")
    recorded = None if start is None or end is None else (start + end) / 2
    computed, reason = airmass_from_pointing(keywords, log)
    if computed is None:
        if recorded is None:
            log.warning("airmass computation unsuccessful (%s) and no AIRM keywords in the header", reason)
            return -1.0
        log.warning(
            "airmass computation unsuccessful (%s), using simple average of start and end values (%f)",
            reason,
            recorded,
        )
        return recorded
    if start is not None and end is not None and not min(start, end) <= computed <= max(start, end):
        log.warning(
            "Computed airmass %.3f is NOT in the range recorded in the FITS header (%f, %f)",
            computed,
            start,
            end,
        )
    return computed


def airmass_from_pointing(keywords: Keywords, log: logging.Logger | None = None) -> tuple[float | None, str]:
    """Airmass from RA, DEC, LST, EXPTIME and the latitude; None with the reason if it cannot be computed."""
    values = {key: keywords.number(key) for key in ("RA", "DEC", "LST", "EXPTIME")}
    missing = [key for key, value in values.items() if value is None]
    if missing:
        return None, "missing " + ", ".join(missing)
    point = _Pointing(*(float(v) for v in values.values() if v is not None))
    latitude = keywords.number("ESO TEL GEOLAT")
    phi = math.radians(DEFAULT_LATITUDE if latitude is None else latitude)
    dec = math.radians(point.dec)
    airmasses = []
    for seconds in (0.0, point.exptime / 2, point.exptime):
        # measured against 2.8.7: plain seconds, no sidereal factor
        hour_angle = math.radians((point.lst + seconds) / 240.0 - point.ra)
        cos_z = math.sin(phi) * math.sin(dec) + math.cos(phi) * math.cos(dec) * math.cos(hour_angle)
        if cos_z <= 0.0:
            return None, BELOW_HORIZON
        if log is not None and cos_z < math.cos(math.radians(80.0)):
            log.warning("Zenith angle %.3f > 80 deg!", math.degrees(math.acos(cos_z)))
        airmasses.append(airmass_at(cos_z))
    return (airmasses[0] + 4.0 * airmasses[1] + airmasses[2]) / 6.0, ""

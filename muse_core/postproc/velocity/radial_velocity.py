# SPDX-License-Identifier: BSD-3-Clause
"""Wavelengths as seen from the barycentre, the Sun or the Earth's centre."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.header_values import Keywords
from muse_core.data.kernels import scale_wavelengths
from muse_core.postproc.exposure.correction import Card, Skipped
from muse_core.postproc.exposure.pointing import DEFAULT_LATITUDE
from muse_core.postproc.velocity.earth_motion import (
    besselian_epoch,
    diurnal_velocity,
    earth_velocity,
    precession_matrix,
)

SPEED_OF_LIGHT = 299792.458
DEFAULT_EAST_LONGITUDE = -70.4
DEFAULT_ELEVATION = 2648.0
VELOCITY_KEY = "ESO DRS MUSE PIXTABLE RVCORR"
KINDS = ("bary", "helio", "geo", "none")

_NAMES = {
    "bary": ("barycentric", "BARYCENT"),
    "helio": ("heliocentric", "HELIOCEN"),
    "geo": ("geocentric", "GEOCENTR"),
}
_AS_OBSERVED = ("SPECSYS", "TOPOCENT", "Spectral reference frame")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RadialVelocity:
    """Velocity of the observer towards the source."""

    name: ClassVar[str] = "velocity"
    moves: ClassVar[bool] = True

    kind: str
    velocity: float
    """[km/s]; written to ``PIXTABLE RVCORR``."""
    factor: float
    """lambda is multiplied by this."""
    specsys: str
    """Value of ``SPECSYS``."""

    @property
    def stretch(self) -> float:
        """Factor on wavelengths."""
        return self.factor

    def apply(self, block: Block) -> None:
        """Correct the wavelengths of a block."""
        apply_radial_velocity(block.lam, self)

    def cards(self) -> list[Card]:
        """Header cards of the correction."""
        return [
            (VELOCITY_KEY, self.velocity, f"[km/s] {_NAMES[self.kind][0]} correction applied"),
            ("SPECSYS", self.specsys, "Spectral reference frame"),
        ]


def fit_radial_velocity(
    keywords: Keywords,
    kind: str,
    log: logging.Logger = _log,
    *,
    longitude_positive_west: bool = False,
) -> RadialVelocity | Skipped:
    """Compute the velocity of the observer towards the source at mid-exposure.

    Parameters
    ----------
    keywords : Keywords
        Needs RA, DEC, EQUINOX, MJD-OBS and EXPTIME.
    kind : str
        One of `KINDS`.
    log : logging.Logger
        Takes the messages.
    longitude_positive_west : bool
        Count ``ESO TEL GEOLON`` positive to the west, as the C pipeline does, although ESO writes it
        positive to the east.  The diurnal velocity differs by up to 0.8 km/s.

    Returns
    -------
    RadialVelocity or Skipped
        Skipped for kind "none", if the correction was made before, or if a keyword is missing.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of radial velocity {kind!r}, choose one of {', '.join(KINDS)}")
    if keywords.get(VELOCITY_KEY) is not None:
        return Skipped("velocity", "made before", earlier=True)
    if kind == "none":
        return Skipped("velocity", "rvcorr=none", cards=(_AS_OBSERVED,))
    needed = ("RA", "DEC", "EQUINOX", "MJD-OBS", "EXPTIME")
    values = {key: keywords.number(key) for key in needed}
    missing = [key for key, value in values.items() if value is None]
    name, specsys = _NAMES[kind]
    if missing:
        return Skipped("velocity", f"header lacks {', '.join(missing)}", wanted=True, cards=(_AS_OBSERVED,))
    ra, dec, equinox, mjd, exptime = (float(value) for value in values.values() if value is not None)
    velocity = _velocity(
        kind,
        (ra, dec, equinox),
        mjd + exptime / 2 / 86400.0,
        _site(keywords, longitude_positive_west=longitude_positive_west),
    )
    log.info("Correcting data for %s radial velocity of %.2f km/s", name, velocity)
    beta = velocity / SPEED_OF_LIGHT
    return RadialVelocity(kind, velocity, math.sqrt((1 + beta) / (1 - beta)), specsys)


def _site(keywords: Keywords, *, longitude_positive_west: bool) -> tuple[float, float, float]:
    """Latitude, longitude to the east [deg], elevation [m]."""
    latitude = keywords.number("ESO TEL GEOLAT")
    longitude = keywords.number("ESO TEL GEOLON")
    elevation = keywords.number("ESO TEL GEOELEV")
    if longitude is None:
        longitude = DEFAULT_EAST_LONGITUDE
    elif longitude_positive_west:
        longitude = -longitude
    return DEFAULT_LATITUDE if latitude is None else latitude, longitude, elevation or DEFAULT_ELEVATION


def _velocity(
    kind: str, position: tuple[float, float, float], mjd: float, site: tuple[float, float, float]
) -> float:
    julian_date = mjd + 2400000.5
    ra, dec, equinox = math.radians(position[0]), math.radians(position[1]), position[2]
    of_equinox = np.array([math.cos(ra) * math.cos(dec), math.sin(ra) * math.cos(dec), math.sin(dec)])
    j2000 = precession_matrix(equinox).T @ of_equinox
    of_date = precession_matrix(besselian_epoch(julian_date)) @ j2000
    latitude, longitude, elevation = site
    diurnal = diurnal_velocity(
        julian_date,
        math.atan2(of_date[1], of_date[0]),
        math.asin(of_date[2]),
        math.radians(latitude),
        math.radians(longitude),
        elevation,
    )
    if kind == "geo":
        return diurnal
    heliocentric, barycentric = earth_velocity(julian_date)
    return float((barycentric if kind == "bary" else heliocentric) @ j2000) + diurnal


def apply_radial_velocity(lam: npt.NDArray[np.float32], model: RadialVelocity) -> None:
    """Correct the wavelengths of a block of rows, in place (float32[n], Angstrom)."""
    scale_wavelengths(lam, model.factor)

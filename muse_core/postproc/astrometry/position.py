# SPDX-License-Identifier: BSD-3-Clause
"""From native spherical to celestial coordinates, with offsets and flux scale from OFFSET_LIST."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from muse_core.data.block import Block
from muse_core.data.elementary_functions import (
    HALF_PI,
    HALF_PI_REST,
    SMALL,
    arctangent,
    sine_cosine,
    small_arcsine,
    small_cosine,
    small_sine,
)
from muse_core.data.header_values import Keywords
from muse_core.postproc.astrometry.projection import WCS_STATE
from muse_core.postproc.exposure.correction import Card

_DEG = 180.0 / math.pi
_FAST_RAD = np.float32(0.9 * SMALL)
_FAST_DEC_DEG = 80.0
_ROWS = 1024
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OffsetRow:
    """One row of OFFSET_LIST."""

    date_obs: str
    ra_offset: float
    dec_offset: float
    flux_scale: float | None = None


@dataclass(frozen=True)
class PositionModel:
    """Pole of one exposure and what is needed to combine it with others."""

    name: ClassVar[str] = "position"
    moves: ClassVar[bool] = True
    stretch: ClassVar[float] = 1.0

    crval1: float
    crval2: float
    """Celestial position of the native pole [deg], offset included."""
    flux_scale: float
    """Factor on the data (1 without OFFSET_LIST)."""
    offset: OffsetRow | None
    """Row of OFFSET_LIST that was used."""

    def apply(self, block: Block) -> None:
        """Put the rows of a block on the sky, relative to the pole, with the flux scale of the exposure."""
        apply_position(block.xpos, block.ypos, self)
        apply_flux_scale(block.data, block.stat, self)

    def cards(self) -> list[Card]:
        """Header cards of the final coordinates."""
        return [
            ("CRVAL1", self.crval1, ""),
            ("CRVAL2", self.crval2, ""),
            (WCS_STATE, "positioned (final)", "Positioned this pixel table on the sky"),
        ]

    def offset_cards(self, number: int) -> list[Card]:
        """Return the keywords of the offset applied to exposure 1, 2, ..."""
        if self.offset is None:
            return []
        ra, dec = self.offset.ra_offset, self.offset.dec_offset
        head = f"ESO DRS MUSE OFFSET{number}"
        cards: list[Card] = [
            (f"{head} DRA", ra, f"[deg] (= {ra * 3600:f} arcsec) RA offset applied"),
            (f"{head} DDEC", dec, f"[deg] (= {dec * 3600:f} arcsec) DEC offset applied"),
        ]
        if self.offset.flux_scale is not None:
            cards.append(
                (f"ESO DRS MUSE FLUX SCALE{number}", self.offset.flux_scale, "flux scale factor applied")
            )
        cards.append((f"{head} DATE-OBS", self.offset.date_obs, f"offset {number} applies to this exposure"))
        return cards


@dataclass(frozen=True)
class CommonReference:
    """Shift of an exposure to the pole of the first one [deg]."""

    dx: float
    dy: float
    name: ClassVar[str] = "reference"
    moves: ClassVar[bool] = True
    stretch: ClassVar[float] = 1.0

    def apply(self, block: Block) -> None:
        """Refer the rows of a block to the pole of the first exposure."""
        shift_rows(block.xpos, block.ypos, self.dx, self.dy)

    def cards(self) -> list[Card]:
        """Nothing: the header of an exposure tells its own pole."""
        return []


def fit_common_reference(model: PositionModel, first: PositionModel) -> CommonReference:
    """Return the shift of an exposure to the pole of the first one, also across right ascension 0."""
    turn = 360.0 * round((model.crval1 - first.crval1) / 360.0)
    return CommonReference(model.crval1 - turn - first.crval1, model.crval2 - first.crval2)


def fit_position(
    keywords: Keywords,
    offsets: Sequence[OffsetRow] | None = None,
    log: logging.Logger = _log,
) -> PositionModel:
    """Find the pole of an exposure.

    Parameters
    ----------
    keywords : Keywords
        Primary header of the exposure (RA, DEC, DATE-OBS).
    offsets : sequence of OffsetRow, optional
        Rows of OFFSET_LIST; the one of the same DATE-OBS is used.
    log : logging.Logger
        Takes the messages.
    """
    ra = keywords.number("RA")
    dec = keywords.number("DEC")
    if ra is None or dec is None:
        log.warning("No RA or DEC in the header, positioning the exposure at 0, 0")
    ra, dec = ra or 0.0, dec or 0.0
    date_obs = keywords.text("DATE-OBS")
    offset = next((row for row in offsets or () if row.date_obs.rstrip() == date_obs), None)
    if offset is None:
        if offsets is not None:
            log.warning("No entry for DATE-OBS=%s in OFFSET_LIST, no offset applied", date_obs)
        log.info("Adapting WCS to RA/DEC=%.6f/%.6f deg", ra, dec)
        return PositionModel(ra, dec, 1.0, None)
    crval1, crval2 = ra - offset.ra_offset, dec - offset.dec_offset
    log.info(
        "Adapting WCS to RA/DEC=%.6f/%.6f deg (offset %.6e, %.6e)",
        crval1,
        crval2,
        offset.ra_offset,
        offset.dec_offset,
    )
    scale = offset.flux_scale
    return PositionModel(crval1, crval2, 1.0 if scale is None else scale, offset)


def apply_position(xpos, ypos, model: PositionModel) -> None:  # type: ignore[no-untyped-def]
    """Replace native by celestial coordinates relative to the pole, in place.

    Parameters
    ----------
    xpos, ypos : float32[n]
        Native longitude and latitude minus pi/2 [rad]; become RA - CRVAL1 and DEC - CRVAL2 [deg].
    model : PositionModel
        Result of `fit_position`.
    """
    rotate_rows(xpos, ypos, model.crval2)


@njit(cache=True, nogil=True, error_model="numpy")
def rotate_rows(xpos, ypos, pole_dec_deg):  # type: ignore[no-untyped-def]
    """Kernel of `apply_position` for a native pole at declination `pole_dec_deg` and LONPOLE = 180 deg.

    Rows near the native pole, with this pole not too near to the celestial one, have formulas without
    branches, so that their loop is vectorised.
    """
    pole_dec = math.radians(pole_dec_deg)
    sin_pole, cos_pole = math.sin(pole_dec), math.cos(pole_dec)
    far_from_pole = abs(pole_dec_deg) <= _FAST_DEC_DEG
    x, y = xpos, ypos
    for start in range(0, x.size, _ROWS):
        stop = min(start + _ROWS, x.size)
        special = 0 if far_from_pole else 1
        a, b = x[start:stop], y[start:stop]
        for i in range(a.size):
            special += not _is_near(a[i], b[i])
        while start < stop:
            end = stop
            if special:  # up to the next special row
                end = start
                while end < stop and far_from_pole and _is_near(x[end], y[end]):
                    end += 1
            a, b = x[start:end], y[start:end]
            for i in range(a.size):
                a[i], b[i] = _celestial_near(a[i], b[i], pole_dec, pole_dec_deg, sin_pole, cos_pole)
            if end < stop:
                x[end], y[end] = _celestial(x[end], y[end], pole_dec_deg, sin_pole, cos_pole)
            start = end + 1


@njit(nogil=True, error_model="numpy")
def _is_near(phi, theta):  # type: ignore[no-untyped-def]
    return (abs(theta) < _FAST_RAD) & (phi >= np.float32(0.0)) & (phi < np.float32(6.2832))


@njit(inline="always", error_model="numpy")
def _celestial_near(phi, theta, pole_dec, pole_dec_deg, sin_pole, cos_pole):  # type: ignore[no-untyped-def]
    """Return celestial minus polar coordinates [deg] of a row near the native pole.

    The vector to the row has the components `ahead` (to the native pole), `north` and `east`. Its declination
    minus that of the pole is found as a small angle itself: sin(difference) = north - sin(pole) * (cos(dec) -
    component towards RA = 0 in the plane of the equator).
    """
    # theta as a number near pi/2 is rounded: this much of it is left
    distance = HALF_PI_REST - ((np.float64(theta) + HALF_PI) - HALF_PI)
    ahead, aside = small_cosine(distance), small_sine(distance)
    sine, cosine = sine_cosine(np.float64(phi) - math.pi)
    north, east = aside * cosine, -(aside * sine)
    outwards = ahead * cos_pole - north * sin_pole
    cos_dec = math.sqrt(outwards * outwards + east * east)
    bulge = east * east / (cos_dec + outwards)
    difference = small_arcsine(north - bulge * sin_pole)
    # in degrees before the difference is taken: the rounding of the C pipeline
    return arctangent(east / outwards) * _DEG, (pole_dec + difference) * _DEG - pole_dec_deg


@njit(nogil=True, error_model="numpy")
def _celestial(phi, theta, pole_dec_deg, sin_pole, cos_pole):  # type: ignore[no-untyped-def]
    """Return celestial minus polar coordinates [deg] of any row."""
    theta = np.float64(theta) + math.pi / 2
    sin_theta, cos_theta = math.sin(theta), math.cos(theta)
    dphi = np.float64(phi) - math.pi  # the native longitude of the celestial pole is 180 deg
    sin_phi, cos_phi = math.sin(dphi), math.cos(dphi)
    ra = math.atan2(-cos_theta * sin_phi, sin_theta * cos_pole - cos_theta * sin_pole * cos_phi)
    dec = math.asin(sin_theta * sin_pole + cos_theta * cos_pole * cos_phi)
    return ra * _DEG, dec * _DEG - pole_dec_deg


def apply_flux_scale(data, stat, model: PositionModel) -> None:  # type: ignore[no-untyped-def]
    """Multiply data (float32[n]) by the flux scale of the exposure, stat by its square, in place."""
    if model.flux_scale != 1.0:
        scale_rows(data, stat, model.flux_scale)


@njit(cache=True, nogil=True)
def shift_rows(xpos, ypos, dx, dy):  # type: ignore[no-untyped-def]
    """Add float64 offsets to float32[n] positions, in place."""
    if dx == 0.0 and dy == 0.0:
        return
    for i in range(xpos.size):
        xpos[i] = float(xpos[i]) + dx
        ypos[i] = float(ypos[i]) + dy


@njit(cache=True, nogil=True)
def scale_rows(data, stat, factor):  # type: ignore[no-untyped-def]
    """Multiply float32[n] data by a float64 factor and the variance by its square, in place."""
    for i in range(data.size):
        data[i] = float(data[i]) * factor
        stat[i] = float(stat[i]) * (factor * factor)

# SPDX-License-Identifier: BSD-3-Clause
"""From native spherical to celestial coordinates, with offsets and flux scale from OFFSET_LIST."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

from muse_core.data.block import Block
from muse_core.data.header_values import Keywords
from muse_core.data.kernels import scale_rows, shift_positions
from muse_core.data.offset_list import OffsetList, OffsetRow
from muse_core.postproc.astrometry.position_kernels import rotate_rows
from muse_core.postproc.astrometry.projection import WCS_STATE, Column
from muse_core.postproc.exposure.correction import Card

_log = logging.getLogger(__name__)


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
        if self.offset.rotation is not None:
            cards.append((f"{head} DROT", self.offset.rotation, "[deg] offset of the position angle applied"))
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
        shift_positions(block.xpos, block.ypos, self.dx, self.dy)

    def cards(self) -> list[Card]:
        """Nothing: the header of an exposure tells its own pole."""
        return []


def fit_common_reference(model: PositionModel, pole: tuple[float, float]) -> CommonReference:
    """Return the shift of an exposure to a common pole [deg], also across right ascension 0."""
    turn = 360.0 * round((model.crval1 - pole[0]) / 360.0)
    return CommonReference(model.crval1 - turn - pole[0], model.crval2 - pole[1])


def fit_position(
    keywords: Keywords,
    offsets: OffsetList | None = None,
    log: logging.Logger = _log,
) -> PositionModel:
    """Find the pole of an exposure.

    Parameters
    ----------
    keywords : Keywords
        Primary header of the exposure (RA, DEC, DATE-OBS, MJD-OBS).
    offsets : OffsetList, optional
    log : logging.Logger
        Takes the messages.
    """
    ra = keywords.number("RA")
    dec = keywords.number("DEC")
    if ra is None or dec is None:
        log.warning("No RA or DEC in the header, positioning the exposure at 0, 0")
    ra, dec = ra or 0.0, dec or 0.0
    date_obs = keywords.text("DATE-OBS")
    offset = offsets.row_of(date_obs, keywords.number("MJD-OBS")) if offsets else None
    if offset is None:
        if offsets is not None:
            log.warning("No entry for DATE-OBS=%s in OFFSET_LIST, no offset applied", date_obs)
        log.info("Adapting WCS to RA/DEC=%.6f/%.6f deg", ra, dec)
        return PositionModel(ra, dec, 1.0, None)
    offset = replace(offset, date_obs=date_obs or offset.date_obs)  # the row may be found by its MJD_OBS
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


def apply_position(xpos: Column, ypos: Column, model: PositionModel) -> None:
    """Replace native by celestial coordinates relative to the pole, in place.

    Parameters
    ----------
    xpos, ypos : float32[n]
        Native longitude and latitude minus pi/2 [rad]; become RA - CRVAL1 and DEC - CRVAL2 [deg].
    model : PositionModel
        Result of `fit_position`.
    """
    rotate_rows(xpos, ypos, model.crval2)


def apply_flux_scale(data: Column, stat: Column, model: PositionModel) -> None:
    """Multiply data (float32[n]) by the flux scale of the exposure, stat by its square, in place."""
    if model.flux_scale != 1.0:
        scale_rows(data, stat, model.flux_scale)

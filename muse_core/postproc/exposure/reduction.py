# SPDX-License-Identifier: BSD-3-Clause
"""One exposure on its way through the corrections: its chain of rows, and the state of what will be saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from logging import INFO, WARNING
from typing import TYPE_CHECKING

from muse_core.data.header_values import Keywords, seven_digits
from muse_core.framework.log import UNDONE
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.exposure.chain import Chain
from muse_core.postproc.exposure.correction import Card, Correction, Skipped
from muse_core.postproc.exposure.row_limits import RowLimits

if TYPE_CHECKING:
    import logging
    from pathlib import Path

    from astropy.io.fits import BinTableHDU, HDUList, Header

    from muse_core.framework import Frame
    from muse_core.postproc.astrometry.position import PositionModel
    from muse_core.postproc.white_light.image import WhiteImage

PIXTABLE = "ESO DRS MUSE PIXTABLE"
PREDAR = f"{PIXTABLE} PREDAR LIMITS"
"""Limits of the positions before the refraction correction, to which the astrometry refers."""
SKIPPED = "ESO DRS MUSE SKIPPED"
REFINED = "ESO DRS MUSE SKY REFINE"
"""Number of slices in which more than the mean sky was taken out."""
WCS_KEYS = ("CRPIX", "CRVAL", "CTYPE", "CUNIT", "CD1_", "CD2_", "CD3_")
FLAT_CORRECTED = ("ESO DRS MUSE FLUX FFCORR", True, "Data was flat-field spectrum corrected")
"""Keyword of cubes and images made from tables with the shape of the flat-field lamp."""


@dataclass(frozen=True)
class PendingProduct:
    """A product of an exposure that is written when all its corrections are known.

    Parameters
    ----------
    tag : str
    hdus : HDUList
    qc : list of (keyword, value, comment)
    base : Header or None
        header to inherit from; None = that of the exposure when it is written, with its WCS if `with_wcs`
    """

    tag: str
    hdus: HDUList
    qc: list[Card]
    base: Header | None = None
    with_wcs: bool = False


@dataclass
class ProductState:
    """What the products of an exposure will say of it.

    Parameters
    ----------
    header : Header
        of the merged table, updated by each correction
    frames : tuple of Frame
        the pixel tables it came from
    data_unit, position_unit : str
        of the rows as they are now
    tables : list of BinTableHDU
        extra extensions of its pixel tables
    pending : list of PendingProduct
    """

    header: Header
    frames: tuple[Frame, ...] = ()
    data_unit: str = "count"
    position_unit: str = "pix"
    tables: list[BinTableHDU] = field(default_factory=list)
    pending: list[PendingProduct] = field(default_factory=list)

    def set_card(self, key: str, value: object, comment: str = "") -> None:
        """Set a keyword of the header."""
        set_card(self.header, key, value, comment)

    def append_tables(self, path: Path) -> None:
        """Append the extra table extensions to a pixel-table file."""
        from io import BytesIO

        from astropy.io import fits

        from muse_core.framework.products import add_checksum_placeholders

        if not self.tables:
            return
        buffer = BytesIO()
        tables = [table.copy() for table in self.tables]
        for table in tables:
            add_checksum_placeholders(table.header)
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(buffer)
        with path.open("ab") as stream:  # the file itself stays untouched: its header is finished
            stream.write(buffer.getvalue()[2880:])


@dataclass
class Reduction:
    """One exposure with what was fitted and found so far.

    Parameters
    ----------
    number : int
        1, 2, ... in the order of the observations
    chain : Chain
        its rows
    product : ProductState
        what its products will say
    keywords : Keywords
        its header as the corrections read it (with the values of the parameter ``superflat_pos``)
    records_skipped : bool
        corrections that were not made are noted in the header
    reference_limits : RowLimits or None
        limits before the refraction correction, to which the astrometry refers
    stated_range : (float, float) or None
        wavelengths of the rows by the header, where they stand for those of the rows (a defect of C)
    white_image : WhiteImage or None
        made by the autocalibration, for the sky subtraction
    position : PositionModel or None
        where the exposure is on the sky, once its rows are
    """

    number: int
    chain: Chain
    product: ProductState
    keywords: Keywords
    records_skipped: bool = True
    reference_limits: RowLimits | None = None
    stated_range: tuple[float, float] | None = None
    white_image: WhiteImage | None = None
    position: PositionModel | None = None

    def add(self, correction: Correction) -> None:
        """Apply a fitted correction to the rows from now on, and note it in the header."""
        self.chain.add(correction)
        self.product.header.remove(_skipped_key(correction.name), ignore_missing=True)
        for card in correction.cards():
            self.product.set_card(*card)

    def skip(self, skipped: Skipped, log: logging.Logger) -> None:
        """Say in the log and in the header that a correction is not made, and why."""
        level, extra = (WARNING, UNDONE) if skipped.wanted else (INFO, None)
        text = "exposure %d: %s skipped: %s"
        log.log(level, text, self.number, skipped.name, skipped.reason, extra=extra)
        for card in skipped.cards:
            self.product.set_card(*card)
        if self.records_skipped and not skipped.earlier:
            self.product.set_card(_skipped_key(skipped.name), skipped.reason, "")


def _skipped_key(name: str) -> str:
    return f"{SKIPPED} {name.upper()}"


def without_pixtable_keys(header: Header) -> Header:
    """Return a copy of a header without the keywords of the pixel table, to be inherited by a product."""
    return header_without(header, lambda key: key.startswith(PIXTABLE))


def predar_cards(limits: RowLimits, *, rounded: bool) -> list[Card]:
    """Return the keywords of the limits before the refraction correction (C: rounded to seven digits)."""
    names = ("XLO", "XHI", "YLO", "YHI")
    return [
        (f"{PREDAR} {name}", seven_digits(value) if rounded else value, "")
        for name, value in zip(names, (*limits.x, *limits.y), strict=True)
    ]


def limit_cards(limits: RowLimits) -> list[Card]:
    """Return the LIMITS keywords of a pixel table."""
    cards: list[Card] = []
    for name, pair in (("X", limits.x), ("Y", limits.y), ("LAMBDA", limits.lam)):
        cards += [
            (f"{PIXTABLE} LIMITS {name} {end}", seven_digits(value), "")
            for end, value in zip(("LOW", "HIGH"), pair)
        ]
    for name, numbers in (("IFU", limits.ifu), ("SLICE", limits.slices)):
        cards += [
            (f"{PIXTABLE} LIMITS {name} {end}", number, "") for end, number in zip(("LOW", "HIGH"), numbers)
        ]
    return cards

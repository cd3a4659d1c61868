# SPDX-License-Identifier: BSD-3-Clause
"""The headers of products of raw frames: what they start from, what all of one IFU share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from astropy.io import fits

from muse_core.data.extension_keywords import with_extension_keywords
from muse_core.data.header_values import single_precision
from muse_core.detector.calibrate import ExposureModel
from muse_core.framework.frames import Frame
from muse_core.framework.products import Card

SCAN_KEYWORD = re.compile(r"^ESO DET OUT\d+ (PRSC|OVSC)[XY]$")
OF_PIXELS = re.compile(r"^(C(RPIX|RVAL|TYPE|UNIT|DELT)\d|CD\d_\d|BUNIT|INHERIT)$")

OF_CHANNEL = re.compile(r"^ESO DET (CHIP|OUT\d+) ")
DRS = "ESO DRS MUSE"


class HeaderOfIfu(Protocol):
    """What the writers of products ask of the headers of one IFU."""

    @property
    def ifu(self) -> int:
        """1 to 24."""
        ...

    @property
    def base(self) -> fits.Header:
        """The header that they start from."""
        ...

    @property
    def used(self) -> list[Frame]:
        """Frames that they name."""
        ...

    @property
    def flags(self) -> tuple[Card, ...]:
        """What was done, or not, for this IFU."""
        ...


@dataclass(frozen=True)
class IfuHeader:
    """What the headers of all products of one IFU share: see `HeaderOfIfu`."""

    ifu: int
    base: fits.Header
    used: list[Frame]
    flags: tuple[Card, ...] = ()

    @property
    def channel(self) -> list[Card]:
        """EXTNAME of the primary header of files of one IFU."""
        return [("EXTNAME", f"CHAN{self.ifu:02d}", "")]


def channel_cards(header: HeaderOfIfu) -> list[Card]:
    """Keywords of the detector, which are in no primary header of a merged file."""
    return [
        (card.keyword, card.value, card.comment)
        for card in header.base.cards
        if OF_CHANNEL.match(card.keyword)
    ]


def overscan_cards(model: ExposureModel) -> list[Card]:
    """Level, scatter and polynomial of the overscan of each quadrant."""
    cards: list[Card] = []
    for own in model.quadrants:
        name = f"{DRS} OVSC{own.quadrant.number}"
        # measured against 2.8.7: the level after a shift to that of the bias
        cards.append((f"{name} MEAN", single_precision(own.stats.mean + own.shift), ""))
        cards.append((f"{name} STDEV", single_precision(own.stats.stdev), ""))
    for own in model.quadrants:
        if own.vertical is not None:
            name = f"{DRS} OVSC{own.quadrant.number} POLY"
            cards.append((f"{name} NCOEFF", int(own.vertical.powers.size), ""))
            cards += [(f"{name} Y{k}", float(value), "") for k, value in enumerate(own.vertical.powers)]
    return cards


def raw_header(primary: fits.Header, extension: fits.Header) -> fits.Header:
    """Return the primary header of a raw file joined with that of one channel.

    Measured against 2.8.7: of a keyword in both, QC and DRS are those of the channel. What describes the
    pixels of the raw frame is left out.
    """
    header = with_extension_keywords(primary, extension, only_eso=False)
    for key in [k for k in header if SCAN_KEYWORD.match(k) or OF_PIXELS.match(k)]:
        del header[key]
    return header

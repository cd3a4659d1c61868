# SPDX-License-Identifier: BSD-3-Clause
"""Images of all IFUs in one file (``merge``)."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from muse_core.basic import products
from muse_core.basic.products import ProductHeader
from muse_core.basic.table import IfuTable
from muse_core.detector.headers import channel_cards
from muse_core.detector.image import DetectorImage
from muse_core.detector.merged import ExtensionParts
from muse_core.detector.planes import write_planes, write_unit
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card, add_checksum_placeholders, set_card


class MergedFiles:
    """Keeps the extensions of an IFU for the files of all IFUs."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self.kept = ExtensionParts()

    def add_image(self, image: DetectorImage, overscan: list[Card], header: ProductHeader) -> None:
        """Keep DATA, DQ and STAT of an IFU."""
        cards = [*channel_cards(header), products.saturated_card(image), *overscan, *header.lamp]
        with self._part("RED", header) as stream:
            write_planes(stream, image, f"CHAN{header.ifu:02d}", cards)

    def add_resampled(
        self, image: npt.NDArray[np.float32], cards: list[Card], table: IfuTable, header: ProductHeader
    ) -> None:
        """Keep the image of the slices of an IFU."""
        hdu = products.resampled_hdu(image, cards, f"CHAN{header.ifu:02d}.DATA")
        for card in (*channel_cards(header), *header.lamp, *products.sky_flux_card(table)):
            set_card(hdu.header, *card)
        add_checksum_placeholders(hdu.header)
        with self._part("RESAMPLED", header) as stream:
            write_unit(stream, hdu.header, hdu.data.astype(hdu.data.dtype.newbyteorder(">")))

    def _part(self, kind: str, header: ProductHeader) -> BinaryIO:
        """Open a file for the extensions of one IFU."""
        return self.kept.part(f"{header.tag}_{kind}", header, header.number, self._ctx)

# SPDX-License-Identifier: BSD-3-Clause
"""Images of all IFUs in one file (``merge``): extensions are kept on disk until the last IFU is there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from muse_core.basic import products
from muse_core.basic.complete import complete_card
from muse_core.basic.products import ProductHeader
from muse_core.basic.table import IfuTable
from muse_core.detector.image import DetectorImage
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card, add_checksum_placeholders, header_without, set_card

OF_CHANNEL = re.compile(r"^ESO DET (CHIP|OUT\d+) ")


@dataclass
class _Part:
    """Extensions of one IFU in a file of their own."""

    header: ProductHeader
    path: Path


class MergedFiles:
    """Collects the extensions of a run and writes the merged files; threads may add at the same time."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, int], list[_Part]] = {}

    def __enter__(self) -> MergedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for parts in self._parts.values():
            for part in parts:
                part.path.unlink(missing_ok=True)

    def add_image(self, image: DetectorImage, overscan: list[Card], header: ProductHeader) -> None:
        """Keep DATA, DQ and STAT of an IFU."""
        cards = [*_own_cards(header), products.saturated_card(image), *overscan, *header.lamp]
        with self._part("RED", header) as stream:
            products.write_planes(stream, image, f"CHAN{header.ifu:02d}", cards)

    def add_resampled(
        self, image: npt.NDArray[np.float32], cards: list[Card], table: IfuTable, header: ProductHeader
    ) -> None:
        """Keep the image of the slices of an IFU."""
        hdu = products.resampled_hdu(image, cards, f"CHAN{header.ifu:02d}.DATA")
        for card in (*_own_cards(header), *header.lamp, *products.sky_flux_card(table)):
            set_card(hdu.header, *card)
        add_checksum_placeholders(hdu.header)
        with self._part("RESAMPLED", header) as stream:
            stream.write(hdu.header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
            data = hdu.data.astype(hdu.data.dtype.newbyteorder(">"))
            stream.write(data.data)
            stream.write(b"\0" * (-data.nbytes % products.BLOCK))

    def _part(self, kind: str, header: ProductHeader) -> BinaryIO:
        """Open a file for the extensions of one IFU."""
        descriptor, name = tempfile.mkstemp(
            prefix=f".{header.tag}_{kind}.", suffix=".part", dir=self._ctx.workdir
        )
        part = _Part(header, Path(name))
        with self._lock:
            self._parts.setdefault((f"{header.tag}_{kind}", header.number), []).append(part)
        return os.fdopen(descriptor, "wb")

    def finish(self) -> None:
        """Write the merged files."""
        for (tag, number), parts in sorted(self._parts.items()):
            parts.sort(key=lambda part: part.header.ifu)
            first = parts[0].header
            base = header_without(first.base, lambda key: OF_CHANNEL.match(key) is not None)
            flags = dict.fromkeys(card for part in parts for card in part.header.flags)
            cards = [*complete_card(self._ctx), *flags]
            with self._ctx.stream(tag, base=base, used=first.used, qc=cards, index=number) as product:
                with product.path.open("wb") as stream:
                    header = product.header
                    stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
                    for part in parts:
                        with part.path.open("rb") as source:
                            shutil.copyfileobj(source, stream, 1 << 22)


def _own_cards(header: ProductHeader) -> list[Card]:
    """Keywords of the channel, which are in no primary header of a merged file."""
    return [
        (card.keyword, card.value, card.comment)
        for card in header.base.cards
        if OF_CHANNEL.match(card.keyword)
    ]

# SPDX-License-Identifier: BSD-3-Clause
"""Products of recipes that make calibrations: a file for each IFU, or one for all of them (``merge``)."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.detector.headers import IfuHeader, channel_cards
from muse_core.detector.image import DetectorImage
from muse_core.detector.merged import ExtensionParts
from muse_core.detector.planes import write_planes, write_unit
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card, add_checksum_placeholders, set_card

Column = tuple[str, npt.NDArray[Any], str]
"""Name, values and unit ("" for none) of a column of a table."""
FORMATS = {"u1": "1B", "i4": "1J", "f4": "1E", "f8": "1D"}


class MasterFiles:
    """Writes the products of all IFUs; threads may write at the same time.

    Parameters
    ----------
    ctx : RunContext
    merge : bool
        One file for all IFUs.
    """

    def __init__(self, ctx: RunContext, *, merge: bool) -> None:
        self._ctx, self._merge = ctx, merge
        self._parts = ExtensionParts(ctx)

    def __enter__(self) -> MasterFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def image(
        self,
        tag: str,
        image: DetectorImage,
        header: IfuHeader,
        qc: Sequence[Card],
        *,
        unit: str = "count",
        series: int | None = None,
    ) -> None:
        """Write DATA, DQ and STAT of an IFU.

        Parameters
        ----------
        tag : str
        image : DetectorImage
        header : IfuHeader
        qc : sequence of Card
            QC and DRS keywords; in a merged file they are in the extensions.
        unit : str
            Of the data.
        series : int, optional
            Number of the product, if there are several of this tag (TAG_0001-01.fits).
        """
        if self._merge:
            cards = [*channel_cards(header), *qc]
            with self._parts.part(tag, header, series or 0) as stream:
                write_planes(stream, image, f"CHAN{header.ifu:02d}", cards, unit)
            return
        with self._ctx.stream(
            tag,
            base=header.base,
            used=header.used,
            own=header.channel,
            qc=[*header.flags, *qc],
            index=header.ifu if series is None else (series, header.ifu),
        ) as product:
            with product.path.open("wb") as stream:
                stream.write(product.header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
                write_planes(stream, image, unit=unit)

    def table(
        self,
        tag: str,
        columns: Sequence[Column],
        header: IfuHeader,
        qc: Sequence[Card] = (),
        *,
        extra: Sequence[Card] = (),
    ) -> None:
        """Write a table of an IFU.

        Measured against 2.8.7: without EXTNAME in a file of its own, CHANnn in a merged one.

        Parameters
        ----------
        tag : str
        columns : sequence of Column
            Of type int32, float32 or float64; a masked integer is undefined.
        header : IfuHeader
        qc : sequence of Card
            QC and DRS keywords; in a merged file they are in the extension.
        extra : sequence of Card
            Keywords of the table itself, wherever it is.
        """
        unit, rows = table_unit(columns)
        for card in extra:
            set_card(unit, *card)
        if self._merge:
            set_card(unit, "EXTNAME", f"CHAN{header.ifu:02d}", "")
            for card in (*channel_cards(header), *qc):
                set_card(unit, *card)
        add_checksum_placeholders(unit)
        if self._merge:
            with self._parts.part(tag, header) as stream:
                write_unit(stream, unit, rows)
            return
        with self._ctx.stream(
            tag,
            base=header.base,
            used=header.used,
            own=header.channel,
            qc=[*header.flags, *qc],
            index=header.ifu,
        ) as product:
            product.header["BITPIX"] = 16  # of the primary units of tables, as CPL writes them
            with product.path.open("wb") as stream:
                stream.write(product.header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
                write_unit(stream, unit, rows)

    def drop(self, ifu: int) -> None:
        """Forget what an IFU that failed has left for merged files."""
        self._parts.drop(ifu)

    def finish(self, *, complete: bool) -> None:
        """Write the merged files; with ``complete`` they hold all IFUs that were asked for."""
        claim = f"{self._ctx.spec.qc_prefix} COMPLETE", complete, "all IFUs that were asked for were made"
        self._parts.finish([] if self._ctx.defects else [claim])


def table_unit(columns: Sequence[Column]) -> tuple[fits.Header, npt.NDArray[Any]]:
    """Return header and rows (in the byte order of files) of a binary table."""
    kinds = [(name, values.dtype.newbyteorder(">")) for name, values, _ in columns]
    rows = np.empty(len(columns[0][1]), dtype=kinds)
    for name, values, _ in columns:
        rows[name] = np.ma.filled(values, NULL) if np.ma.isMaskedArray(values) else values
    header = fits.BinTableHDU(rows).header
    for i, (_, values, unit) in enumerate(columns, 1):
        header[f"TFORM{i}"] = FORMATS[values.dtype.str[1:]]
        if unit:
            header.set(f"TUNIT{i}", unit, after=f"TFORM{i}")
        if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
            header.set(f"TNULL{i}", NULL, after=f"TFORM{i}")
    return header, rows


NULL = 0
"""Stands for an undefined integer, as in tables of 2.8.7."""

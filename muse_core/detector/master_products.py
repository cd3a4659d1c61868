# SPDX-License-Identifier: BSD-3-Clause
"""Products of recipes that make calibrations: a file for each IFU, or one for all of them (``merge``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

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
    """Writes the products of one IFU, or keeps them for the files of all IFUs.

    Parameters
    ----------
    ctx : RunContext
    merge : bool
        One file for all IFUs.
    """

    def __init__(self, ctx: RunContext, *, merge: bool) -> None:
        self._ctx, self.merge = ctx, merge
        self.kept = ExtensionParts()
        """For the files of all IFUs."""

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
        if self.merge:
            cards = [*channel_cards(header), *qc]
            with self.kept.part(tag, header, series or 0, self._ctx) as stream:
                write_planes(stream, image, f"CHAN{header.ifu:02d}", cards, unit)
            return
        index = header.ifu if series is None else (series, header.ifu)
        with file_of_ifu(self._ctx, tag, header, qc, index) as stream:
            write_planes(stream, image, unit=unit)

    def picture(
        self,
        tag: str,
        data: npt.NDArray[Any],
        cards: Sequence[Card],
        header: IfuHeader,
        *,
        series: int,
    ) -> None:
        """Write an image without flags and variances: in the primary unit, or as extension CHANnn.

        Parameters
        ----------
        tag : str
        data : array[ny, nx]
        cards : sequence of Card
            Of the image.
        header : IfuHeader
        series : int
            Number of the product.
        """
        if self.merge:
            unit = fits.ImageHDU(np.broadcast_to(data.dtype.type(0), data.shape)).header
            set_card(unit, "EXTNAME", f"CHAN{header.ifu:02d}", "")
            for card in (*channel_cards(header), *cards):
                set_card(unit, *card)
            add_checksum_placeholders(unit)
            with self.kept.part(tag, header, series, self._ctx) as stream:
                write_unit(stream, unit, data.astype(data.dtype.newbyteorder(">")))
            return
        image = fits.PrimaryHDU(data)
        for card in (*header.channel, *cards):
            set_card(image.header, *card)
        self._ctx.save(
            tag, fits.HDUList([image]), base=header.base, used=header.used, index=(series, header.ifu)
        )

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
        if self.merge:
            set_card(unit, "EXTNAME", f"CHAN{header.ifu:02d}", "")
        # BITPIX of the primary units of tables, as CPL writes them
        self.extension(tag, unit, rows, header, qc, bitpix=16)

    def extension(
        self,
        tag: str,
        unit: fits.Header,
        data: npt.NDArray[Any],
        header: IfuHeader,
        qc: Sequence[Card],
        *,
        bitpix: int | None = None,
    ) -> None:
        """Write a product of one extension.

        Parameters
        ----------
        unit : fits.Header
            Of the extension; in a merged file it gets the keywords of the IFU and the QC, too.
        data : ndarray
            In the byte order of files.
        bitpix : int, optional
            Of the primary unit of a file of its own.
        """
        if self.merge:
            for card in (*channel_cards(header), *qc):
                set_card(unit, *card)
        add_checksum_placeholders(unit)
        if self.merge:
            with self.kept.part(tag, header, 0, self._ctx) as stream:
                write_unit(stream, unit, data)
            return
        with file_of_ifu(self._ctx, tag, header, qc, header.ifu, bitpix=bitpix) as stream:
            write_unit(stream, unit, data)


def merge_files(kept: ExtensionParts, ctx: RunContext, *, complete: bool) -> None:
    """Write the files of all IFUs; with ``complete`` they hold all that were asked for."""
    claim = f"{ctx.spec.qc_prefix} COMPLETE", complete, "all IFUs that were asked for were made"
    kept.finish(ctx, [] if ctx.defects else [claim])


@contextlib.contextmanager
def file_of_ifu(
    ctx: RunContext,
    tag: str,
    header: IfuHeader,
    qc: Sequence[Card],
    index: int | tuple[int, int],
    *,
    bitpix: int | None = None,
) -> Iterator[BinaryIO]:
    """Open the product of one IFU for its extensions, its primary header written.

    Parameters
    ----------
    index : int or (int, int)
        What its name is numbered by.
    bitpix : int, optional
        Of the primary header.
    """
    flags = [*header.flags, *qc]
    with ctx.stream(
        tag, base=header.base, used=header.used, own=header.channel, qc=flags, index=index
    ) as product:
        if bitpix is not None:
            product.header["BITPIX"] = bitpix
        with product.path.open("wb") as stream:
            stream.write(product.header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
            yield stream


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

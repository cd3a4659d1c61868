# SPDX-License-Identifier: BSD-3-Clause
"""Products of muse_lsf: images of the line profiles, and the rows of the lines without them."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.arcs.profile_image import FIRST_LAM, ProfileGrid
from muse_core.arcs.profile_rows import LineRows
from muse_core.data.header_values import single_precision
from muse_core.detector.headers import IfuHeader, channel_cards
from muse_core.detector.merged import ExtensionParts
from muse_core.detector.pixels import PixelMap
from muse_core.detector.planes import write_unit
from muse_core.framework.execution import RunContext
from muse_core.framework.products import Card, add_checksum_placeholders, set_card

EXTENSION = "LSF_PROFILE"
TABLE = "ESO DRS MUSE PIXTABLE"
COLUMNS = (
    ("xpos", "pix"), ("ypos", "pix"), ("lambda", "Angstrom"), ("data", "count"), ("dq", ""),
    ("stat", "count**2"), ("origin", ""), ("line_lambda", ""), ("line_flux", ""), ("line_background", ""),
    ("orig", "count"),
)  # fmt: skip


def cube_header(grid: ProfileGrid, name: str) -> list[Card]:
    """Axes of the images: offset and wavelength, as 2.8.7 writes them."""
    return [
        ("WCSAXES", 2, ""), ("CD1_1", grid.step, ""), ("CD1_2", 0.0, ""), ("CD2_1", 0.0, ""),
        ("CD2_2", grid.lam_step, ""), ("CRPIX1", 1.0, ""), ("CRPIX2", 1.0, ""),
        ("CRVAL1", float(grid.offsets[0]), ""), ("CRVAL2", FIRST_LAM, ""), ("CTYPE1", "PARAM", ""),
        ("CTYPE2", "AWAV", ""), ("CUNIT1", "Angstrom", ""), ("CUNIT2", "Angstrom", ""), ("EXTNAME", name, ""),
    ]  # fmt: skip


class ProfileFiles:
    """Writes LSF_PROFILE of all IFUs, a file each or one for all (``merge``); threads may write together."""

    def __init__(self, ctx: RunContext, *, merge: bool) -> None:
        self._ctx, self._merge = ctx, merge
        self._parts = ExtensionParts(ctx)

    def __enter__(self) -> ProfileFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def save(
        self, cube: npt.NDArray[np.float32], grid: ProfileGrid, header: IfuHeader, qc: Sequence[Card]
    ) -> None:
        """Write the images of one IFU (float32[48, wavelengths, offsets])."""
        name = f"CHAN{header.ifu:02d}.{EXTENSION}" if self._merge else EXTENSION
        unit = fits.ImageHDU(np.broadcast_to(np.zeros(1, np.float32), cube.shape)).header
        for card in cube_header(grid, name):
            set_card(unit, *card)
        if self._merge:
            for card in (*channel_cards(header), *qc):
                set_card(unit, *card)
        add_checksum_placeholders(unit)
        data = cube.astype(">f4")
        if self._merge:
            with self._parts.part("LSF_PROFILE", header) as stream:
                write_unit(stream, unit, data)
            return
        with self._ctx.stream(
            "LSF_PROFILE",
            base=header.base,
            used=header.used,
            own=header.channel,
            qc=[*header.flags, *qc],
            index=header.ifu,
        ) as product:
            with product.path.open("wb") as stream:
                stream.write(product.header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
                write_unit(stream, unit, data)

    def finish(self, *, complete: bool) -> None:
        """Write the merged file; with ``complete`` it holds all IFUs that were asked for."""
        claim = f"{self._ctx.spec.qc_prefix} COMPLETE", complete, "all IFUs that were asked for were made"
        self._parts.finish([] if self._ctx.defects else [claim])


def width_cards(planes: Sequence[tuple[int, npt.NDArray[np.float64]]]) -> list[Card]:
    """QC of the widths of each plane (its number from 1, and FWHM in Angstrom of its wavelengths)."""
    cards: list[Card] = []
    for number, fwhm in planes:
        good = fwhm[np.isfinite(fwhm)]
        if not good.size:
            continue
        name = f"ESO QC LSF SLICE{number} FWHM"
        deviation = float(good.std(ddof=1)) if good.size > 1 else 0.0
        for key, value, text in (
            ("MEAN", float(good.mean()), "Mean FWHM of the profile"),
            ("STDEV", deviation, "Standard deviation of the FWHM"),
            ("MIN", float(good.min()), "Smallest FWHM"),
            ("MAX", float(good.max()), "Largest FWHM"),
        ):
            cards.append((f"{name} {key}", single_precision(value), f"[Angstrom] {text}"))
    return cards


def save_rows(
    rows: LineRows, left: npt.NDArray[np.float32], pixels: PixelMap, header: IfuHeader, ctx: RunContext
) -> None:
    """Write PIXTABLE_SUBTRACTED of one IFU.

    Parameters
    ----------
    rows : LineRows
        Of all slices.
    left : float32[n]
        Data without the lines.
    pixels : PixelMap
        For the offsets of the column origin.
    header : IfuHeader
    ctx : RunContext
    """
    slices = rows.origin & 0x3F
    offset = pixels.offset[np.maximum(slices, 1) - 1]
    xpos = ((rows.origin >> 24) & 0x7F) + offset
    values = {
        "xpos": xpos.astype(np.float32), "ypos": np.zeros(len(rows), np.float32), "lambda": rows.lam,
        "data": left, "dq": np.zeros(len(rows), np.int32), "stat": rows.stat, "origin": rows.origin,
        "line_lambda": rows.line, "line_flux": rows.flux, "line_background": rows.background,
        "orig": rows.data,
    }  # fmt: skip
    cards: list[Card] = [(f"{TABLE} TYPE", "SIMPLE", "")]
    for s, start in enumerate(pixels.offset, 1):
        cards.append((f"{TABLE} EXP0 IFU{header.ifu:02d} SLICE{s:02d} XOFFSET", int(start), ""))
    for name, column in (("X", "xpos"), ("Y", "ypos"), ("LAMBDA", "lambda")):
        low, high = (float(end) for end in (values[column].min(), values[column].max()))
        cards.append((f"{TABLE} LIMITS {name} LOW", single_precision(low), ""))
        cards.append((f"{TABLE} LIMITS {name} HIGH", single_precision(high), ""))
    for name, ends in (("IFU", (header.ifu, header.ifu)), ("SLICE", (int(slices.min()), int(slices.max())))):
        cards += [(f"{TABLE} LIMITS {name} LOW", ends[0], ""), (f"{TABLE} LIMITS {name} HIGH", ends[1], "")]
    with ctx.stream(
        "PIXTABLE_SUBTRACTED",
        base=header.base,
        used=header.used,
        own=header.channel,
        qc=[*header.flags, *cards],
        index=header.ifu,
    ) as product:
        with product.path.open("wb") as stream:
            stream.write(product.header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
            for name, unit in COLUMNS:
                column = values[name]
                head = fits.ImageHDU(np.broadcast_to(np.zeros(1, column.dtype), (column.size, 1))).header
                set_card(head, "EXTNAME", name, "")
                if unit:
                    set_card(head, "BUNIT", unit, "")
                add_checksum_placeholders(head)
                write_unit(stream, head, column.astype(column.dtype.newbyteorder(">")))

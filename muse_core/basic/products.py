# SPDX-License-Identifier: BSD-3-Clause
"""Products of muse_scibasic: reduced images, images of the slices, pixel tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.basic.adaptive_optics import Strehl
from muse_core.basic.complete import complete_card
from muse_core.basic.inputs import Exposure
from muse_core.basic.sky_lines import WavelengthShift
from muse_core.basic.table import FlatSpectrum, IfuTable
from muse_core.data.block import Block
from muse_core.data.header_values import single_precision
from muse_core.data.pixtable_writer import PixelTableWriter, column_units
from muse_core.detector.headers import raw_header
from muse_core.detector.image import DetectorImage
from muse_core.detector.planes import BLOCK, write_planes
from muse_core.detector.rawframe import RawFile
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frame
from muse_core.framework.products import Card, add_checksum_placeholders, header_without, set_card

DRS = "ESO DRS MUSE"
TABLE = f"{DRS} PIXTABLE"
FLAT_EXTENSION = "PIXTABLE_FLAT_FIELD"


@dataclass(frozen=True)
class ProductHeader:
    """What the headers of all products of one IFU and exposure share.

    Attributes
    ----------
    tag : str
    number : int
        Of the exposure.
    ifu : int
    base : fits.Header
    used : list of Frame
    lamp_flux : float
        NaN if unknown.
    flags : tuple of Card
        What was done, or not, for this IFU and exposure.
    """

    tag: str
    number: int
    ifu: int
    base: fits.Header
    used: list[Frame]
    lamp_flux: float
    flags: tuple[Card, ...] = ()

    @property
    def index(self) -> tuple[int, int]:
        """Numbers in the file names."""
        return self.number, self.ifu

    @property
    def channel(self) -> list[Card]:
        """EXTNAME of the primary header."""
        return [("EXTNAME", f"CHAN{self.ifu:02d}", "")]

    @property
    def lamp(self) -> list[Card]:
        """Flux of the flat field."""
        return [(f"{DRS} FLAT FLUX LAMP", self.lamp_flux, "")] if np.isfinite(self.lamp_flux) else []


def product_header(
    exposure: Exposure, raw: RawFile, ifu: int, used: list[Frame], lamp_flux: float
) -> ProductHeader:
    """Start the headers of an IFU from its raw frame, the first one of those that are combined."""
    base = raw_header(raw.primary, raw.headers[ifu])
    return ProductHeader(exposure.tag, exposure.number, ifu, base, used, lamp_flux)


def without_overscan(header: ProductHeader) -> ProductHeader:
    """The same without the keywords of the overscan, which are in reduced images alone."""
    base = header_without(header.base, lambda key: key.startswith(f"{DRS} OVSC"))
    return replace(header, base=base)


def saturated_card(image: DetectorImage) -> Card:
    """QC of the saturated pixels that are left in the trimmed image."""
    return "ESO QC SCIBASIC NSATURATED", image.nsaturated, "Number of saturated pixels in output data"


def save_image(image: DetectorImage, overscan: list[Card], header: ProductHeader, ctx: RunContext) -> None:
    """Write the calibrated image of an IFU (``saveimage``)."""
    with ctx.stream(
        f"{header.tag}_RED",
        base=header.base,
        used=header.used,
        extra=header.channel,
        own=header.channel,
        qc=[*complete_card(ctx), *header.flags, saturated_card(image), *overscan, *header.lamp],
        index=header.index,
    ) as product:
        with product.path.open("wb") as stream:
            stream.write(product.header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
            write_planes(stream, image)


def sky_flux_card(table: IfuTable) -> list[Card]:
    """Integrated flux of the twilight sky in this IFU."""
    ifu = table.shared.pixels.ifu
    fluxes = [cube.fluxes[ifu] for cube in table.cubes if ifu in cube.fluxes]
    return [(f"{DRS} FLAT FLUX SKY", fluxes[-1], "")] if fluxes else []


def table_cards(table: IfuTable) -> list[Card]:
    """Keywords of a pixel table: kind, offsets of the slices, limits, ILLUM."""
    pixels, extent = table.shared.pixels, table.extent
    cards: list[Card] = [(f"{TABLE} TYPE", "GEOFULL", "")]
    for s, offset in enumerate(pixels.offset, 1):
        cards.append((f"{TABLE} EXP0 IFU{pixels.ifu:02d} SLICE{s:02d} XOFFSET", int(offset), ""))
    limits = (*extent.limits[:4], *table.lambda_limits)
    for i, name in enumerate(("X", "Y", "LAMBDA")):
        cards.append((f"{TABLE} LIMITS {name} LOW", single_precision(limits[2 * i]), ""))
        cards.append((f"{TABLE} LIMITS {name} HIGH", single_precision(limits[2 * i + 1]), ""))
    for name, low, high in (
        ("IFU", pixels.ifu, pixels.ifu),
        ("SLICE", min(extent.slices), max(extent.slices)),
    ):
        cards += [(f"{TABLE} LIMITS {name} LOW", low, ""), (f"{TABLE} LIMITS {name} HIGH", high, "")]
    if table.illum is not None:
        factors = table.illum.factors
        measured = ~np.isnan(table.illum.medians)
        cards += [
            (f"{TABLE} ILLUM{s}", float(value), "") for s, value in enumerate(factors, 1) if measured[s - 1]
        ]
        seen = factors[measured]
        cards.append((f"{TABLE} ILLUM MEAN", float(seen.mean()), ""))
        cards.append((f"{TABLE} ILLUM STDEV", float(seen.std(ddof=1)) if seen.size > 1 else 0.0, ""))
    return cards


def slice_cards(shift: WavelengthShift) -> list[Card]:
    """What the slices were moved beside their IFU (``slicelines``)."""
    if shift.slices is None:
        return []
    name = "ESO QC SCIBASIC LAMBDA SLICES"
    return [
        (f"{name} NUMBER", shift.moved, "Slices with a shift of their own"),
        (f"{name} RMS", single_precision(float(np.std(shift.slices))), "[Angstrom] Scatter of the slices"),
    ]


def strehl_cards(strehl: Strehl | None) -> list[Card]:
    """Strehl ratio of a narrow-field exposure."""
    if strehl is None:
        return []
    return [(f"{DRS} RTC STREHL", strehl.ratio, ""), (f"{DRS} RTC STREHLERR", strehl.deviation, "")]


def save_table(
    table: IfuTable,
    saturated: Card,
    strehl: Strehl | None,
    header: ProductHeader,
    ctx: RunContext,
    *,
    as_table: bool = False,
) -> None:
    """Write the pixel table of an IFU, slice by slice, and the spectrum of its flat field."""
    shift = single_precision(table.shift.value)
    qc = [
        *complete_card(ctx),
        *header.flags,
        saturated,
        ("ESO QC SCIBASIC LAMBDA SHIFT", shift, "[Angstrom] Shift in wavelength applied"),
        *slice_cards(table.shift),
        *header.lamp,
        *table_cards(table),
        *strehl_cards(strehl),
        *sky_flux_card(table),
    ]
    tag = f"PIXTABLE_{header.tag}"
    with ctx.stream(
        tag, base=header.base, used=header.used, own=header.channel, qc=qc, index=header.index
    ) as product:
        units = column_units("pix", "count")
        writer = PixelTableWriter(product.path, product.header, table.rows, units, as_table=as_table)
        # the rows of a slice have the columns of a block, and that is all the writer looks at
        writer.write_all(cast(Iterable[Block], table.slices()))
        if table.shared.flat is not None:
            append_flat_spectrum(product.path, table.shared.flat)


def append_flat_spectrum(path: Path, flat: FlatSpectrum) -> None:
    """Append the extension PIXTABLE_FLAT_FIELD to a file."""
    columns = np.empty(flat.lam.size, dtype=[("lambda", ">f8"), ("data", ">f8")])
    columns["lambda"], columns["data"] = flat.lam, flat.data
    header = fits.BinTableHDU(columns).header
    header["TFORM1"] = header["TFORM2"] = "1D"
    header["TUNIT1"], header["TUNIT2"] = "Angstrom", "count"
    header["EXTNAME"] = FLAT_EXTENSION
    add_checksum_placeholders(header)
    data = columns.tobytes()
    with path.open("ab") as stream:
        stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
        stream.write(data + b"\0" * (-len(data) % BLOCK))


def resampled_hdu(image: npt.NDArray[np.float32], cards: Sequence[Card], name: str = "DATA") -> fits.ImageHDU:
    """Extension of the image of the slices, with its own name in merged files."""
    hdu = fits.ImageHDU(image)
    for key, value, comment in cards:
        set_card(hdu.header, key, name if key == "EXTNAME" else value, comment)
    return hdu


def save_resampled(hdu: fits.ImageHDU, table: IfuTable, header: ProductHeader, ctx: RunContext) -> None:
    """Write the image of the slices of an IFU (``resample``)."""
    primary = fits.PrimaryHDU()
    for card in header.channel:
        primary.header[card[0]] = card[1]
    ctx.save(
        f"{header.tag}_RESAMPLED",
        fits.HDUList([primary, hdu]),
        base=header.base,
        used=header.used,
        qc=[*complete_card(ctx), *header.flags, *header.lamp, *sky_flux_card(table)],
        index=header.index,
    )

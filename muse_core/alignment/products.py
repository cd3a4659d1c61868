# SPDX-License-Identifier: BSD-3-Clause
"""The products of an alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from muse_core.alignment.arrays import Floats, Pixels
from muse_core.alignment.fits_bytes import Column, hdu_bytes, table_bytes, write_product
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.images.opening import read_header
from muse_core.alignment.offsets.alignment import Alignment
from muse_core.alignment.preview.grid import MosaicGrid
from muse_core.alignment.preview.mosaic import Mosaic
from muse_core.alignment.quality import confidence_cards, exposure_map_cards, offset_cards, source_cards
from muse_core.alignment.results import Results
from muse_core.alignment.sources.source_list import SourceList
from muse_core.data.extension_keywords import old_quality_cards, science_card
from muse_core.framework.context import RunContext
from muse_core.framework.frames import Frame
from muse_core.framework.spec import ParamValues


@dataclass(frozen=True)
class AlignedExposures:
    """All that was found: for each exposure, and for the group of those that were aligned."""

    fields: Sequence[FieldInfo]
    sources: Sequence[SourceList]
    results: Results
    alignment: Alignment
    mosaic: Mosaic


def save_products(
    found: AlignedExposures, images: Sequence[Frame], lists: Sequence[Frame], ctx: RunContext
) -> None:
    """Write all products.

    Parameters
    ----------
    found : AlignedExposures
    images, lists : sequences of Frame
        The images of the exposures, and the source lists that were used.
    """
    fields, results = found.fields, found.results
    header = read_header(fields[0])
    used = (*images, *lists)
    plain = read_header(fields[0], merged=False)
    qc = offset_cards([len(s) for s in found.sources], results)
    if not ctx.defects.no_confidence_keywords:
        qc += confidence_cards(results)
    with ctx.stream(
        "OFFSET_LIST", base=plain, used=used, extra=[science_card(plain)], qc=qc, keep="standard"
    ) as product:
        write_product(product, offset_list(fields, results, ctx.params), table=True)
    for n, (info, own) in enumerate(zip(fields, found.sources, strict=True)):
        if not len(own):
            continue
        base = read_header(info) if n else header
        with ctx.stream(
            "SOURCE_LIST",
            base=base,
            used=(images[n], *lists),
            extra=[science_card(base)],
            qc=source_cards(own),
            index=n + 1,
        ) as product:
            write_product(product, source_list(own, results.corrected[n]), table=True)
    # pictures keep the QC keywords of the first image, tables do not
    extra = (science_card(header), *old_quality_cards(header))
    mosaic = found.mosaic
    with ctx.stream("PREVIEW_FOV", base=header, used=used, extra=extra) as product:
        write_product(product, image_extension(mosaic.preview(), mosaic.grid, fields[0].unit), table=False)
    if ctx.params.expmap:
        times = mosaic.exposure_map()
        with ctx.stream(
            "EXPOSURE_MAP", base=header, used=used, extra=extra, qc=exposure_map_cards(times)
        ) as product:
            write_product(product, image_extension(times, mosaic.grid, "s"), table=False)


def offset_list(fields: Sequence[FieldInfo], results: Results, p: ParamValues) -> bytes:
    """OFFSET_LIST; the unit of MJD_OBS is the one consumers know, although it is days.

    On request with ROT_OFFSET (position angle of the header minus the true one) and the error of FLUX_SCALE.
    """
    columns: list[Column] = [
        ("DATE_OBS", "23A", None, np.array([info.date for info in fields], dtype="S23")),
        ("MJD_OBS", "1D", "s", np.array([info.mjd for info in fields])),
        ("RA_OFFSET", "1D", "deg", results.offsets[:, 0]),
        ("DEC_OFFSET", "1D", "deg", results.offsets[:, 1]),
        ("FLUX_SCALE", "1D", None, results.flux_scale),
    ]
    if p.flux_scale:
        columns.append(("FLUX_SCALE_ERR", "1D", None, results.flux_scale_error))
    if p.rotation:
        columns.append(("ROT_OFFSET", "1D", "deg", 0.0 - results.turn_deg))
    return table_bytes(columns)


def source_list(sources: SourceList, corrected: tuple[Floats, Floats]) -> bytes:
    """SOURCE_LIST of one exposure.

    Parameters
    ----------
    sources : SourceList
        number, x, y, flux, sharpness, roundness, ra and dec of its sources.
    corrected : tuple of float64[n]
        Right ascension and declination after the offset.
    """
    return table_bytes(
        [
            ("Id", "1J", None, sources.number),
            ("X", "1D", "pix", sources.x),
            ("Y", "1D", "pix", sources.y),
            ("Flux", "1D", None, sources.flux),
            ("Sharpness", "1D", None, sources.sharpness),
            ("Roundness", "1D", None, sources.roundness),
            ("RA", "1D", "deg", sources.ra),
            ("DEC", "1D", "deg", sources.dec),
            ("RA_CORR", "1D", "deg", corrected[0]),
            ("DEC_CORR", "1D", "deg", corrected[1]),
        ]
    )


def image_extension(image: Pixels, grid: MosaicGrid, unit: str) -> bytes:
    """Preview or exposure map with its projection, as an image extension."""
    (cd11, cd12), (cd21, cd22) = grid.wcs.cd
    cards: list[tuple[Any, ...]] = [
        ("XTENSION", "IMAGE", "image extension"),
        ("BITPIX", -32, "number of bits per data pixel"),
        ("NAXIS", 2, "number of data axes"),
        ("NAXIS1", image.shape[1], "length of data axis 1"),
        ("NAXIS2", image.shape[0], "length of data axis 2"),
        ("PCOUNT", 0, "required keyword; must = 0"),
        ("GCOUNT", 1, "required keyword; must = 1"),
        ("CRPIX1", grid.wcs.crpix[0]),
        ("CRPIX2", grid.wcs.crpix[1]),
        ("CD1_1", cd11),
        ("CD1_2", cd12),
        ("CD2_1", cd21),
        ("CD2_2", cd22),
        ("CUNIT1", "deg"),
        ("CUNIT2", "deg"),
        ("CTYPE1", "RA---TAN"),
        ("CTYPE2", "DEC--TAN"),
        ("CRVAL1", grid.wcs.crval[0]),
        ("CRVAL2", grid.wcs.crval[1]),
        ("INHERIT", True),
        ("EXTNAME", "DATA", "this extension contains data values"),
        ("HDUCLASS", "ESO", "class name (ESO format)"),
        ("HDUDOC", "DICD", "document with class description"),
        ("HDUVERS", "DICD version 6", "version number of that document"),
        ("HDUCLAS1", "IMAGE", "image data format"),
        ("HDUCLAS2", "DATA", "this extension contains the data itself"),
    ]
    if unit:
        cards.append(("BUNIT", unit))
    return hdu_bytes(cards, image.astype(">f4").tobytes())

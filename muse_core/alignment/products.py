# SPDX-License-Identifier: BSD-3-Clause
"""The products of an alignment as FITS HDUs, and their QC keywords."""

from __future__ import annotations

import math

import numpy as np

from .confidence import Confidence
from .mosaic import MosaicGrid
from .solution import OffsetSolution

PREFIX = "ESO QC EXPALIGN"


def single(value: float) -> float:
    """Round to the seven digits that 2.8.7 writes for QC values."""
    return float(f"{float(value):.7g}")


_TYPES = {"1J": ">i4", "1D": ">f8", "23A": "S23"}
_WORDS = {"1J": "4-byte integer", "1D": "8-byte real", "23A": "text"}


def format_card(key: str, value: object, comment: str = "") -> str:
    """Write a header card of 80 characters; for our short keywords and values only.

    Examples
    --------
    >>> format_card("NAXIS", 2, "axes").rstrip()
    'NAXIS   =                    2 / axes'
    """
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        quoted = value.replace("'", "''")
        text = f"'{quoted:<8}'".ljust(20)
    elif isinstance(value, float):
        digits = repr(value).upper()
        text = f"{digits if len(digits) <= 20 else format(value, '.13G'):>20}"
    else:
        text = f"{value:>20}"
    return (f"{key:<8}= {text}" + (f" / {comment}" if comment else ""))[:80].ljust(80)


def hdu_bytes(cards, data: bytes) -> bytes:
    """Return an extension as it is on disk; checksums as placeholders for the framework to sign."""
    signed = (("CHECKSUM", "0" * 16, "HDU checksum"), ("DATASUM", f"{0:10d}", "data unit checksum"))
    text = "".join(format_card(*card) for card in (*cards, *signed)) + "END".ljust(80)
    head = text.encode("ascii")
    return head + b" " * (-len(head) % 2880) + data + b"\0" * (-len(data) % 2880)


def table_bytes(columns) -> bytes:
    """Return a binary table; ``columns`` are (name, format, unit, values).

    Written without astropy's table machinery, which takes longer than finding the sources does.
    """
    rows = np.zeros(len(columns[0][3]), dtype=[(name, _TYPES[form]) for name, form, _, _ in columns])
    for name, _, _, values in columns:
        rows[name] = values
    cards = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "8-bit bytes"),
        ("NAXIS", 2, "2-dimensional binary table"),
        ("NAXIS1", rows.dtype.itemsize, "width of table in bytes"),
        ("NAXIS2", rows.size, "number of rows in table"),
        ("PCOUNT", 0, "size of special data area"),
        ("GCOUNT", 1, "one data group (required keyword)"),
        ("TFIELDS", len(columns), "number of fields in each row"),
    ]
    for n, (name, form, unit, _) in enumerate(columns, 1):
        cards.append((f"TTYPE{n}", name, f"label of field {n}"))
        cards.append((f"TFORM{n}", form, f"format of field: {_WORDS[form]}"))
        if unit:
            cards.append((f"TUNIT{n}", unit, "physical unit of field"))
    return hdu_bytes(cards, rows.tobytes())


def write_product(product, extension: bytes, *, table: bool) -> None:
    """Write a streamed product: its primary header and one extension.

    The primary header of a table says 16 bits per pixel, as those of the C pipeline's tables do.
    """
    if table:
        product.header["BITPIX"] = 16
    head = product.header.tostring(sep="", endcard=True, padding=True)
    product.path.write_bytes(head.encode("ascii") + extension)


def offset_list(dates, mjds, offsets):
    """OFFSET_LIST; the unit of MJD_OBS is the one consumers know, although it is days.

    Parameters
    ----------
    dates, mjds : sequences of str and float
    offsets : float64[n, 2]
        Degrees of coordinate.
    """
    return table_bytes(
        [
            ("DATE_OBS", "23A", None, np.array(dates, dtype="S23")),
            ("MJD_OBS", "1D", "s", np.asarray(mjds)),
            ("RA_OFFSET", "1D", "deg", offsets[:, 0]),
            ("DEC_OFFSET", "1D", "deg", offsets[:, 1]),
            ("FLUX_SCALE", "1D", None, np.full(len(offsets), np.nan)),
        ]
    )


def source_list(sources, corrected):
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


def image_bytes(image, grid: MosaicGrid, unit: str) -> bytes:
    """Preview or exposure map with its projection, as an image extension."""
    (cd11, cd12), (cd21, cd22) = grid.wcs.cd
    cards = [
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


def offset_cards(counts, solution: OffsetSolution):
    """QC keywords that 2.8.7 writes into OFFSET_LIST.

    Parameters
    ----------
    counts : int[n]
        Sources of each exposure.
    solution : OffsetSolution
    """
    cards = [
        (f"{PREFIX} NDET{n}", int(count), f"Sources found in image {n}") for n, count in enumerate(counts, 1)
    ]
    matches = [int(m) for m in solution.matches]
    cards += [
        (f"{PREFIX} NMATCH{n}", count, f"Median number of matches of image {n}")
        for n, count in enumerate(matches, 1)
    ]
    some = [m for m in matches if m > 0]
    cards += [
        (f"{PREFIX} NMATCH MIN", min(some) if some else -1, "Smallest NMATCHi above 0"),
        (f"{PREFIX} NOMATCH", len(matches) - len(some), "Images without any match"),
    ]
    for k, axis in enumerate(("RA", "DEC")):
        arcsec = solution.offsets[:, k] * 3600.0
        for name, value, word in (
            ("MIN", arcsec.min(), "smallest"),
            ("MAX", arcsec.max(), "largest"),
            ("MEAN", arcsec.mean(), "mean"),
            ("STDEV", arcsec.std(ddof=1), "standard deviation of the"),
        ):
            cards.append((f"{PREFIX} OFFSET {axis} {name}", single(value), f"[arcsec] {word} {axis} offset"))
    return cards


def confidence_cards(confidence: Confidence):
    """QC keywords on how far the offsets can be trusted; only ours. What was not measured is left out."""
    cards: list[tuple[str, object, str]] = [
        (f"{PREFIX} UNTRUSTED", confidence.untrusted, "Images whose offset is not trustworthy")
    ]
    for n in range(len(confidence.trusted)):
        label = n + 1
        cards.append(
            (f"{PREFIX} TRUST{label}", bool(confidence.trusted[n]), f"Offset of image {label} is sound")
        )
        for name, values, comment in (
            ("ERR RA", confidence.error_ra, "[arcsec] 1 sigma error of RA offset on the sky"),
            ("ERR DEC", confidence.error_dec, "[arcsec] 1 sigma error of DEC offset"),
            ("SCATTER", confidence.scatter, "[arcsec] residual scatter per star"),
            ("CHANCE", confidence.chance, "Probability of the matches by chance"),
            ("ROT", confidence.turn_deg, "[deg] residual rotation, to add to PA"),
            ("ROT ERR", confidence.turn_error_deg, "[deg] its error"),
            ("SCALE", confidence.stretch, "Residual relative pixel scale"),
            ("SCALE ERR", confidence.stretch_error, "Its error"),
        ):
            if math.isfinite(values[n]):
                cards.append((f"{PREFIX} {name}{label}", single(values[n]), comment))
    return cards


def source_cards(origin: str, count: int, median: float, mad: float, threshold: float):
    """QC keywords of a SOURCE_LIST."""
    return [
        (f"{PREFIX} SRC POSITIONS", origin, "Origin of the source positions"),
        (f"{PREFIX} NDET", int(count), "Number of sources"),
        (f"{PREFIX} BKG MEDIAN", single(median), "Median of the background pixels"),
        (f"{PREFIX} BKG MAD", single(mad), "Median absolute deviation of these"),
        (f"{PREFIX} THRESHOLD", single(threshold), "Threshold of the detection"),
    ]


def exposure_map_cards(image):
    """QC keywords of an EXPOSURE_MAP."""
    good = image[np.isfinite(image)].astype(np.float64)
    values = (good.min(), good.max(), good.mean(), np.median(good)) if good.size else (0.0,) * 4
    names = ("MIN", "MAX", "AVG", "MED")
    words = ("Smallest", "Largest", "Mean", "Median")
    return [
        (f"{PREFIX} EXPTIME {name}", single(value), f"[s] {word} exposure time in the map")
        for name, word, value in zip(names, words, values, strict=True)
    ]

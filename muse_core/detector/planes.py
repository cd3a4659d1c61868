# SPDX-License-Identifier: BSD-3-Clause
"""Detector images as extensions DATA, DQ, STAT of a product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.detector.image import WRITTEN_ROWS, DetectorImage, bands
from muse_core.framework.products import Card, add_checksum_placeholders, set_card

BLOCK = 2880
PLANES = {"DATA": np.float32, "DQ": np.int32, "STAT": np.float32}  # in the order of the files
ALL_BITS = 4294967295
CLASS = (
    ("HDUCLASS", "ESO", "class name (ESO format)"),
    ("HDUDOC", "DICD", "document with class description"),
    ("HDUVERS", "DICD version 6", "version number (according to spec v2.5.1)"),
    ("HDUCLAS1", "IMAGE", "Image data format"),
)


def plane_headers(shape: tuple[int, int], channel: str = "", unit: str = "count") -> dict[str, fits.Header]:
    """Headers of the extensions DATA, DQ, STAT; their names start with the channel in merged files."""

    def named(name: str) -> str:
        return f"{channel}.{name}" if channel else name

    tails: dict[str, list[Card]] = {
        "DATA": [
            ("HDUCLAS2", "DATA", "this extension contains the data itself"),
            ("ERRDATA", named("STAT"), "pointer to the variance extension"),
            ("QUALDATA", named("DQ"), "pointer to the bad pixel mask extension"),
            ("BUNIT", unit, ""),
        ],
        "DQ": [
            ("HDUCLAS2", "QUALITY", "this extension contains bad pixel mask"),
            ("HDUCLAS3", "FLAG32BIT", "32bit Euro3D bad pixel information"),
            ("QUALMASK", ALL_BITS, "all non-zero values are bad"),
            ("SCIDATA", named("DATA"), "pointer to the data extension"),
            ("ERRDATA", named("STAT"), "pointer to the variance extension"),
        ],
        "STAT": [
            ("HDUCLAS2", "ERROR", "this extension contains variance"),
            ("HDUCLAS3", "MSE", "the extension contains variances (sigma**2)"),
            ("SCIDATA", named("DATA"), "pointer to the data extension"),
            ("QUALDATA", named("DQ"), "pointer to the bad pixel mask extension"),
            ("BUNIT", f"({unit})**2", ""),
        ],
    }
    headers = {}
    for name, kind in PLANES.items():
        # one value for all pixels takes no room
        header = fits.ImageHDU(np.broadcast_to(np.zeros(1, kind), shape)).header
        for key, value, comment in (
            ("INHERIT", True, ""),
            ("EXTNAME", named(name), ""),
            *CLASS,
            *tails[name],
        ):
            set_card(header, key, value, comment)
        headers[name] = header
    return headers


def write_unit(stream: BinaryIO, header: fits.Header, data: npt.NDArray[Any]) -> None:
    """Append an extension to a file; its data are in the byte order of the file."""
    stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
    stream.write(data.data)
    stream.write(b"\0" * (-data.nbytes % BLOCK))


def write_planes(
    stream: BinaryIO,
    image: DetectorImage,
    channel: str = "",
    cards: Sequence[Card] = (),
    unit: str = "count",
) -> None:
    """Append DATA, DQ and STAT to a file, band by band.

    Parameters
    ----------
    stream : file
    image : DetectorImage
    channel : str
        For the names of the extensions in merged files.
    cards : sequence of Card
        Added to all three headers.
    unit : str
        Of the data.
    """
    ny, nx = image.shape
    for name, header in plane_headers(image.shape, channel, unit).items():
        for card in cards:
            set_card(header, *card)
        add_checksum_placeholders(header)
        stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
        for first, last in bands(ny, WRITTEN_ROWS):
            values = image.plane(name.lower(), first, last)
            stream.write(values.astype(values.dtype.newbyteorder(">")).data)
        stream.write(b"\0" * (-4 * ny * nx % BLOCK))

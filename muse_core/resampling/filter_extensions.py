# SPDX-License-Identifier: BSD-3-Clause
"""Filter images as extensions of the cube formats xCube and xEuro3D."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from muse_core.resampling.cube_cards import DATA_CLASS, HDU_CLASS, Card, data_unit_text, spatial_cards
from muse_core.resampling.cube_file import header_card

if TYPE_CHECKING:
    from collections.abc import Iterable

    from muse_core.resampling.collapse import FilterImage
    from muse_core.resampling.grid import OutputGrid

#: Euro3D quality flag of a voxel without data
MISSING = 0x40000000


def filter_extension(image: FilterImage, grid: OutputGrid, unit: str, object_name: str) -> fits.ImageHDU:
    """Image extension of an xCube: named like the filter, NaN where empty."""
    cards = _filter_cards(image, grid, object_name, f"{image.name}", "reconstructed image (data values)")
    cards += [DATA_CLASS, ("BUNIT", data_unit_text(unit), ""), *image.drs_cards()]
    return fits.ImageHDU(image.image(), _header(cards))


def filter_extension_pair(
    image: FilterImage, grid: OutputGrid, unit: str, object_name: str
) -> list[fits.ImageHDU]:
    """Image (0 where empty) and quality extensions of an xEuro3D file."""
    values = image.image()
    empty = ~np.isfinite(values)
    flags = f"{image.name}_DQ"
    data = _filter_cards(image, grid, object_name, image.name, "reconstructed image (data values)")
    data += [
        DATA_CLASS,
        ("QUALDATA", flags, "pointer to the bad pixel mask extension"),
        ("BUNIT", data_unit_text(unit), ""),
        *image.drs_cards(),
    ]
    quality = _filter_cards(
        image, grid, object_name, flags, "reconstructed image (bad pixel status values)", ", DQ"
    )
    quality += [
        ("HDUCLAS2", "QUALITY", "this extension contains bad pixel mask"),
        ("HDUCLAS3", "FLAG32BIT", "extension contains 32bit Euro3D bad pixel info"),
        ("QUALMASK", 4294967295, "all non-zero values are bad"),
        ("SCIDATA", image.name, "pointer to the data extension"),
        *image.drs_cards(),
    ]
    return [
        fits.ImageHDU(np.where(empty, np.float32(0.0), values), _header(data)),
        fits.ImageHDU(np.where(empty, np.int32(MISSING), np.int32(0)), _header(quality)),
    ]


def _filter_cards(
    image: FilterImage, grid: OutputGrid, object_name: str, extname: str, comment: str, suffix: str = ""
) -> list[Card]:
    title = f"{object_name} ({image.name}{suffix})" if object_name else f"({image.name}{suffix})"
    return [("OBJECT", title, ""), *spatial_cards(grid), ("EXTNAME", extname, comment), *HDU_CLASS]


def _header(cards: Iterable[Card]) -> fits.Header:
    return fits.Header([fits.Card(*header_card(key, value, comment)) for key, value, comment in cards])

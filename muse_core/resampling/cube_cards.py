# SPDX-License-Identifier: BSD-3-Clause
"""Header cards of cubes and images, in the words and the order of the C pipeline's products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework.unit_spelling import FLUX_UNIT, same_unit

if TYPE_CHECKING:
    import numpy.typing as npt

    from muse_core.resampling.grid import OutputGrid

Card = tuple[str, object, str]

#: units of the Phase 3 flavour (sdpCube) for calibrated data
SDP_FLUX_UNIT = "10**(-20)erg.s**(-1).cm**(-2).angstrom**(-1)"
SDP_VARIANCE_UNIT = "10**(-40)erg**2.s**(-2).cm**(-4).angstrom**(-2)"
#: random error of the wavelength axis, Angstrom, written to Phase 3 cubes
SDP_WAVELENGTH_ERROR = 0.026

HDU_CLASS = (
    ("HDUCLASS", "ESO", "class name (ESO format)"),
    ("HDUDOC", "DICD", "document with class description"),
    ("HDUVERS", "DICD version 6", "version number (according to spec v2.5.1)"),
    ("HDUCLAS1", "IMAGE", "Image data format"),
)
DATA_CLASS = ("HDUCLAS2", "DATA", "this extension contains the data itself")


def plane_wavelengths(grid: OutputGrid) -> npt.NDArray[np.float64]:
    """Wavelength of each plane in Angstrom, for a linear or a logarithmic axis."""
    return wavelength_of_plane(grid, np.arange(int(grid.nz)))


def wavelength_of_plane(grid: OutputGrid, plane: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Wavelength in Angstrom of planes counted from 0, also beyond the ends of the cube."""
    reference = float(grid.crval[2])
    offset = (np.asarray(plane, dtype=np.float64) + 1.0 - float(grid.crpix[2])) * float(grid.cd[2][2])
    if grid.log_wavelength:
        return reference * np.exp(offset / reference)
    return reference + offset


def data_unit_text(unit: str, sdp: bool = False) -> str:
    """BUNIT of data; the Phase 3 flavour spells calibrated fluxes differently."""
    return SDP_FLUX_UNIT if sdp and same_unit(unit, FLUX_UNIT) else unit


def variance_unit_text(unit: str, sdp: bool = False) -> str:
    """BUNIT of variances."""
    return SDP_VARIANCE_UNIT if sdp and same_unit(unit, FLUX_UNIT) else f"({unit})**2"


def spatial_cards(grid: OutputGrid) -> list[Card]:
    """WCS cards of the two spatial axes, in the order the C pipeline writes them."""
    crpix, crval, cd = grid.crpix, grid.crval, grid.cd
    if str(grid.ctype[0]).startswith("PIXEL"):
        cards: list[Card] = []
        for axis in (0, 1):
            n = axis + 1
            cards += [
                (f"CRPIX{n}", _number(crpix[axis]), ""),
                (f"CRVAL{n}", _number(crval[axis]), ""),
                (f"CTYPE{n}", str(grid.ctype[axis]), ""),
                (f"CUNIT{n}", str(grid.cunit[axis]), ""),
                (f"CD{n}_{n}", _number(cd[axis][axis]), ""),
            ]
        return [*cards, ("CD1_2", _number(cd[0][1]), ""), ("CD2_1", _number(cd[1][0]), "")]
    return [
        ("CRPIX1", _number(crpix[0]), ""),
        ("CRPIX2", _number(crpix[1]), ""),
        ("CTYPE1", str(grid.ctype[0]), ""),
        ("CTYPE2", str(grid.ctype[1]), ""),
        ("CUNIT1", str(grid.cunit[0]), ""),
        ("CUNIT2", str(grid.cunit[1]), ""),
        ("CD1_1", _number(cd[0][0]), ""),
        ("CD1_2", _number(cd[0][1]), ""),
        ("CD2_1", _number(cd[1][0]), ""),
        ("CD2_2", _number(cd[1][1]), ""),
        ("CRVAL1", _number(crval[0]), ""),
        ("CRVAL2", _number(crval[1]), ""),
    ]


def spectral_cards(grid: OutputGrid, sdp: bool = False) -> list[Card]:
    """WCS cards of the wavelength axis and of its separation from the others."""
    cards: list[Card] = [
        ("CTYPE3", str(grid.ctype[2]), ""),
        ("CUNIT3", "angstrom" if sdp else str(grid.cunit[2]), ""),
        ("CD3_3", _number(grid.cd[2][2]), ""),
        ("CRPIX3", _number(grid.crpix[2]), ""),
        ("CRVAL3", _number(grid.crval[2]), ""),
    ]
    if sdp:
        cards.append(("CRDER3", SDP_WAVELENGTH_ERROR, "[angstrom] Random error in spectral coordinate"))
    cards += [
        ("CD1_3", _number(grid.cd[0][2]), ""),
        ("CD2_3", _number(grid.cd[1][2]), ""),
        ("CD3_1", _number(grid.cd[2][0]), ""),
        ("CD3_2", _number(grid.cd[2][1]), ""),
    ]
    if sdp:
        cards += [(f"CSYER{n}", -1.0, "[deg] Systematic error in coordinate") for n in (1, 2)]
    return cards


def image_cards(grid: OutputGrid, unit: str, sdp: bool = False) -> list[Card]:
    """Cards (after the structure) of the DATA extension of an image product."""
    return [*spatial_cards(grid), ("INHERIT", True, ""), *_data_cards(unit, sdp, with_variance=False)]


def image_pair_cards(grid: OutputGrid, unit: str, sdp: bool = False) -> tuple[list[Card], list[Card]]:
    """Cards of the DATA and STAT extensions of an image product that has both."""
    common: list[Card] = [*spatial_cards(grid), ("INHERIT", True, "")]
    return [*common, *_data_cards(unit, sdp, with_variance=True)], [*common, *_variance_cards(unit, sdp)]


def cube_cards(grid: OutputGrid, extname: str, unit: str, object_name: str, sdp: bool = False) -> list[Card]:
    """Cards (after the structure) of the DATA or STAT extension of a cube."""
    title = f"{object_name} ({extname})" if object_name else f"({extname})"
    cards: list[Card] = [("OBJECT", title, ""), *spatial_cards(grid), *spectral_cards(grid, sdp)]
    cards += _data_cards(unit, sdp, with_variance=True) if extname == "DATA" else _variance_cards(unit, sdp)
    return cards


def _data_cards(unit: str, sdp: bool, *, with_variance: bool) -> list[Card]:
    return [
        ("EXTNAME", "DATA", "This extension contains data values"),
        *HDU_CLASS,
        DATA_CLASS,
        *([("ERRDATA", "STAT", "pointer to the variance extension")] if with_variance else []),
        ("BUNIT", data_unit_text(unit, sdp), ""),
    ]


def _variance_cards(unit: str, sdp: bool) -> list[Card]:
    return [
        ("EXTNAME", "STAT", "This extension contains data variance"),
        *HDU_CLASS,
        ("HDUCLAS2", "ERROR", "this extension contains variance"),
        ("HDUCLAS3", "MSE", "the extension contains variances (sigma**2)"),
        ("SCIDATA", "DATA", "pointer to the data extension"),
        ("BUNIT", variance_unit_text(unit, sdp), ""),
    ]


def _number(value: Any) -> float:
    return float(value) + 0.0  # turns -0.0 into 0.0

# SPDX-License-Identifier: BSD-3-Clause
"""The sky products of `muse_scipost` as HDU lists, with units and quality-control keywords.

Every builder returns ``(hdus, qc)``: the HDU list for ``ctx.save`` and the list of ``(key, value,
comment)``.  Which header the product inherits is the recipe's business.  Measured against 2.8.7: SKY_IMAGE
and SKY_MASK carry the header before the radial-velocity and astrometry steps, SKY_SPECTRUM the same plus
SPECSYS, SKY_LINES and SKY_CONTINUUM the header after both steps (with CRPIX, CD, CTYPE and CUNIT of the
intermediate coordinates, no CRVAL).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.framework.binary_table import BinaryTable
from muse_core.postproc.white_light.image import pixel_wcs_cards

if TYPE_CHECKING:
    from muse_core.postproc.sky.line_list import SkyLines
    from muse_core.postproc.sky.refinement import SliceRefinement
    from muse_core.postproc.sky.spectrum import SkySpectrum
    from muse_core.postproc.white_light.sky_mask import SkyMask

Qc = list[tuple[str, object, str]]
MISSING_DATA = 1 << 30
LINE_FLUX_UNIT = "10**(-20)*erg/(s cm^2 arcsec^2)"
CONTINUUM_UNIT = "erg/(s cm^2 arcsec^2)"


def sky_image(
    image: npt.NDArray[np.float32],
    x_low: float,
    y_low: float,
    data_unit: str,
    filter_fraction: float,
    filter_name: str = "white",
) -> tuple[fits.HDUList, Qc]:
    """Build SKY_IMAGE: the white-light image with its DQ plane; empty pixels are 0 with the flag 1 << 30.

    Parameters
    ----------
    image : float32[ny, nx], NaN where empty
    x_low, y_low : coordinates of the first pixel
    data_unit : BUNIT of the pixel table
    filter_fraction : percentage of the filter that the table covers
    """
    primary = fits.PrimaryHDU()
    primary.header["HIERARCH ESO DRS MUSE FILTER NAME"] = (filter_name, "filter name used")
    primary.header["HIERARCH ESO DRS MUSE FILTER FRACTION"] = (filter_fraction, "[%] fraction of filter")
    empty = ~np.isfinite(image)
    data = fits.ImageHDU(np.where(empty, np.float32(0), image).astype(np.float32))
    dq = fits.ImageHDU(np.where(empty, MISSING_DATA, 0).astype(np.int32))
    for hdu, name in ((data, "DATA"), (dq, "DQ")):
        header = hdu.header
        for key, value in pixel_wcs_cards(x_low, y_low):
            header[key] = value
        header["INHERIT"] = True
        what = "data values" if name == "DATA" else "bad pixel status values"
        header["EXTNAME"] = (name, f"This extension contains {what}")
        header["HDUCLASS"] = ("ESO", "class name (ESO format)")
        header["HDUDOC"] = ("DICD", "document with class description")
        header["HDUVERS"] = ("DICD version 6", "version number")
        header["HDUCLAS1"] = ("IMAGE", "Image data format")
    data.header["HDUCLAS2"] = ("DATA", "this extension contains the data itself")
    data.header["QUALDATA"] = ("DQ", "pointer to the bad pixel mask extension")
    data.header["BUNIT"] = data_unit
    dq.header["HDUCLAS2"] = ("QUALITY", "this extension contains the bad pixel mask")
    dq.header["HDUCLAS3"] = ("FLAG32BIT", "32 bit Euro3D bad pixel information")
    dq.header["QUALMASK"] = (4294967295, "all non-zero values are bad")
    dq.header["SCIDATA"] = ("DATA", "pointer to the data extension")
    return fits.HDUList([primary, data, dq]), []


def sky_mask(mask: SkyMask) -> tuple[fits.HDUList, Qc]:
    """Build SKY_MASK: 1 = sky, with the limits that made it."""
    primary = fits.PrimaryHDU(mask.mask.astype(np.uint8))
    for key, value in pixel_wcs_cards(*mask.crval):
        primary.header[key] = value
    qc: Qc = [
        ("ESO QC SCIPOST LOWLIMIT", mask.low, "Low limit in the white light image"),
        ("ESO QC SCIPOST THRESHOLD", mask.threshold, "Threshold in the white light image"),
    ]
    return fits.HDUList([primary]), qc


def sky_spectrum(spectrum: SkySpectrum, data_unit: str, stat_unit: str) -> tuple[fits.HDUList, Qc]:
    """Build SKY_SPECTRUM (its primary header has BITPIX 16 in the C pipeline)."""
    primary = fits.PrimaryHDU()
    primary.header["BITPIX"] = 16
    table = BinaryTable.from_columns(
        [
            fits.Column("lambda", "1D", unit="Angstrom", array=spectrum.lam),
            fits.Column("data", "1D", unit=data_unit, array=spectrum.data),
            fits.Column("stat", "1D", unit=stat_unit, array=spectrum.stat),
            fits.Column("dq", "1J", array=np.zeros(spectrum.lam.size, dtype=np.int32)),
        ]
    )
    return fits.HDUList([primary, table]), []


def sky_lines(lines: SkyLines) -> tuple[fits.HDUList, Qc]:
    """Build SKY_LINES; the QC keywords name the strongest line of each group."""
    width = max([len(name) for name in lines.name] + [1])
    table = BinaryTable.from_columns(
        [
            fits.Column("name", f"{width}A", array=np.array(lines.name, dtype=f"S{width}")),
            fits.Column("group", "1J", array=lines.group.astype(np.int32)),
            fits.Column("lambda", "1D", unit="Angstrom", array=lines.lam),
            fits.Column("flux", "1D", unit=LINE_FLUX_UNIT, array=lines.flux),
            fits.Column("dq", "1J", array=lines.dq.astype(np.int32)),
        ],
        name="LINES",
    )
    qc: Qc = []
    for group in np.unique(lines.group):
        members = np.flatnonzero(lines.group == group)
        i = members[np.argmax(lines.flux[members])]
        key = f"ESO QC SCIPOST LINE{group + 1}"
        qc.append((f"{key} NAME", lines.name[i], "Name of the strongest line of the group"))
        qc.append((f"{key} AWAV", float(lines.lam[i]), "[Angstrom] Its air wavelength"))
        qc.append((f"{key} FLUX", float(lines.flux[i]), "[erg/(s cm2 arcsec2)] Its flux"))
    return fits.HDUList([fits.PrimaryHDU(), table]), qc


def sky_continuum(
    lam: npt.NDArray[np.float64], flux: npt.NDArray[np.float64], unit: str = CONTINUUM_UNIT
) -> tuple[fits.HDUList, Qc]:
    """Build SKY_CONTINUUM; QC: plain sum of the fluxes, and the largest slope between two nodes.

    The C pipeline gives the fluxes the unit of the data instead when the profiles came as a table.
    """
    table = BinaryTable.from_columns(
        [
            fits.Column("lambda", "1D", unit="Angstrom", array=lam),
            fits.Column("flux", "1D", unit=unit, array=flux),
        ],
        name="CONTINUUM",
    )
    slope = np.abs(np.diff(flux) / np.diff(lam))
    qc: Qc = [
        ("ESO QC SCIPOST CONT FLUX", float(flux.sum()), "[erg/(s cm2 arcsec2)] Total flux of the continuum"),
        (
            "ESO QC SCIPOST CONT MAXDEV",
            float(slope.max(initial=0.0)),
            "[erg/(s cm2 arcsec2 Angstrom)] Largest slope",
        ),
    ]
    return fits.HDUList([fits.PrimaryHDU(), table]), qc


def sky_refinement(refinement: SliceRefinement) -> fits.HDUList:
    """Build SKY_REFINEMENT: errors of throughput, wavelength and squared profile width of each slice.

    As a table, and as pictures of the instrument (slices along x, IFUs along y), NaN where there are no rows.
    """
    units = {"shift": "Angstrom", "shift_slope": "Angstrom", "width2": "Angstrom**2"}
    columns = [
        fits.Column(name, "1J" if values.dtype.kind == "i" else "1D", unit=units.get(name), array=values)
        for name, values in refinement.columns_of_table().items()
    ]
    hdus = fits.HDUList([fits.PrimaryHDU(), BinaryTable.from_columns(columns, name="SLICES")])
    for name, values in refinement.pictures().items():
        hdus.append(fits.ImageHDU(values, name=name.upper()))
        if name in units:
            hdus[-1].header["BUNIT"] = units[name]
    return hdus

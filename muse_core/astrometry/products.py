# SPDX-License-Identifier: BSD-3-Clause
"""Products of muse_astrometry: ASTROMETRY_WCS, and the detection image in DATACUBE_ASTROMETRY."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.data.header_values import get_str, single_precision
from muse_core.framework.products import set_card
from muse_core.resampling.cube_cards import DATA_CLASS, HDU_CLASS, spatial_cards
from muse_core.stars.cube import TOPOCENTRIC, product_base

if TYPE_CHECKING:
    from muse_core.astrometry.solution import Solution
    from muse_core.astrometry.steps import Found
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.resampling.grid import OutputGrid

DETECTION = "ASTROMETRY_DETECTION"
SOURCES = "ASTROMETRY_SOURCES"


@dataclass(frozen=True)
class AstrometricField:
    """An exposure with its solution.

    Parameters
    ----------
    exposure : Reduction
    ra, dec : float64[m]
        stars of the catalogue [deg]
    found : Found
    angle_deg : float
        position angle of the field
    """

    exposure: Reduction
    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]
    found: Found
    angle_deg: float


def wcs_cards(solution: Solution, suffix: str = "") -> list[Card]:
    """Return the world coordinates of a solution."""
    text, errors = "Coordinate transformation matrix element", solution.spread
    cards: list[Card] = [(f"WCSAXES{suffix}", 2, "Number of coordinate axes")]
    for n in (1, 2):
        cards.append((f"CRPIX{n}{suffix}", solution.crpix[n - 1], "Pixel coordinate of reference point"))
    for i in (1, 2):
        for j in (1, 2):
            cards.append((f"CD{i}_{j}{suffix}", float(solution.cd[i - 1, j - 1]), text))
    for n in (1, 2):
        cards.append((f"CUNIT{n}{suffix}", "deg", "Units of coordinate increment and value"))
    for n, ctype, name in ((1, "RA---TAN", "Right ascension"), (2, "DEC--TAN", "Declination")):
        cards.append((f"CTYPE{n}{suffix}", ctype, f"{name}, gnomonic projection"))
    for n in (1, 2):
        value = solution.crval[n - 1]
        cards.append((f"CRVAL{n}{suffix}", value, "[deg] Coordinate value at reference point"))
    for n in (1, 2):
        cards.append((f"CSYER{n}{suffix}", errors[n - 1] / 3600.0, "[deg] Systematic error in coordinate"))
    return cards


def detection_extensions(
    field: AstrometricField,
    image: npt.NDArray[np.float64],
    variance: npt.NDArray[np.float64],
    grid: OutputGrid,
    solution: Solution,
) -> Sequence[fits.ImageHDU]:
    """Build the extensions of the cube with the image in which stars were searched, and its variance.

    Parameters
    ----------
    solution : with the position angle of the field, as the pixels of this image are
    """
    name = get_str(field.exposure.product.header, "OBJECT") or ""
    unit = field.exposure.product.data_unit
    data: list[Card] = [
        ("EXTNAME", DETECTION, "reconstructed image (data values)"), *HDU_CLASS, DATA_CLASS,
        ("ERRDATA", f"{DETECTION}_STAT", "pointer to the variance extension"), ("BUNIT", unit, ""),
    ]  # fmt: skip
    stat: list[Card] = [
        ("EXTNAME", f"{DETECTION}_STAT", "reconstructed image (variance)"), *HDU_CLASS,
        ("HDUCLAS2", "ERROR", "this extension contains variance"),
        ("HDUCLAS3", "MSE", "the extension contains variances (sigma**2)"),
        ("SCIDATA", DETECTION, "pointer to the data extension"), ("BUNIT", f"({unit})**2", ""),
    ]  # fmt: skip
    hdus = []
    for values, title, own in ((image, DETECTION, data), (variance, f"{DETECTION}, STAT", stat)):
        hdu = fits.ImageHDU(values.astype(np.float32))
        cards: list[Card] = [("OBJECT", f"{name} ({title})", ""), *spatial_cards(grid), *own]
        cards += [*wcs_cards(solution, "S"), ("WCSNAMES", "Solution", "")]
        for key, value, comment in cards:
            hdu.header[key] = (value, comment[:47])
        hdus.append(hdu)
    return hdus


def save_solution(field: AstrometricField, used: Sequence[Frame], p: ParamValues, ctx: RunContext) -> None:
    """Write ASTROMETRY_WCS: the solution in the primary header, and the stars as a table."""
    found = field.found
    base = product_base(field.exposure)
    set_card(base, *TOPOCENTRIC)
    primary = fits.PrimaryHDU()
    cards = [
        *wcs_cards(found.solution),
        ("LONPOLE", 180.0, "[deg] Native longitude of celestial pole"),
        ("LATPOLE", found.solution.crval[1], "[deg] Native latitude of celestial pole"),
        ("MJDREF", 0.0, "[d] MJD of fiducial time"),
        ("BUNIT", field.exposure.product.data_unit, ""),
    ]
    cards.append(("ESO DRS MUSE WCS RADIUS", float(p.radius), "[pix] final radius used"))
    if p.faccuracy > 0.0:
        cards += [
            ("ESO DRS MUSE WCS ACCURACY", float(p.faccuracy), "final accuracy used"),
            ("ESO DRS MUSE WCS FACCURACY", float(p.faccuracy), "faccuracy used"),
        ]
    cards.append(("ESO DRS MUSE WCS DETSIGMA", float(found.level), "detsigma used"))
    for card in cards:
        set_card(primary.header, *card)
    ctx.save(
        "ASTROMETRY_WCS", fits.HDUList([primary, sources_table(field)]), base=base, used=used,
        qc=quality_cards(field, ctx), index=field.exposure.number,
    )  # fmt: skip


def quality_cards(field: AstrometricField, ctx: RunContext) -> list[Card]:
    """QC keywords of a solution."""
    solution, prefix = field.found.solution, ctx.spec.qc_prefix
    text = "Number of stars identified for the astrometric solution"
    cards: list[Card] = [(f"{prefix} NSTARS", len(field.found.match), text)]
    for name, values, unit, what in (
        ("SCALE", solution.scales, "arcsec", "Computed scale"),
        ("ANGLE", solution.angles, "deg", "Computed angle"),
        ("MEDRES", solution.spread, "arcsec", "Median residuals of astrometric fit"),
    ):
        for axis, value in zip("XY", values, strict=True):
            text = f"[{unit}] {what} in {axis.lower()}-direction"
            cards.append((f"{prefix} {name} {axis}", single_precision(value), text))
    if not ctx.defects:
        kept = int(np.count_nonzero(solution.kept))
        cards += [
            (f"{prefix} NFIT", kept, "Number of stars in the last fit"),
            (f"{prefix} NDETECT", len(field.found.positions), "Number of stars measured"),
            (f"{prefix} POSANG", single_precision(field.angle_deg), "[deg] Position angle, taken out"),
        ]
        for name, errors, unit in (
            ("SCALE", solution.scale_errors, "arcsec"), ("ANGLE", solution.angle_errors, "deg"),
        ):  # fmt: skip
            for axis, value in zip("XY", errors, strict=True):
                if np.isfinite(value):
                    text = f"[{unit}] Error of the {name.lower()} in {axis.lower()}"
                    cards.append((f"{prefix} {name} ERR {axis}", single_precision(value), text))
    return cards


def sources_table(field: AstrometricField) -> fits.BinTableHDU:
    """Build the table of the identified stars, brightest first."""
    found = field.found
    stars = [found.positions[k] for k in found.match.image]
    columns = [
        fits.Column(name, "1D", unit=unit, array=np.array([getattr(star, attribute) for star in stars]))
        for name, unit, attribute in (
            ("XPOS", "pix", "x"), ("YPOS", "pix", "y"),
            ("XERR", "pix", "x_error"), ("YERR", "pix", "y_error"), ("FLUX", "count", "flux"),
            ("XFWHM", "pix", "x_fwhm"), ("YFWHM", "pix", "y_fwhm"),
        )
    ]  # fmt: skip
    columns += [
        fits.Column("RA", "1D", array=field.ra[found.match.catalogue]),
        fits.Column("DEC", "1D", array=field.dec[found.match.catalogue]),
    ]
    return fits.BinTableHDU.from_columns(columns, name=SOURCES)

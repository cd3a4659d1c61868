# SPDX-License-Identifier: BSD-3-Clause
"""Products of muse_standard: STD_FLUXES, STD_RESPONSE, STD_TELLURIC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from muse_core.data.header_values import seven_digits, single_precision
from muse_core.framework.products import set_card
from muse_core.resampling.cube_cards import DATA_CLASS, HDU_CLASS
from muse_core.stars.cube import TOPOCENTRIC, product_base

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.framework import Frame, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.resampling.collapse import Filter
    from muse_core.standard.extraction import StarSpectrum
    from muse_core.standard.response import Response, Sensitivity
    from muse_core.stars.cube import StarCube

RESPONSE_UNIT = "2.5*log10((count/s/Angstrom)/(erg/s/cm**2/Angstrom))"
AREA_CM2 = 483250.76
"""Effective area of the telescope (measured in throughputs of 2.8.7)."""
PLANCK_LIGHT = 6.62607015e-27 * 2.99792458e18
"""h c [erg Angstrom], CODATA 2018."""
FAILED_VARIANCE = 3.4e38
THROUGHPUT_AT = (5000, 7000, 8000, 9000)
HALF_RANGE = 100.0
NO_ZEROPOINT = -99.0
BANDS = (("V", "Johnson", "Johnson_V"), ("R", "Cousins", "Cousins_R"), ("I", "Cousins", "Cousins_I"))


@dataclass(frozen=True)
class StandardStar:
    """A standard star exposure with all that was measured.

    Parameters
    ----------
    exposure : Reduction
    cube : StarCube
    profile : how fluxes were measured
    spectra : of all stars
    positions : right ascension and declination of each [deg]
    chosen : number of the standard star (from 0)
    select : how it was chosen
    response : Response
    reference : (wavelength, flux, error) it should have
    """

    exposure: Reduction
    cube: StarCube
    profile: str
    spectra: list[StarSpectrum]
    positions: list[tuple[float, float]]
    chosen: int
    select: str
    response: Response
    reference: tuple[Floats, Floats, Floats]


def throughput_of(table: Sensitivity) -> Floats:
    """Part of the photons above the atmosphere that are counted."""
    return 10.0 ** (0.4 * table.value) * PLANCK_LIGHT / (table.lam * AREA_CM2)


def save_products(
    star: StandardStar, filters: Sequence[Filter], used: Sequence[Frame], ctx: RunContext
) -> None:
    """Write the products of an exposure but for its cube."""
    base, number = product_base(star.exposure), star.exposure.number
    ctx.save("STD_FLUXES", fluxes_hdus(star, ctx), base=base, used=used, index=number)
    set_card(base, *TOPOCENTRIC)
    response = star.response
    ctx.save(
        "STD_RESPONSE", response_hdus(response), base=base, used=used, index=number,
        qc=quality_cards(star, filters, ctx),
    )  # fmt: skip
    ctx.save("STD_TELLURIC", telluric_hdus(response), base=base, used=used, index=number)


def fluxes_hdus(star: StandardStar, ctx: RunContext) -> fits.HDUList:
    """Build STD_FLUXES: one row per star, with variance and flags."""
    good = np.array([spectrum.error >= 0.0 for spectrum in star.spectra])
    flux = np.array([spectrum.flux for spectrum in star.spectra])
    error = np.array([spectrum.error for spectrum in star.spectra])
    power = (
        1 if ctx.defects.star_error_as_variance else 2
    )  # C: standard deviations under the name of variances
    data = np.where(good, flux, 0.0).astype(np.float32)
    stat = np.where(good, np.minimum(np.abs(error) ** power, FAILED_VARIANCE), FAILED_VARIANCE)
    unit = star.exposure.product.data_unit
    primary = fits.PrimaryHDU()
    for card in _object_cards(star, data, unit):
        set_card(primary.header, *card)
    planes = (
        ("DATA", "data values", data, (*_links("QUALDATA", "ERRDATA"), ("BUNIT", unit, ""))),
        ("DQ", "bad pixel status values", np.zeros(data.shape, np.int32), ()),
        ("STAT", "data variance", stat.astype(np.float32), (("BUNIT", f"({unit})**2", ""),)),
    )
    return fits.HDUList([primary, *(_extension(star, *plane) for plane in planes)])


def _links(*names: str) -> list[Card]:
    told = {
        "QUALDATA": ("QUALDATA", "DQ", "pointer to the bad pixel mask extension"),
        "ERRDATA": ("ERRDATA", "STAT", "pointer to the variance extension"),
        "SCIDATA": ("SCIDATA", "DATA", "pointer to the data extension"),
    }
    return [told[name] for name in names]


def _extension(
    star: StandardStar, name: str, what: str, values: np.ndarray, more: Sequence[Card]
) -> fits.ImageHDU:
    grid = star.cube.grid
    cards: list[Card] = [
        ("CRVAL1", float(grid.crval[2]), ""), ("CRPIX1", 1.0, ""), ("CD1_1", float(grid.dlambda), ""),
        ("CTYPE1", "AWAV", ""), ("CUNIT1", "Angstrom", ""), ("CRVAL2", 1.0, ""), ("CRPIX2", 1.0, ""),
        ("CD2_2", 1.0, ""), ("CTYPE2", "PIXEL", ""), ("CUNIT2", "pixel", ""), ("CD1_2", 0.0, ""),
        ("CD2_1", 0.0, ""), ("INHERIT", True, ""), ("EXTNAME", name, f"This extension contains {what}"),
        *HDU_CLASS,
    ]  # fmt: skip
    if name == "DATA":
        cards.append(DATA_CLASS)
    elif name == "DQ":
        cards += [
            ("HDUCLAS2", "QUALITY", "this extension contains bad pixel mask"),
            ("HDUCLAS3", "FLAG32BIT", "32bit Euro3D bad pixel information"),
            ("QUALMASK", 4294967295, "all non-zero values are bad"),
            *_links("SCIDATA", "ERRDATA"),
        ]
    else:
        cards += [
            ("HDUCLAS2", "ERROR", "this extension contains variance"),
            ("HDUCLAS3", "MSE", "the extension contains variances (sigma**2)"),
            *_links("SCIDATA", "QUALDATA"),
        ]
    hdu = fits.ImageHDU(values)
    for key, value, comment in (*cards, *more):
        hdu.header[key] = (value, comment)
    return hdu


def _object_cards(star: StandardStar, data: np.ndarray, unit: str) -> list[Card]:
    prefix = "ESO DRS MUSE FLUX"
    cards: list[Card] = [
        (f"{prefix} NOBJ", len(star.spectra), "Number of objects detected in standard star cube")
    ]
    for number, (spectrum, position) in enumerate(zip(star.spectra, star.positions, strict=True), 1):
        key = f"{prefix} OBJ{number}"
        cards += [
            (f"{key} X", seven_digits(spectrum.star.x), "[pix] Object x position in cube"),
            (f"{key} Y", seven_digits(spectrum.star.y), "[pix] Object y position in cube"),
            (f"{key} RA", position[0], "[deg] Approximate RA coordinate of object"),
            (f"{key} DEC", position[1], "[deg] Approximate DEC coordinate of object"),
            (
                f"{key} INTFLUX",
                float(data[number - 1].astype(np.float64).sum()),
                f"[{unit}] Flux, summed over planes",
            ),
        ]
    how = "brightest" if star.select == "flux" else "nearest"
    cards.append((f"{prefix} NSEL", star.chosen + 1, f"Object ({how}) selected as standard star"))
    return cards


def _primary() -> fits.PrimaryHDU:
    """Return a primary HDU as the C recipe gives to tables."""
    primary = fits.PrimaryHDU()
    primary.header["BITPIX"] = 16
    return primary


def response_hdus(response: Response) -> fits.HDUList:
    """Build STD_RESPONSE."""
    smooth, unsmoothed = response.smooth, response.unsmoothed
    columns = [
        fits.Column("lambda", "1D", unit="Angstrom", array=smooth.lam),
        fits.Column("response", "1D", unit=RESPONSE_UNIT, array=smooth.value),
        fits.Column("resperr", "1D", unit=RESPONSE_UNIT, array=smooth.error),
    ]
    if response.smoothed:
        columns += [
            fits.Column("response_unsmoothed", "1D", unit=RESPONSE_UNIT, array=unsmoothed.value),
            fits.Column("resperr_unsmoothed", "1D", unit=RESPONSE_UNIT, array=unsmoothed.error),
        ]
    columns.append(fits.Column("throughput", "1D", array=throughput_of(smooth)))
    return fits.HDUList([_primary(), fits.BinTableHDU.from_columns(columns)])


def telluric_hdus(response: Response) -> fits.HDUList:
    """Build STD_TELLURIC."""
    lam, factor, error = response.telluric
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("lambda", "1D", unit="Angstrom", array=lam),
            fits.Column("ftelluric", "1D", array=factor),
            fits.Column("ftellerr", "1D", array=error),
        ]
    )
    return fits.HDUList([_primary(), table])


def quality_cards(star: StandardStar, filters: Sequence[Filter], ctx: RunContext) -> list[Card]:
    """QC keywords of STD_RESPONSE: name of the star, throughputs, zeropoints."""
    prefix = ctx.spec.qc_prefix
    name = star.exposure.keywords.text("ESO OBS TARG NAME")
    if not name:
        ctx.log.warning("Unknown standard star in exposure (missing OBS.TARG.NAME)!")
    cards: list[Card] = [(f"{prefix} STARNAME", name or "UNKNOWN", "Name of the standard star used")]
    table = star.response.smooth
    throughput = throughput_of(table)
    for wavelength in THROUGHPUT_AT:
        near = np.abs(table.lam - wavelength) <= HALF_RANGE
        if near.any():
            value = single_precision(float(throughput[near].mean()))
            text = f"Throughput computed at {wavelength} +/- {HALF_RANGE:.0f} Angstrom"
            cards.append((f"{prefix} THRU{wavelength}", value, text))
    for letter, system, filter_name in BANDS:
        curve = next((band for band in filters if band.name == filter_name), None)
        zeropoint = NO_ZEROPOINT if curve is None else zero_point(table, throughput, curve, star.reference)
        text = f"[mag] Zeropoint in {system} {letter} filter. zp = -2.5 log10(fobs/fref)"
        cards.append((f"{prefix} ZP {letter}", single_precision(zeropoint), text))
    return cards


def zero_point(
    table: Sensitivity, throughput: Floats, curve: Filter, reference: tuple[Floats, Floats, Floats]
) -> float:
    """Return the throughput through a filter, weighted with the light of the star, in magnitudes."""
    weight = curve.at(table.lam) * np.interp(table.lam, reference[0], reference[1], left=0.0, right=0.0)
    total = float(weight.sum())
    return -2.5 * float(np.log10((weight * throughput).sum() / total)) if total > 0.0 else NO_ZEROPOINT

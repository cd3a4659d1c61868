# SPDX-License-Identifier: BSD-3-Clause
"""The tables and QC keywords of the recipe muse_imphot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from imphot.results import FittedImagePhotometry
from muse_core.photometry.exposures import Exposure, Fit

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU

    from muse_core.framework.products import Card

__all__ = ["imphot_table", "offset_rows", "qc_cards"]

VALUES = ("SCALE", "BG", "DX", "DY", "DRA", "DDEC", "FWHM", "BETA")
UNITS = {"DX": "arcsec", "DY": "arcsec", "DRA": "arcsec", "DDEC": "arcsec", "FWHM": "arcsec"}
LEAST_SCALE, MOST_SCALE = 1e-2, 1e2
"""Flux scales beyond come from images in other units, or without light."""
UNUSABLE = 1 | 2 | 16  # flags that keep a fit out of the offset table
QC_COMMENTS = {
    "FWHM": "[arcsec] width of the MUSE PSF",
    "BETA": "Moffat index of the MUSE PSF",
    "SCALE": "flux scale MUSE / HST",
    "BG": "background MUSE - scale HST",
    "DX": "[arcsec] offset along x",
    "DY": "[arcsec] offset along y",
    "DRA": "[arcsec] offset in RA, no cos(DEC)",
    "DDEC": "[arcsec] offset in DEC",
}


def imphot_table(exposures: Sequence[Exposure]) -> BinTableHDU:
    """IMPHOT_TABLE: one row per image and method, as astropy BinTableHDU."""
    from astropy.io import fits

    rows = [(e, f) for e in exposures for f in e.fits]
    longest = max(len(e.name) for e in exposures) or 1
    columns = [
        fits.Column("NAME", f"{longest}A", array=[as_ascii(e.name) for e, _ in rows]),
        fits.Column("METHOD", "8A", array=[f.engine if f.method == "image" else "star" for _, f in rows]),
        fits.Column("DATE_OBS", "23A", array=[as_ascii(e.date)[:23] for e, _ in rows]),
        fits.Column("MJD_OBS", "D", unit="d", array=[e.mjd for e, _ in rows]),
    ]
    for name in VALUES:
        values = [getattr(f, name.lower()) for _, f in rows]
        unit = UNITS.get(name)
        columns.append(fits.Column(name, "D", unit=unit, array=[v.value for v in values]))
        columns.append(fits.Column(f"{name}_ERR", "D", unit=unit, array=[v.stdev for v in values]))
        columns.append(fits.Column(f"{name}_FIXED", "L", array=[bool(v.fixed) for v in values]))
    columns.append(fits.Column("RMS", "D", array=[f.rms_error for _, f in rows]))
    columns.append(fits.Column("CHI2", "D", array=[_chi2(f) for _, f in rows]))
    columns.append(fits.Column("NPIX", "J", array=[int(f.npix or 0) for _, f in rows]))
    columns.append(fits.Column("FLAG", "J", array=[f.flag for _, f in rows]))
    return fits.BinTableHDU.from_columns(columns, name="IMPHOT_TABLE")


def as_ascii(text: str) -> str:
    """Text as tables of FITS can hold it: of other letters a question mark is left.

    >>> as_ascii("Objekt_ä")
    'Objekt_?'
    """
    return text.encode("ascii", "replace").decode("ascii")


def _chi2(fit: Fit) -> float:
    return float(fit.rchi if isinstance(fit, FittedImagePhotometry) else fit.muse_rchi)


def offset_rows(
    exposures: Sequence[Exposure], warn: Callable[..., None]
) -> tuple[BinTableHDU, list[Exposure]]:
    """OFFSET_LIST as astropy BinTableHDU, and the exposures in it.

    The header coordinates of an exposure are to be reduced by RA_OFFSET and DEC_OFFSET, its data to be
    multiplied by FLUX_SCALE.
    """
    from astropy.io import fits

    good = []
    for e in exposures:
        if e.best.flag & UNUSABLE or not e.best.scale.value > 0:
            warn(
                "%s: the fit cannot be trusted (flag %d), it gets no row in the OFFSET_LIST",
                e.name,
                e.best.flag,
            )
        elif not LEAST_SCALE <= 1.0 / e.best.scale.value <= MOST_SCALE:
            warn(
                "%s: FLUX_SCALE would be %.3g, which no calibration is off by: it gets no row in the "
                "OFFSET_LIST (check the units of the images, BUNIT)",
                e.name,
                1.0 / e.best.scale.value,
            )
        elif not e.date:
            warn("%s: no DATE-OBS in its header, it gets no row in the OFFSET_LIST", e.name)
        else:
            good.append(e)
    columns = [
        fits.Column("DATE_OBS", "23A", disp="A23", array=np.array([as_ascii(e.date) for e in good], "U23")),
        fits.Column("MJD_OBS", "D", unit="s", array=np.array([e.mjd for e in good])),
        fits.Column("RA_OFFSET", "D", unit="deg", array=np.array([e.best.dra.value for e in good]) / 3600.0),
        fits.Column(
            "DEC_OFFSET", "D", unit="deg", array=np.array([e.best.ddec.value for e in good]) / 3600.0
        ),
        fits.Column("FLUX_SCALE", "D", array=np.array([1.0 / e.best.scale.value for e in good])),
    ]
    return fits.BinTableHDU.from_columns(columns), good


def qc_cards(fits_: Sequence[Fit]) -> list[Card]:
    """QC keywords of one fit, or the medians of several."""
    cards: list[Card] = []
    for name, comment in QC_COMMENTS.items():
        values = [getattr(f, name.lower()) for f in fits_]
        errors = [v.stdev for v in values if not v.fixed]  # a value that is held has none
        cards += _card(f"ESO QC IMPHOT {name}", [v.value for v in values], comment)
        cards += _card(f"ESO QC IMPHOT {name} ERR", errors, "standard error")
    cards += _card("ESO QC IMPHOT RMS", [f.rms_error for f in fits_], "rms of image - model")
    cards += _card("ESO QC IMPHOT CHI2", [_chi2(f) for f in fits_], "reduced chi squared")
    cards.append(("ESO QC IMPHOT NPIX", int(np.median([f.npix or 0 for f in fits_])), "pixels used"))
    cards.append(("ESO QC IMPHOT NITER", int(np.median([f.niter for f in fits_])), "model evaluations"))
    cards.append(
        (
            "ESO QC IMPHOT FLAG",
            int(np.bitwise_or.reduce([f.flag for f in fits_])),
            "warnings of the fit, 0 = none",
        )
    )
    return cards


def _card(key: str, values: Iterable[float | None], comment: str) -> list[Card]:
    """The median as a keyword; none where nothing was measured."""
    finite = [v for v in values if v is not None and np.isfinite(v)]
    return [(key, float(np.median(finite)), comment)] if finite else []

# SPDX-License-Identifier: BSD-3-Clause
"""Relative illumination of the slices of one IFU, from an attached lamp flat."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.detector.calibrations import IfuCalibration
from muse_core.detector.exposure import calibrate_rows, fit_raw
from muse_core.detector.image import Image, bands
from muse_core.detector.pixels import slice_medians
from muse_core.detector.plan import OverscanPlan
from muse_core.detector.rawframe import RawFile
from muse_core.detector.rows import RowWavelengths
from muse_core.detector.tables import NSLICE
from muse_core.framework.errors import InputError

BAND = (6500.0, 7500.0)  # Angstrom


@dataclass(frozen=True)
class IllumModel:
    """Median of each slice in the lamp flat and the factor its sky-flat data get (float64[48])."""

    medians: npt.NDArray[np.float64]
    factors: npt.NDArray[np.float64]


def fit_illum(medians: npt.NDArray[np.float64]) -> IllumModel:
    """Factors of the slices from their medians between 6500 and 7500 Angstrom.

    The sky flat is divided by the normalised median, as C pipeline 2.8.7 does (its manual says multiplied).

    Parameters
    ----------
    medians : float64[48]
        NaN for a slice without pixels (it gets the factor 1).

    Raises
    ------
    InputError
        If a slice has no usable median.
    """
    seen = ~np.isnan(medians)
    bad = (seen & ~(medians > 0)) | (medians == np.inf)
    if bad.any() or not seen.any():
        slices = ", ".join(str(s + 1) for s in np.flatnonzero(bad | ~seen)[:5])
        raise InputError(
            "",
            f"ILLUM: no positive median between {BAND[0]:.0f} and {BAND[1]:.0f} Angstrom in "
            f"{int((bad | ~seen).sum())} slices (first ones: {slices})",
        )
    factors = np.ones(medians.size)
    inverse = 1.0 / medians[seen]
    factors[seen] = inverse / inverse.mean()
    return IllumModel(medians, factors)


def illum_model(
    lamp: RawFile, own: IfuCalibration, plan: OverscanPlan, wavelengths: RowWavelengths
) -> IllumModel | None:
    """Relative illumination of the slices from a raw lamp flat.

    Flagged pixels count, wavelengths are not shifted (measured against 2.8.7). Only the rows of the detector
    that see the band are calibrated.

    Returns
    -------
    IllumModel, or None if the detector sees nothing of the band in which the slices are compared
    """
    pixels = wavelengths.pixels
    y0, y1 = band_rows(wavelengths)
    if y0 == y1:
        return None
    raw = lamp.read(own.ifu)
    model = fit_raw(lamp, own, plan, raw)
    data = np.empty((y1 - y0, own.shape[1]), np.float32)
    for first, last in bands(y1 - y0):
        rows = Image.empty((last - first, own.shape[1]))
        calibrate_rows(raw, model, own, y0 + first, rows)
        data[first:last] = rows.data
    part = replace(
        pixels, first=pixels.first[:, y0:y1], last=pixels.last[:, y0:y1], wave=pixels.wave[:, y0:y1]
    )
    medians = slice_medians(data, part, *BAND)
    return None if np.isnan(medians).all() else fit_illum(medians)


def band_rows(wavelengths: RowWavelengths) -> tuple[int, int]:
    """First and last (exclusive) row of the detector that sees something of the band; twice 0 for none."""
    low, high = (np.float32(end) for end in BAND)
    ends = [wavelengths.rows_between(s, low, high) for s in range(NSLICE)]
    seen = [(y0, y1) for y0, y1 in ends if y1 > y0]
    return (min(y0 for y0, _ in seen), max(y1 for _, y1 in seen)) if seen else (0, 0)

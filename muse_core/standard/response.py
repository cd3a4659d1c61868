# SPDX-License-Identifier: BSD-3-Clause
"""From the fluxes of a standard star to the response curve and the absorption of the atmosphere.

The steps are those of the C pipeline 2.8.7, measured with 31 sets of fluxes (5 modes, 4 profiles, custom
regions, 3 ways of smoothing): response to 1e-10, telluric factor to 5e-13. All of them work on a table of
rows (`Sensitivity`), from which rows that are rejected disappear for the steps that follow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.data.curves import Floats
from muse_core.standard.smoothing import smooth_response

BIN_WIDTH = 1.25
"""Width [Angstrom] for which fluxes are given, that of the planes."""
BLUE_END, RED_END = 4150.0, 9800.0
"""Wavelengths [Angstrom] to which the response is extrapolated."""
FIRST = {"WFM-NOAO-N": 4750.0, "WFM-AO-N": 4690.0, "NFM-AO-N": 4690.0}
"""Fluxes below are not used; nominal modes see second-order light and the edge of their filter there."""
EXTRAPOLATED = 100
"""Rows that each end is extrapolated to."""
EDGE_A, FLAT_EDGE_A = 150.0, 15.0
"""Range [Angstrom] that gives the slope at an end; that of data with the shape of the flat-field lamp, whose
response is smooth (measured against 2.8.7)."""
ERROR_SCALE_A = 25.0
"""Distance from the end [Angstrom] over which the error of an extrapolated row grows by that of the end."""
CLIP_BAND, CLIP_EDGE = 3.0, 5.0
SMALLEST_ERROR, LARGEST_ERROR = 1e-4, 0.1
MAG_ERROR = 2.5 / math.log(10.0)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TelluricRegion:
    """A band of absorption, and the wider range from which the continuum is taken [Angstrom]."""

    low: float
    high: float
    wide_low: float
    wide_high: float


REGIONS = tuple(
    TelluricRegion(*limits)
    for limits in (
        (6273.0, 6320.0, 6213.0, 6380.0),  # molecular bands
        (6864.0, 6967.0, 6750.0, 7130.0),  # B band
        (7164.0, 7325.0, 7070.0, 7580.0),
        (7590.0, 7700.0, 7470.0, 7830.0),  # A band
        (8131.0, 8345.0, 7900.0, 8600.0),
        (8952.0, 9028.0, 8850.0, 9082.0),
        (9274.0, 9770.0, 9080.0, 9263.0),
    )
)
"""The bands of 2.8.7, for runs without TELLURIC_REGIONS."""


@dataclass(frozen=True)
class Sensitivity:
    """Rows of the response.

    Parameters
    ----------
    lam : float64[n]
        wavelength [Angstrom], increasing
    value, error : float64[n]
        response [mag] and its error
    transmission : float64[n]
        of the atmosphere at airmass 1; NaN outside of the bands
    """

    lam: Floats
    value: Floats
    error: Floats
    transmission: Floats

    def take(self, rows: npt.NDArray) -> Sensitivity:
        """Return some rows."""
        return Sensitivity(self.lam[rows], self.value[rows], self.error[rows], self.transmission[rows])

    def __len__(self) -> int:
        return int(self.lam.size)


@dataclass(frozen=True)
class Response:
    """What is saved: the curve before and after the smoothing, and the rows of the bands."""

    measured: Sensitivity
    """Rows from the star, without extrapolation and smoothing."""
    unsmoothed: Sensitivity
    smooth: Sensitivity
    telluric: tuple[Floats, Floats, Floats]
    """Wavelength, transmission, error of the transmission."""
    smoothed: bool


def interpolate_with_error(
    lam: Floats, nodes: Floats, values: Floats, errors: Floats
) -> tuple[Floats, Floats]:
    """Interpolate a curve and its errors; outside of the nodes both are 0 (as in the C pipeline).

    Examples
    --------
    >>> import numpy as np
    >>> nodes = np.array([0.0, 1.0])
    >>> value, error = interpolate_with_error(np.array([0.5]), nodes, nodes, np.array([1.0, 1.0]))
    >>> float(value[0]), round(float(error[0]), 3)
    (0.5, 0.707)
    """
    k = np.clip(np.searchsorted(nodes, lam, side="right") - 1, 0, max(nodes.size - 2, 0))
    upper = np.minimum(k + 1, nodes.size - 1)
    width = np.where(nodes[upper] > nodes[k], nodes[upper] - nodes[k], 1.0)
    t = (lam - nodes[k]) / width
    inside = (lam >= nodes[0]) & (lam <= nodes[-1])
    value = (1.0 - t) * values[k] + t * values[upper]
    error = np.sqrt(((1.0 - t) * errors[k]) ** 2 + (t * errors[upper]) ** 2)
    return np.where(inside, value, 0.0), np.where(inside, error, 0.0)


def sensitivity_of(
    lam: Floats,
    flux: Floats,
    variance: Floats,
    reference: tuple[Floats, Floats, Floats],
    extinction: tuple[Floats, Floats] | None,
    airmass: float,
    exptime: float,
) -> Sensitivity:
    """Compare the fluxes of a star with what they should be.

    Parameters
    ----------
    lam : float64[n]
        wavelengths of the planes [Angstrom]
    flux, variance : float64[n]
        counts of the star in each plane, and their variance; planes without flux are left out
    reference : (wavelength, flux, error)
        of the star [erg/s/cm^2/Angstrom]
    extinction : (wavelength, extinction) or None
        [mag per airmass]
    """
    good = flux > 0.0
    lam, flux, variance = lam[good], flux[good], variance[good]
    expected, error = interpolate_with_error(lam, *reference)
    known = expected > 0.0
    lam, flux, variance, expected, error = (a[known] for a in (lam, flux, variance, expected, error))
    absorbed = np.zeros(lam.size)
    if extinction is not None:
        absorbed = np.interp(lam, *extinction, left=0.0, right=0.0) * airmass
    value = 2.5 * np.log10(flux / (exptime * BIN_WIDTH) / expected) + absorbed
    return Sensitivity(
        lam,
        value,
        MAG_ERROR * np.sqrt(variance / flux**2 + (error / expected) ** 2),
        np.full(lam.size, np.nan),
    )


def clipped_polynomial(
    lam: Floats, values: Floats, order: int, clip: float
) -> tuple[Floats, npt.NDArray[np.bool_], float] | None:
    """Fit a polynomial, again and again without values that are off by more than `clip` times the scatter.

    Returns
    -------
    (coefficients, kept, rms) or None
        None where there are too few values; the coefficients are those of `evaluate`
    """
    kept = np.ones(lam.size, np.bool_)
    while np.count_nonzero(kept) > order + 1:
        shift, scale = _scaling(lam[kept])
        coefficients = np.polynomial.polynomial.polyfit((lam[kept] - shift) / scale, values[kept], order)
        result = np.concatenate([[shift, scale], coefficients])
        residual = values - evaluate(result, lam)
        rms = float(np.sqrt(np.mean(residual[kept] ** 2)))
        still = kept & ~(np.abs(residual) > clip * rms)
        if still.sum() == kept.sum():
            return result, kept, rms
        kept = still
    return None


def _scaling(lam: Floats) -> tuple[float, float]:
    middle = 0.5 * (lam.min() + lam.max())
    return float(middle), float(max(np.ptp(lam) / 2.0, 1e-9))


def evaluate(coefficients: Floats, lam: Floats) -> Floats:
    """Evaluate a polynomial of `clipped_polynomial`."""
    shift, scale = coefficients[:2]
    return np.polynomial.polynomial.polyval((lam - shift) / scale, coefficients[2:])


def in_bands(lam: Floats, regions: Sequence[TelluricRegion]) -> npt.NDArray[np.bool_]:
    """Say which wavelengths lie in a band of absorption."""
    inside = np.zeros(lam.size, np.bool_)
    for region in regions:
        inside |= (lam >= region.low) & (lam <= region.high)
    return inside


def interpolate_bands(
    table: Sensitivity, regions: Sequence[TelluricRegion], airmass: float, log: logging.Logger = _log
) -> Sensitivity:
    """Bridge each band by a parabola through its surroundings, and keep what is missing as transmission.

    Where the data end within or beside a band, it is a straight line. Rows of the surroundings that do not
    fit are removed.
    """
    for number, region in enumerate(regions, 1):
        wide = (table.lam >= region.wide_low) & (table.lam <= region.wide_high)
        around = np.flatnonzero(wide & ~in_bands(table.lam, regions))
        band = np.flatnonzero((table.lam >= region.low) & (table.lam <= region.high))
        place = (
            f"Telluric region {number} (range {region.low:.2f}...{region.high:.2f}, reference region "
            f"{region.wide_low:.2f}...{region.wide_high:.2f})"
        )
        if not around.size or not band.size:
            log.warning("%s outside data range!", place)
            continue
        enclosed = table.lam[around[0]] < region.low and table.lam[around[-1]] > region.high
        order = 2 if enclosed else 1
        fit = clipped_polynomial(table.lam[around], table.value[around], order, CLIP_BAND)
        if fit is None:
            log.warning("%s could not be fitted!", place)
            continue
        coefficients, kept, rms = fit
        bridged = evaluate(coefficients, table.lam[band])
        n = int(np.count_nonzero(kept))
        value, error, transmission = (np.array(a) for a in (table.value, table.error, table.transmission))
        transmission[band] = 10.0 ** (0.4 * (value[band] - bridged) / airmass)
        value[band] = bridged
        error[band] = np.sqrt(error[band] ** 2 + rms**2 / max(n - order - 1, 1))
        table = Sensitivity(table.lam, value, error, transmission)
        keep = np.ones(len(table), np.bool_)
        keep[around[~kept]] = False
        table = table.take(keep)
    return table


def extrapolate(table: Sensitivity, width: float = EDGE_A) -> Sensitivity:
    """Continue the response to both ends by straight lines through the rows of the outermost Angstrom."""
    first, last = float(table.lam[0]), float(table.lam[-1])
    for low, high in ((first, first + width), (last - width, last)):
        edge = np.flatnonzero((table.lam >= low) & (table.lam <= high))
        fit = clipped_polynomial(table.lam[edge], table.value[edge], 1, CLIP_EDGE)
        if fit is None:
            continue
        coefficients, kept, _ = fit
        keep = np.ones(len(table), np.bool_)
        keep[edge[~kept]] = False
        at_end = first if low == first else last
        error = float(table.error[np.argmin(np.abs(table.lam - at_end))])
        table = table.take(keep)
        lam = _blue_rows(first) if low == first else _red_rows(last)
        more = Sensitivity(
            lam,
            evaluate(coefficients, lam),
            error * (1.0 + np.abs(lam - at_end) / ERROR_SCALE_A),
            np.full(lam.size, np.nan),
        )
        table = _joined(more, table) if low == first else _joined(table, more)
    return table


def _joined(first: Sensitivity, second: Sensitivity) -> Sensitivity:
    pairs = zip(
        (first.lam, first.value, first.error, first.transmission),
        (second.lam, second.value, second.error, second.transmission),
        strict=True,
    )
    return Sensitivity(*(np.concatenate(pair) for pair in pairs))


def _blue_rows(first: float) -> Floats:
    """Wavelengths before the first row; the sums are those of the C pipeline (99 or 100 rows)."""
    step = (first - BLUE_END) / EXTRAPOLATED
    rows, x = [], BLUE_END
    while step > 0.0 and x <= first - step:
        rows.append(x)
        x += step
    return np.array(rows)


def _red_rows(last: float) -> Floats:
    step = (RED_END - last) / EXTRAPOLATED
    rows, x = [], last + step
    while step > 0.0 and x <= RED_END:
        rows.append(x)
        x += step
    return np.array(rows)


def telluric_rows(table: Sensitivity) -> tuple[Floats, Floats, Floats]:
    """Return wavelength, transmission and its error of the bands, with a row of 1 on both sides of each."""
    inside = np.isfinite(table.transmission)
    factor = np.where(inside, np.minimum(table.transmission, 1.0), 1.0)
    absorbed = inside & (factor < 1.0)
    runs = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    keep = inside.copy()
    for start, stop in zip(runs[::2], runs[1::2], strict=True):
        if start > 0 and absorbed[start]:
            keep[start - 1] = True
        if stop < inside.size and absorbed[stop - 1]:
            keep[stop] = True
    error = np.clip(1.0 - factor, SMALLEST_ERROR, LARGEST_ERROR)
    return table.lam[keep], factor[keep], error[keep]


def fit_response(
    table: Sensitivity,
    mode: str,
    regions: Sequence[TelluricRegion],
    airmass: float,
    smooth: str,
    log: logging.Logger = _log,
    *,
    flat_corrected: bool = False,
    first_row_left_out: bool = False,
) -> Response:
    """Make the response curve and the telluric correction of the rows of a star.

    Parameters
    ----------
    smooth : {"none", "median", "ppoly"}
    flat_corrected : bool
        the data have the shape of the flat-field lamp
    first_row_left_out : bool
        the first row takes no part in the smoothing of others (C)
    """
    table = table.take(table.lam >= FIRST.get(mode, 0.0))
    empty = np.zeros(0)
    if not len(table):
        return Response(table, table, table, (empty, empty, empty), smooth != "none")
    measured = interpolate_bands(table, regions, airmass, log)
    unsmoothed = extrapolate(measured, FLAT_EDGE_A if flat_corrected else EDGE_A)
    value, error = unsmoothed.value, unsmoothed.error
    if smooth != "none":
        value, error = smooth_response(
            unsmoothed.lam, value, error, (BLUE_END, RED_END), smooth,
            flat_corrected=flat_corrected, first_row_left_out=first_row_left_out,
        )  # fmt: skip
    curve = replace(unsmoothed, value=value, error=error)
    return Response(measured, unsmoothed, curve, telluric_rows(unsmoothed), smooth != "none")

# SPDX-License-Identifier: BSD-3-Clause
"""Flat-field spectrum: give the data back the spectral shape of the flat-field lamp.

The pixel tables of the IFUs may carry the mean spectrum of the lamp (extension PIXTABLE_FLAT_FIELD).  Their
mean is smoothed and multiplied to the data.  The smoothing is that of the C pipeline 2.8.7, found with random
spectra and equal to it to float32 rounding: a cubic polynomial in a sliding window of +-150 Angstrom with
rejection at three standard deviations until nothing is rejected, then a running mean of +-15 Angstrom, which
is narrower near the ends so that it stays symmetric.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.curves import Curve, make_curve
from muse_core.data.header_values import Header
from muse_core.framework import RecipeError
from muse_core.postproc.exposure.correction import Card
from muse_core.postproc.flatfield.lamp_kernels import STEP, multiply_rows

Floats = npt.NDArray[np.float64]
Column = npt.NDArray[np.float32]

EXTENSION = "PIXTABLE_FLAT_FIELD"
FLAT_KEY = "ESO DRS MUSE PIXTABLE FFCORR"
HALF_WINDOW = 150.0
HALF_MEAN = 15.0
CUT_MARGIN = 2.5
"""Spectra are cut with the data, this much [Angstrom] farther out on both sides (as in the C pipeline)."""
_ORDER = 3
_CLIP = 3.0
_WINDOW_TOLERANCE = 1e-6

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SmoothingRange:
    """Wavelengths [Angstrom] that are smoothed; the gap of the sodium notch separates two parts."""

    low: float
    high: float = 9800.0
    gap: tuple[float, float] | None = None

    def parts(self) -> tuple[tuple[float, float], ...]:
        """Intervals that are smoothed one by one."""
        if self.gap is None:
            return ((self.low, self.high),)
        return (self.low, self.gap[0]), (self.gap[1], self.high)


RANGES = {
    "WFM-NOAO-N": SmoothingRange(4775.0),
    "WFM-NOAO-E": SmoothingRange(4150.0),
    "WFM-AO-N": SmoothingRange(4700.0, gap=(5805.0, 5966.0)),
    "WFM-AO-E": SmoothingRange(4150.0, gap=(5755.0, 6008.0)),
    "NFM-AO-N": SmoothingRange(4770.0),
}


@dataclass(frozen=True)
class FlatSpectrum:
    """Smoothed spectrum of the lamp."""

    name: ClassVar[str] = "flatfield"
    moves: ClassVar[bool] = False
    stretch: ClassVar[float] = 1.0

    curve: Curve
    unsmoothed: Floats
    """Mean spectrum at the nodes of the curve before the smoothing."""
    n_ifu: int
    drop_to_zero: bool
    """Rows outside of the spectrum become zero (C pipeline) instead of taking its first or last value.

    For spectra of different length the C pipeline uses memory that was never set for the last nodes; that is
    not imitated.
    """

    def apply(self, block: Block) -> None:
        """Multiply the data of a block."""
        apply_flat_spectrum(block.lam, block.data, block.stat, self)

    def cards(self) -> list[Card]:
        """Header cards of the step."""
        return [(FLAT_KEY, self.n_ifu, "Pixel table corrected for flat-field")]


def response_wants_flat(response_header: Header) -> bool:
    """Say whether a response curve was made from data multiplied by their flat-field spectrum.

    If not, the C pipeline takes the multiplication back before the flux calibration; the net effect is
    none, so the step is simply left out.
    """
    return response_header.get("ESO DRS MUSE FLUX FFCORR") is not None


def fit_flat_spectrum(
    spectra: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    mode: str,
    log: logging.Logger = _log,
    *,
    zero_outside_flat_spectrum: bool = False,
    flat_spectrum_first_node_lost: bool = False,
) -> FlatSpectrum:
    """Average and smooth the flat-field spectra of the IFUs of an exposure over their common range.

    Parameters
    ----------
    spectra : sequence of (lambda, data)
        One entry per pixel table.
    mode : str
        Instrument mode.
    log : logging.Logger
        Takes the messages.
    zero_outside_flat_spectrum : bool
        Set rows outside of the spectrum to zero, as the C pipeline does.
    flat_spectrum_first_node_lost : bool
        Leave out the first node, as the C pipeline does.

    Raises
    ------
    RecipeError
        If the spectra do not overlap.
    """
    columns = [
        tuple(np.asarray(column, dtype=np.float64).ravel() for column in spectrum) for spectrum in spectra
    ]
    start, end = max(x[0] for x, _ in columns), min(x[-1] for x, _ in columns)
    if not end > start:
        raise RecipeError("the flat-field spectra of this exposure have no wavelength range in common")
    lam = start + STEP * np.arange(int((end - start) / STEP + _WINDOW_TOLERANCE) + 1)
    mean = np.sum([np.interp(lam, x, y) for x, y in columns], axis=0) / len(spectra)
    smoothing = RANGES.get(mode, RANGES["WFM-NOAO-N"])
    log.info("Smoothing flat-field spectrum of %d IFUs (%s)", len(spectra), mode)
    if flat_spectrum_first_node_lost:
        lam, mean = lam[1:], mean[1:]
    smooth = smooth_spectrum(lam, mean, smoothing)
    return FlatSpectrum(make_curve(lam, smooth), mean, len(spectra), zero_outside_flat_spectrum)


def cut_table(table: Any, limits: tuple[float, float] | None, low: float, high: float) -> Any:
    """Cut a spectrum (extension or structured array with a column lambda) to the range of the data.

    The C pipeline does so wherever it cuts the data: at lambdamin and lambdamax (before the smoothing) and
    at the ends of a sky spectrum or continuum; but not if the data lie well inside already.

    Parameters
    ----------
    limits : (float, float) or None
        limits of the data before the cut; None: rows were removed
    low, high : float
        range the data are cut to
    """
    if limits is not None and low < limits[0] and high > limits[1]:
        return table
    values = table if isinstance(table, np.ndarray) else table.data
    inside = (values["lambda"] >= low - CUT_MARGIN) & (values["lambda"] <= high + CUT_MARGIN)
    if values is table:
        return values[inside]
    return type(table)(values[inside], table.header)


def smooth_spectrum(lam: Floats, values: Floats, smoothing: SmoothingRange) -> Floats:
    """Smooth a spectrum by sliding cubic polynomials and a running mean.

    Parameters
    ----------
    lam, values : float64[n]
        Wavelengths [Angstrom], increasing, and values.
    smoothing : SmoothingRange
        Where to smooth; values elsewhere are returned unchanged.
    """
    result = values.copy()
    for low, high in smoothing.parts():
        part = np.flatnonzero((lam >= low) & (lam <= high))
        if part.size > 0:
            result[part] = _sliding_polynomial(lam[part], values[part])
    smooth = result.copy()
    for low, high in smoothing.parts():
        part = np.flatnonzero((lam >= low) & (lam <= high))
        if part.size > 0:
            smooth[part] = _running_mean(lam[part], result[part])
    return smooth


def _sliding_polynomial(lam: Floats, values: Floats) -> Floats:
    first = np.searchsorted(lam, lam - HALF_WINDOW - _WINDOW_TOLERANCE)
    last = np.searchsorted(lam, lam + HALF_WINDOW + _WINDOW_TOLERANCE, side="right")
    out = values.copy()
    for i in range(lam.size):
        x = (lam[first[i] : last[i]] - lam[i]) / HALF_WINDOW
        y = values[first[i] : last[i]]
        while x.size > _ORDER + 1:
            design = np.vander(x, _ORDER + 1, increasing=True)
            coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
            out[i] = coefficients[0]
            residual = np.abs(y - design @ coefficients)
            keep = residual <= _CLIP * np.sqrt((residual**2).mean())
            if keep.all():
                break
            x, y = x[keep], y[keep]
    return out


def _running_mean(lam: Floats, values: Floats) -> Floats:
    half = np.minimum(HALF_MEAN, np.minimum(lam - lam[0], lam[-1] - lam)) + _WINDOW_TOLERANCE
    first = np.searchsorted(lam, lam - half)
    last = np.searchsorted(lam, lam + half, side="right")
    return np.array([values[a:b].mean() for a, b in zip(first, last, strict=True)])


def apply_flat_spectrum(lam: Column, data: Column, stat: Column, model: FlatSpectrum) -> None:
    """Multiply the data of a block by the spectrum and stat by its square, in place.

    Parameters
    ----------
    lam, data, stat : float32[n]
        Wavelength [Angstrom], value and variance.
    model : FlatSpectrum
        Result of `fit_flat_spectrum`.
    """
    c = model.curve
    multiply_rows(lam, data, stat, c.nodes, c.values, c.cells, c.cells_per_angstrom, model.drop_to_zero)

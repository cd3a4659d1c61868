# SPDX-License-Identifier: BSD-3-Clause
"""Polynomials through the edges of each slice: the rows of a TRACE_TABLE."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.tables import NSLICE
from muse_core.masters.trace_samples import TraceSamples

Values = npt.NDArray[np.float64]
CLIP = 5.0
STEEP = 0.015  # slope from which it is told
USUAL_WIDTH = (72.2, 82.2)  # pixels


@dataclass(frozen=True)
class SliceTrace:
    """Traces of one slice.

    Attributes
    ----------
    powers : float64[3, order + 1]
        Middle, left and right edge: coefficients of powers of the 1-based row.
    square : float64[3]
        Mean squared residuals.
    width : float
        Mean, pixels.
    samples : int
        That were used for the middle.
    """

    powers: Values
    square: Values
    width: float
    samples: int

    def edge(self, which: int, y: Values | float) -> Values:
        """Middle (0), left (1) or right (2) edge at some rows."""
        return np.asarray(np.polynomial.polynomial.polyval(y, self.powers[which]), np.float64)


@dataclass(frozen=True)
class Trace:
    """Traces of all slices (None where the samples do not suffice), and what they were fitted to."""

    slices: tuple[SliceTrace | None, ...]
    samples: TraceSamples
    order: int

    @property
    def lost(self) -> list[int]:
        """Numbers of the slices without traces."""
        return [number for number, own in enumerate(self.slices, 1) if own is None]


def polynomial(y: Values, values: Values, order: int) -> Values:
    """Least-squares polynomial: coefficients of powers of ``y`` (fitted on -1 to 1, where digits stay)."""
    low, high = float(y.min()), float(y.max())
    middle, half = 0.5 * (low + high), max(0.5 * (high - low), 1.0)
    t = (y - middle) / half
    basis = np.polynomial.chebyshev.chebvander(t, order)
    fitted = np.linalg.lstsq(basis, values, rcond=None)[0]
    line = np.polynomial.Polynomial([-middle / half, 1.0 / half])
    plain = np.polynomial.Polynomial(np.polynomial.chebyshev.cheb2poly(fitted))(line).coef
    out = np.zeros(order + 1)
    out[: plain.size] = plain
    return out


def fit_slice(
    y: Values, left: Values, right: Values, order: int, *, widths_shift: bool = False
) -> SliceTrace | None:
    """Fit middle and edges of a slice; None if there are too few samples.

    Measured against 2.8.7: samples of unusual width are left out once, then those far from the middle, again
    and again; the edges are the middle and half the width.

    Parameters
    ----------
    y, left, right : float64[n]
    order : int
    widths_shift : bool
        Widths of samples that were left out stay in their list, and later ones belong to wrong rows (C).
    """
    middle, width = 0.5 * (left + right), right - left
    if y.size:
        centre = np.median(width)
        off = np.abs(width - centre)
        good = off <= CLIP * off.mean()
        y, middle, width = y[good], middle[good], width[good]
    kept = width
    while True:
        if y.size <= order:
            return None
        powers = polynomial(y, middle, order)
        residual = middle - np.polynomial.polynomial.polyval(y, powers)
        square = float((residual**2).mean())
        good = np.abs(residual) <= CLIP * np.sqrt(square)
        if good.all():
            break
        y, middle, kept = y[good], middle[good], kept[good]
    if widths_shift:
        kept = width[: middle.size]
    sides, squares = [powers], [square]
    for sign in (-0.5, 0.5):
        edge = middle + sign * kept
        side = polynomial(y, edge, order)
        sides.append(side)
        squares.append(float(((edge - np.polynomial.polynomial.polyval(y, side)) ** 2).mean()))
    return SliceTrace(np.array(sides), np.array(squares), float(np.float32(kept.mean())), int(y.size))


def fit_traces(samples: TraceSamples, order: int, *, widths_shift: bool = False) -> Trace:
    """Fit all slices."""
    found = []
    for number in range(1, NSLICE + 1):
        own = samples.number == number
        found.append(
            fit_slice(samples.y[own], samples.left[own], samples.right[own], order, widths_shift=widths_shift)
        )
    return Trace(tuple(found), samples, order)


def steepest(own: SliceTrace, ny: int) -> float:
    """Slope of the largest size of the three polynomials over all rows."""
    y = np.arange(1.0, ny + 1)
    polynomials = np.polynomial.polynomial
    slopes = np.array([polynomials.polyval(y, polynomials.polyder(powers)) for powers in own.powers])
    return float(slopes.ravel()[np.argmax(np.abs(slopes))])

# SPDX-License-Identifier: BSD-3-Clause
"""Smoothing of response curves: sliding polynomials and running means, or medians, with errors.

As that of flat-field spectra (`muse_core.postproc.flatfield.spectrum`), with errors and without gaps.
"""

from __future__ import annotations

import numpy as np

from muse_core.data.curves import Floats

HALF_WINDOW, HALF_MEAN = 150.0, 15.0
"""Half widths [Angstrom] of the polynomials, and of medians and means."""
ORDER = 3
CLIP = 3.0


def smooth_response(
    lam: Floats,
    values: Floats,
    errors: Floats,
    limits: tuple[float, float],
    method: str,
    *,
    flat_corrected: bool = False,
    first_row_left_out: bool = False,
) -> tuple[Floats, Floats]:
    """Smooth a curve between two wavelengths; rows outside stay as they are.

    Parameters
    ----------
    lam, values, errors : float64[n]
        wavelength [Angstrom], increasing; response and its error
    method : {"median", "ppoly"}
        median of the rows within 15 Angstrom; or a cubic polynomial through those within 150 Angstrom, then a
        running mean over 15 Angstrom
    flat_corrected : bool
        the data have the shape of the flat-field lamp: as many rows are averaged on both sides of each row
    first_row_left_out : bool
        the first row of all has no part in the smoothing of others (measured against 2.8.7)
    """
    value, error = values.copy(), errors.copy()
    inside = np.flatnonzero((lam >= limits[0]) & (lam <= limits[1]))
    if not inside.size:
        return value, error
    start = 1 if first_row_left_out and inside[0] == 0 else 0
    rows = slice(int(inside[0]), int(inside[-1]) + 1)
    beyond = bool(lam[0] < limits[0] or lam[-1] > limits[1])
    x, y, e = lam[rows], values[rows], errors[rows]
    if method == "median":
        value[rows], error[rows] = _medians(x, y, e, start)
        return value, error
    fitted, spread = _polynomials(x, y, start)
    error[rows] = np.sqrt(e**2 + spread)
    value[rows], more = _means(x, fitted, start, symmetric=beyond or flat_corrected)
    error[rows] = np.sqrt(error[rows] ** 2 + more)
    return value, error


def _window(lam: Floats, i: int, half: float, start: int) -> tuple[int, int]:
    """Rows within a distance of a row; the first row is in its own window only, if `start` is 1."""
    first = int(np.searchsorted(lam, lam[i] - half, side="left"))
    last = int(np.searchsorted(lam, lam[i] + half, side="right"))
    return (max(first, start) if i >= start else first), last


def _polynomials(lam: Floats, values: Floats, start: int) -> tuple[Floats, Floats]:
    """Return the value of the polynomial of each row, and the squared scatter about it."""
    out, spread = values.copy(), np.zeros(lam.size)
    for i in range(lam.size):
        first, last = _window(lam, i, HALF_WINDOW, start)
        x, y = (lam[first:last] - lam[i]) / HALF_WINDOW, values[first:last]
        while x.size > ORDER + 1:
            design = np.vander(x, ORDER + 1, increasing=True)
            coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
            residual = np.abs(y - design @ coefficients)
            rms = float(np.sqrt(np.mean(residual**2)))
            out[i], spread[i] = coefficients[0], rms**2
            keep = residual <= CLIP * rms
            if keep.all():
                break
            x, y = x[keep], y[keep]
    return out, spread


def _means(lam: Floats, values: Floats, start: int, *, symmetric: bool) -> tuple[Floats, Floats]:
    """Return the running mean, and the variance of what is averaged."""
    out, variance = values.copy(), np.zeros(lam.size)
    for i in range(lam.size):
        first, last = _window(lam, i, HALF_MEAN, start)
        if symmetric:
            side = min(i - first, last - 1 - i)
            first, last = i - side, i + side + 1
        part = values[first:last]
        if part.size:
            out[i] = part.mean()
            variance[i] = part.var(ddof=1) if part.size > 1 else 0.0
    return out, variance


def _medians(lam: Floats, values: Floats, errors: Floats, start: int) -> tuple[Floats, Floats]:
    out, error = values.copy(), errors.copy()
    for i in range(lam.size):
        first, last = _window(lam, i, HALF_MEAN, start)
        part = values[first:last]
        out[i] = np.median(part)
        # the scatter of the response, where that is larger (measured against 2.8.7)
        error[i] = max(np.median(errors[first:last]), np.abs(part - out[i]).mean())
    return out, error

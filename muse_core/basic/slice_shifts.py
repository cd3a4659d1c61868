# SPDX-License-Identifier: BSD-3-Clause
"""Wavelength shifts of single slices, from the sky lines of the IFU (parameter ``slicelines``; not in C)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.basic.gaussian import gaussian
from muse_core.basic.sky_lines import LEAST_SIGNIFICANCE, LineFit

Floats = npt.NDArray[np.float64]
PASSES = 3
CLIP = 5.0  # deviations beyond which a row is left out (hits, stars)
LARGEST = 0.5  # Angstrom: a slice that is farther off than that has another line in its window
LEAST_ROWS = 40


@dataclass(frozen=True)
class SliceShifts:
    """Shifts of the slices relative to the IFU (Angstrom, float64[48]; 0 where none could be measured).

    ``measured`` (bool[48]) tells where, ``errors`` (float64[48]) how well (inf elsewhere).
    """

    values: Floats
    errors: Floats
    measured: npt.NDArray[np.bool_]


def slice_offset(fit: LineFit, lam: Floats, data: Floats, stat: Floats) -> tuple[float, float]:
    """How much one slice has to be moved beside its IFU, and the error of that.

    The line of the IFU, its derivative and a constant are fitted to the rows; the amplitude of the derivative
    over that of the line is the offset. Two more passes start from the offset found and leave outliers out.

    Parameters
    ----------
    fit : LineFit
        Of the whole IFU.
    lam, data, stat : float64[n]
        Good rows of one slice in the window of the line.

    Returns
    -------
    offset, error : float
        NaN, inf if the slice has no such line.
    """
    nothing = float("nan"), float("inf")
    use = np.isfinite(data) & np.isfinite(stat) & (stat > 0)
    sigma, moved, error = abs(fit.sigma), 0.0, float("inf")
    if use.sum() >= LEAST_ROWS:
        # hits would draw the first pass away
        expected = gaussian(lam, (fit.centre, sigma, fit.area, fit.background))
        off = data - expected
        off -= np.median(off[use])
        use &= np.abs(off) <= CLIP * 1.4826 * np.median(np.abs(off[use]))
    for _ in range(PASSES):
        if use.sum() < LEAST_ROWS:
            return nothing
        u = (lam - fit.centre - moved) / sigma
        profile = np.exp(-0.5 * u * u)
        terms = np.stack([profile, profile * u / sigma, np.ones_like(profile)], axis=1)
        weighted = terms[use] / np.sqrt(stat[use])[:, None]
        matrix = weighted.T @ weighted
        try:
            covariance = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            return nothing
        found = covariance @ (weighted.T @ (data[use] / np.sqrt(stat[use])))
        height = found[0]
        if not height > LEAST_SIGNIFICANCE * np.sqrt(covariance[0, 0]):
            return nothing
        moved += found[1] / height
        error = float(np.sqrt(covariance[1, 1]) / height)
        if not abs(moved) < LARGEST:
            return nothing
        use[use] = np.abs(data[use] - terms[use] @ found) < CLIP * np.sqrt(stat[use])
    return -moved, error


def combine_slices(offsets: Sequence[Floats], errors: Sequence[Floats]) -> SliceShifts:
    """Join the offsets of all lines; each slice is drawn to the IFU as far as its error asks for it.

    Parameters
    ----------
    offsets, errors : sequence of float64[48]
        One pair for each line; NaN, inf for slices without the line.
    """
    seen = [np.isfinite(offset) for offset in offsets]
    weights = [np.where(ok, error, np.inf) ** -2.0 for ok, error in zip(seen, errors, strict=True)]
    total = np.sum(weights, axis=0)
    measured = total > 0
    terms = [
        np.where(ok, offset, 0.0) * weight for ok, offset, weight in zip(seen, offsets, weights, strict=True)
    ]
    values = np.divide(np.sum(terms, axis=0), total, out=np.zeros_like(total), where=measured)
    error = np.where(measured, 1.0 / np.sqrt(np.where(measured, total, 1.0)), np.inf)
    if measured.any():
        spread = float(np.median(np.abs(values[measured])) / 0.6745) ** 2
        true = max(spread - float(np.median(error[measured])) ** 2, 0.0)
        values = np.where(measured, values * true / (true + np.where(measured, error, 1.0) ** 2 + 1e-30), 0.0)
    return SliceShifts(values, error, measured)

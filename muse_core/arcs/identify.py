# SPDX-License-Identifier: BSD-3-Clause
"""Tell which line of the catalogue a detected line is: vote for dispersion and offset, then refine.

All lamps of a slice vote together, a pair counts only within one lamp, and every step is bounded: there is
no search that does not end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.arcs.match_kernels import pair, vote
from muse_core.arcs.polynomials import fit_curve_clipped

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SAMPLING = 1.25  # Angstrom per pixel, in all modes (as in 2.8.7)
BIN = 4.0  # Angstrom
BENDS = np.arange(-30.0, 30.1, 7.5)  # Angstrom at the ends of the detector
STEP = 0.0025  # Angstrom per pixel between two dispersions that are tried
CANDIDATES = 8  # of the vote, that are refined
WINDOWS = ((2, 8.0), (3, 5.0), (4, 3.0), (5, 2.0), (5, 1.2))  # order and tolerance (Angstrom)
ANGSTROM_OF_TOLERANCE = 8.0  # of the parameter: 0.1 leaves 0.8 Angstrom at the end
LEAST_WINDOW = 0.125  # Angstrom, a tenth of a pixel


@dataclass(frozen=True)
class MatchPlan:
    """Parameters ``dres`` and ``tolerance``."""

    dres: float = 0.05
    tolerance: float = 0.1

    @property
    def last_window(self) -> float:
        """How far a line may lie from its place in the end (Angstrom)."""
        return max(ANGSTROM_OF_TOLERANCE * self.tolerance, LEAST_WINDOW)


def _refine(
    u: Floats, lamp: Integers, lam: Floats, lam_lamp: Integers, start: Floats, plan: MatchPlan, half: float
) -> tuple[Integers, float]:
    """Follow polynomials of rising order with falling tolerance; partners and their rms (Angstrom)."""
    expected = start[3] + start[1] * u + start[2] * u * u
    partner = np.empty(u.size, np.int64)
    rms = np.inf
    for order, window in (*WINDOWS, (5, plan.last_window), (5, plan.last_window)):
        pair(expected, lamp, lam, lam_lamp, max(window, plan.last_window), partner)
        found = partner >= 0
        usable = min(order, int(found.sum()) - 2)
        if usable < 1:
            return np.full(u.size, -1), np.inf
        fit = fit_curve_clipped(u[found], lam[partner[found]], usable)
        if fit is None or (fit[0].slope(np.array([-1.0, 0.0, 1.0])) <= 0.5 * SAMPLING * half).any():
            return np.full(u.size, -1), np.inf
        expected = fit[0](u)
        rms = float(np.sqrt(np.mean((expected[found] - lam[partner[found]]) ** 2)))
    return partner, rms


def identify(
    centre: Floats, lamp: Integers, lam: Floats, lam_lamp: Integers, ny: int, plan: MatchPlan
) -> Integers:
    """Return the number of the catalogue line of each detected line, -1 for none (int64[n]).

    Parameters
    ----------
    centre : float64[n]
        Rows (from 1) of the detected lines.
    lamp : int64[n]
        Number of the image they are in.
    lam : float64[m]
        Catalogue lines (Angstrom).
    lam_lamp : int64[m]
        The image that shows them.
    ny : int
        Rows of the detector.
    plan : MatchPlan
    """
    nothing = np.full(centre.size, -1)
    if centre.size < 3 or lam.size < 3:
        return nothing
    half = 0.5 * ny
    u = (centre - 0.5 * (ny + 1)) / half
    spread = SAMPLING * plan.dres
    scales = half * (SAMPLING + np.linspace(-spread, spread, 2 * int(np.ceil(spread / STEP)) + 1))
    first = lam.min() - 1.4 * SAMPLING * half
    counts = np.zeros(int((lam.max() - lam.min() + 2.8 * SAMPLING * half) / BIN) + 2, np.int64)
    best = np.zeros((CANDIDATES, 4))
    vote(u, lamp, lam, lam_lamp, scales, BENDS, first, BIN, counts, best)
    chosen, quality = nothing, (0, -np.inf)
    for start in best:
        if start[0] < 3:
            continue
        partner, rms = _refine(u, lamp, lam, lam_lamp, start, plan, half)
        if ((found := int((partner >= 0).sum())), -rms) > quality:
            chosen, quality = partner, (found, -rms)
    return chosen

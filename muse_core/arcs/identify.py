# SPDX-License-Identifier: BSD-3-Clause
"""Tell which line of the catalogue a detected line is: vote for dispersion and offset, then refine.

All lamps of a slice vote together, a pair counts only within one lamp, and every step is bounded: there is
no search that does not end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.arcs.match_kernels import refine, vote

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

    @property
    def steps(self) -> tuple[Integers, Floats]:
        """Order and tolerance (Angstrom) of the polynomials that are followed."""
        steps = (*WINDOWS, (5, self.last_window), (5, self.last_window))
        windows = [max(window, self.last_window) for _, window in steps]
        return np.array([order for order, _ in steps], np.int64), np.array(windows)


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
    order = np.argsort(lam_lamp, kind="stable")
    images = max(int(lamp.max()), int(lam_lamp.max())) + 1
    begin = np.searchsorted(lam_lamp[order], np.arange(images + 1))
    vote(u, lamp, lam[order], begin, scales, BENDS, first, BIN, counts, best)
    orders, windows = plan.steps
    chosen, quality = nothing, (0, -np.inf)
    for start in best:
        if start[0] < 3:
            continue
        partner = np.empty(u.size, np.int64)
        rms = refine(u, lamp, lam, lam_lamp, start, orders, windows, 0.5 * SAMPLING * half, partner)
        if ((found := int((partner >= 0).sum())), -rms) > quality:
            chosen, quality = partner, (found, -rms)
    return chosen

# SPDX-License-Identifier: BSD-3-Clause
"""The wavelength solution of one slice: first through the identified lines, then through all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.arcs.line_fits import LinePoints
from muse_core.arcs.polynomials import Surface, fit_surface

Floats = npt.NDArray[np.float64]
TARGET_RMS = 0.03  # Angstrom; at or below it nothing is rejected
LEAST_GAIN = 0.001  # Angstrom, that the rms falls by, or the rejection ends
MOST_ROUNDS = 200


@dataclass(frozen=True)
class FitPlan:
    """Parameters ``xorder``, ``yorder``, ``fitsigma``, and whether points have weights."""

    xorder: int = 2
    yorder: int = 6
    fitsigma: float = 3.0
    weighted: bool = True


@dataclass(frozen=True)
class Round:
    """One fit of the rejection: its points, their residuals (Angstrom), and the limit of the next one."""

    points: LinePoints
    residuals: Floats
    limit: float


@dataclass(frozen=True)
class Solution:
    """Wavelength solution of one slice.

    Attributes
    ----------
    surface : Surface
        Wavelength as a function of column and row (1-based).
    rms : float
        Angstrom.
    rounds : tuple of Round
    measured : int
        Points before those of no valid wavelength were dropped.
    """

    surface: Surface
    rms: float
    rounds: tuple[Round, ...]
    measured: int

    @property
    def last(self) -> Round:
        """The final fit."""
        return self.rounds[-1]

    @property
    def lines(self) -> int:
        """Number of different lines in the final fit."""
        return int(np.unique(self.last.points.line).size)


def valid_wavelengths(lam: Floats, ranges: tuple[tuple[float, float], ...]) -> npt.NDArray[np.bool_]:
    """Wavelengths inside one of some ranges (bool[n])."""
    good = np.zeros(lam.size, bool)
    for low, high in ranges:
        good |= (lam >= low) & (lam <= high)
    return good


def fit_solution(points: LinePoints, measured: int, plan: FitPlan) -> Solution | None:
    """Fit, and while the rms is large, drop what is off and fit again; None with too few points.

    The rms is that of 2.8.7, weighted by one over the error; the weights of the fit are those of a least
    squares fit, one over its square.
    """
    rounds: list[Round] = []
    last = np.inf
    terms = (plan.xorder + 1) * (plan.yorder + 1)
    surface, rms = None, np.inf
    for _ in range(MOST_ROUNDS):
        lines = np.unique(points.line).size
        if points.x.size <= terms or lines <= plan.yorder + 1:
            break
        error = points.error if plan.weighted else np.ones(points.x.size)
        x = points.x.astype(np.float64)
        surface, values = fit_surface(x, points.y, points.lam, 1 / error**2, (plan.xorder, plan.yorder))
        residual = points.lam - values
        rms = float(np.sqrt(np.sum(residual**2 / error) / np.sum(1 / error)))
        limit = plan.fitsigma * rms
        rounds.append(Round(points, residual, limit))
        good = np.abs(residual) <= limit
        # measured against 2.8.7
        if rms <= TARGET_RMS or last - rms < LEAST_GAIN or good.all():
            break
        last = rms
        points = points.chosen(good)
    if surface is None or not np.isfinite(rms):
        return None
    return Solution(surface, rms, tuple(rounds), measured)

# SPDX-License-Identifier: BSD-3-Clause
"""Polynomials fitted in a scaled basis, with the rejection of 2.8.7, and their coefficients in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from muse_core.arcs.curve_kernels import fit_clipped
from muse_core.arcs.surface_kernels import fit_products

Floats = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """A polynomial of one variable on ``centre`` +- ``half`` (Legendre coefficients)."""

    centre: float
    half: float
    coefficients: Floats

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """Values at ``x``."""
        u = (np.asarray(x, np.float64) - self.centre) / self.half
        return np.asarray(np.polynomial.legendre.legval(u, self.coefficients), np.float64)

    def slope(self, x: npt.ArrayLike) -> Floats:
        """Derivatives at ``x``."""
        u = (np.asarray(x, np.float64) - self.centre) / self.half
        inner = np.polynomial.legendre.legder(self.coefficients)
        return np.asarray(np.polynomial.legendre.legval(u, inner) / self.half, np.float64)


def fit_curve_clipped(
    x: Floats, y: Floats, order: int, limit: float = np.inf
) -> tuple[Curve, Chosen, float] | None:
    """Fit, drop what is off by more than ``limit`` rms, and again until nothing is or too little is left.

    Returns
    -------
    Curve, bool[n] (what is left), float (mean square residual of it); None if there are too few points
    """
    if x.size <= order:
        return None
    centre, half = 0.5 * float(x.min() + x.max()), max(0.5 * float(x.max() - x.min()), 1e-9)
    kept = np.ones(x.size, bool)
    coefficients = np.empty(order + 1)
    square = float(fit_clipped((x - centre) / half, y, order, float(limit), kept, coefficients))
    if not np.isfinite(square):
        return None
    return Curve(centre, half, coefficients), kept, square


@dataclass(frozen=True)
class Surface:
    """A polynomial of two variables: all products of powers up to ``orders``, in a scaled basis."""

    centre: tuple[float, float]
    half: tuple[float, float]
    coefficients: Floats  # Legendre, [i, j] of x and y

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Values at points."""
        u = (np.asarray(x, np.float64) - self.centre[0]) / self.half[0]
        v = (np.asarray(y, np.float64) - self.centre[1]) / self.half[1]
        return np.asarray(np.polynomial.legendre.legval2d(u, v, self.coefficients), np.float64)

    def powers(self) -> Floats:
        """Coefficients of ``x**i y**j``."""
        table = self.coefficients.astype(np.longdouble)
        for axis in (0, 1):
            turn = _power_matrix(table.shape[axis], self.centre[axis], self.half[axis])
            table = np.moveaxis(np.tensordot(turn, table, axes=(1, axis)), 0, axis)
        return table.astype(np.float64)


def _power_matrix(n: int, centre: float, half: float) -> npt.NDArray[np.longdouble]:
    """Matrix from Legendre coefficients in (x - centre) / half to those of powers of x."""
    matrix = np.zeros((n, n), np.longdouble)
    middle, scale = np.longdouble(centre), np.longdouble(half)
    for k in range(n):
        scaled = np.polynomial.legendre.leg2poly([0] * k + [1])
        for power, value in enumerate(scaled):
            for low in range(power + 1):
                matrix[low, k] += (
                    np.longdouble(value) * comb(power, low) * (-middle) ** (power - low) / scale**power
                )
    return matrix


def fit_surface(
    x: Floats, y: Floats, z: Floats, weight: Floats, orders: tuple[int, int]
) -> tuple[Surface, Floats]:
    """Weighted least squares; also the values at the points.

    Parameters
    ----------
    x, y, z, weight : float64[n]
        ``weight`` is that of the squares of the residuals.
    orders : highest power in x and in y
    """
    middle = (0.5 * float(x.min() + x.max()), 0.5 * float(y.min() + y.max()))
    half = (max(0.5 * float(np.ptp(x)), 1e-9), max(0.5 * float(np.ptp(y)), 1e-9))
    coefficients, values = np.empty((orders[0] + 1, orders[1] + 1)), np.empty(x.size)
    u, v = (x - middle[0]) / half[0], (y - middle[1]) / half[1]
    if not fit_products(u, v, z, weight, coefficients, values):
        basis = np.asarray(np.polynomial.legendre.legvander2d(u, v, list(orders)), np.float64)
        root = np.sqrt(weight)
        solution = np.asarray(np.linalg.lstsq(basis * root[:, None], z * root, rcond=None)[0], np.float64)
        coefficients, values = solution.reshape(coefficients.shape), basis @ solution
    return Surface(middle, half, coefficients), values

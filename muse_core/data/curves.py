# SPDX-License-Identifier: BSD-3-Clause
"""Tabulated curves (response, extinction, ...) that kernels interpolate quickly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

Floats = npt.NDArray[np.float64]
UNCOVERED = 5.0
"""Angstrom of the data that a curve may leave out at each end without a warning."""


@dataclass(frozen=True)
class Curve:
    """A curve with linear interpolation between nodes, prepared for look-ups in constant time."""

    nodes: Floats
    """Wavelengths [Angstrom], increasing."""
    values: Floats
    errors: Floats
    cells: npt.NDArray[np.int32]
    """For equal cells of wavelength: index of the last node not above the start of the cell."""
    cells_per_angstrom: float

    @property
    def covers(self) -> tuple[float, float]:
        """First and last node."""
        return float(self.nodes[0]), float(self.nodes[-1])


def make_curve(nodes: npt.ArrayLike, values: npt.ArrayLike, errors: npt.ArrayLike | None = None) -> Curve:
    """Build a curve from table columns; rows are sorted by wavelength, non-finite rows left out.

    >>> curve = make_curve([4000.0, 5000.0], [1.0, 3.0])
    >>> float(interpolate(curve, [4500.0], 0.0)[0])
    2.0
    """
    x = np.asarray(nodes, dtype=np.float64).ravel()
    y = np.asarray(values, dtype=np.float64).ravel()
    e = np.zeros_like(x) if errors is None else np.asarray(errors, dtype=np.float64).ravel()
    if not x.size == y.size == e.size:
        raise ValueError(f"columns of a curve differ in length: {x.size}, {y.size}, {e.size}")
    good = np.isfinite(x) & np.isfinite(y) & np.isfinite(e)
    if not good.any():
        raise ValueError("a curve needs at least one finite row")
    x, y, e = x[good], y[good], e[good]
    order = np.argsort(x, kind="stable")
    x, y, e = x[order], y[order], e[order]
    span = x[-1] - x[0]
    n_cells = int(min(max(2 * x.size, 1), 1 << 16)) if span > 0 else 1
    # nodes as near to each other as numbers can be: the inverse would be infinite, and no index
    per_angstrom = n_cells / span if span > 1e-100 else 0.0
    starts = x[0] + np.arange(n_cells) * (span / n_cells if n_cells else 0.0)
    cells = np.clip(np.searchsorted(x, starts, side="right") - 1, 0, max(x.size - 2, 0)).astype(np.int32)
    return Curve(x, y, e, cells, float(per_angstrom))


@njit(cache=True, nogil=True)
def find_interval(nodes, cells, cells_per_angstrom, lam):  # type: ignore[no-untyped-def]
    """Index i with nodes[i] <= lam <= nodes[i + 1], or -1 outside the nodes (and for NaN)."""
    n = nodes.size
    if not (lam >= nodes[0] and lam <= nodes[n - 1]):
        return -1
    if n == 1:
        return 0
    k = int((lam - nodes[0]) * cells_per_angstrom)
    if k >= cells.size:
        k = cells.size - 1
    i = cells[k]
    while i < n - 2 and nodes[i + 1] <= lam:
        i += 1
    while i > 0 and nodes[i] > lam:
        i -= 1
    return i


@njit(cache=True, nogil=True)
def interpolate_at(nodes, values, cells, cells_per_angstrom, lam, outside):  # type: ignore[no-untyped-def]
    """Value of a curve at a wavelength; `outside` beyond its nodes."""
    i = find_interval(nodes, cells, cells_per_angstrom, lam)
    if i < 0:
        return outside
    if nodes.size == 1:
        return values[0]
    t = (lam - nodes[i]) / (nodes[i + 1] - nodes[i])
    return (1.0 - t) * values[i] + t * values[i + 1]


@njit(cache=True, nogil=True)
def _interpolate_rows(nodes, values, cells, cells_per_angstrom, lam, outside, out):  # type: ignore[no-untyped-def]
    for i in range(lam.size):
        out[i] = interpolate_at(nodes, values, cells, cells_per_angstrom, lam[i], outside)


def interpolate(curve: Curve, lam: npt.ArrayLike, outside: float) -> Floats:
    """Values of a curve at wavelengths; `outside` beyond the first and last node."""
    wavelengths = np.ascontiguousarray(lam, dtype=np.float64)
    out = np.empty_like(wavelengths)
    _interpolate_rows(
        curve.nodes, curve.values, curve.cells, curve.cells_per_angstrom, wavelengths, outside, out
    )
    return out


@dataclass(frozen=True)
class Pieces:
    """A curve cut at given wavelengths; value and squared error are polynomials of lambda - start."""

    value: Floats
    """float64[n, 2] value at the start and slope."""
    variance: Floats
    """float64[n, 3] squared error: constant, linear and quadratic coefficient."""


def cut_curve(curve: Curve, starts: npt.ArrayLike, outside: float) -> Pieces:
    """Describe a curve on pieces that begin at `starts` and do not reach over a node of the curve.

    The error of an interpolated value is the quadrature sum of the weighted errors of the two nodes.
    Pieces that begin outside of the nodes have the value `outside` without error.
    """
    x = np.asarray(starts, dtype=np.float64)
    inside = (x >= curve.nodes[0]) & (x <= curve.nodes[-1])
    if curve.nodes.size == 1:
        value = np.where(inside, curve.values[0], outside)
        variance = np.where(inside, curve.errors[0] ** 2, 0.0)
        zero = np.zeros_like(value)
        return Pieces(np.stack([value, zero], axis=1), np.stack([variance, zero, zero], axis=1))
    i = np.clip(np.searchsorted(curve.nodes, x, side="right") - 1, 0, curve.nodes.size - 2)
    width = curve.nodes[i + 1] - curve.nodes[i]
    t = (x - curve.nodes[i]) / width
    low, high = curve.values[i], curve.values[i + 1]
    var_low, var_high = curve.errors[i] ** 2, curve.errors[i + 1] ** 2
    value = np.stack([(1 - t) * low + t * high, (high - low) / width], axis=1)
    variance = np.stack(
        [
            var_low * (1 - t) ** 2 + var_high * t**2,
            2 * (var_high * t - var_low * (1 - t)) / width,
            (var_low + var_high) / width**2,
        ],
        axis=1,
    )
    value[~inside] = outside, 0.0
    variance[~inside] = 0.0
    return Pieces(value, variance)

# SPDX-License-Identifier: BSD-3-Clause
"""The places of all catalogue lines in the columns of a slice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.arcs.catalog import GOOD, MULTIPLET, REFERENCE, LineCatalog
from muse_core.arcs.detection import FWHM
from muse_core.arcs.line_kernels import HALF, fit_along
from muse_core.arcs.polynomials import Curve, fit_curve_clipped
from muse_core.detector.image import Image

LEAST_ERROR = 1e-3  # pixels: lines in few columns scatter by nothing about their curve
MULTIPLET_RANGE = 40.0  # Angstrom from the first line of a multiplet; measured: 38.3 together, 44.3 apart
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinePoints:
    """Fitted places of one slice, line by line, in the order in which the columns were fitted.

    Attributes
    ----------
    x : int64[n]
        Column (from 1).
    y : float64[n]
        Row (from 1).
    lam, error : float64[n]
        Wavelength of the line; error of the place in Angstrom (by ``fitweighting``).
    line : int64[n]
        Number of the line in the catalogue.
    """

    x: npt.NDArray[np.int64]
    y: Floats
    lam: Floats
    error: Floats
    line: npt.NDArray[np.int64]

    def chosen(self, kept: npt.NDArray[np.bool_]) -> LinePoints:
        """Return some of the points."""
        return LinePoints(self.x[kept], self.y[kept], self.lam[kept], self.error[kept], self.line[kept])


@dataclass(frozen=True)
class SliceLines:
    """Points of one slice, and the widths of its reference lines.

    ``widths``: float64[m, 2], wavelength and FWHM (Angstrom) of each fit of a reference line.
    """

    points: LinePoints
    widths: Floats


@dataclass(frozen=True)
class LineFitPlan:
    """Parameters ``xorder``, ``linesigma``, ``fitweighting``; whether flagged pixels count like others."""

    xorder: int = 2
    linesigma: float = 2.5
    weighting: str = "cerrscatter"
    use_flagged: bool = False


@dataclass(frozen=True)
class SliceWindow:
    """A part of the images of all lamps around one slice.

    Attributes
    ----------
    images : dict of str to Image
        By lamp; all rows of the detector.
    x0 : int
        Their first column (from 0).
    left, right : float64[ny]
        Edges of the slice (1-based pixels).
    nx : int
        Columns of the detector.
    """

    images: Mapping[str, Image]
    x0: int
    left: Floats
    right: Floats
    nx: int

    def columns(self, y: float) -> tuple[int, int, int]:
        """First column, the one in the middle, and the last (from 1) of the slice near row ``y``."""
        low = min(max(int(y) - 1, 0), self.left.size - 2)
        part = y - 1 - low
        left, right = (
            float((1 - part) * edge[low] + part * edge[low + 1]) for edge in (self.left, self.right)
        )
        first, last = max(int(np.ceil(left)), 1), min(int(np.floor(right)), self.nx)
        return first, min(max(int(0.5 * (left + right)), first), last), last


def line_groups(catalog: LineCatalog, usable: npt.NDArray[np.bool_]) -> Iterator[list[int]]:
    """Lines that are fitted together: single ones, and members of a multiplet of one lamp.

    Parameters
    ----------
    usable : bool[n]
        Lines of the catalogue that a lamp shows.
    """
    done: set[int] = set()
    wanted = [int(i) for i in np.flatnonzero(usable & (catalog.quality >= MULTIPLET))]
    for i in wanted:
        if i in done:
            continue
        group = [i]
        if catalog.quality[i] == MULTIPLET:
            for j in (j for j in wanted if j > i and catalog.lamp[j] == catalog.lamp[i]):
                # consecutive lines of the lamp: a good line in between ends the multiplet
                near = catalog.lam[j] - catalog.lam[i] <= MULTIPLET_RANGE
                if catalog.quality[j] != MULTIPLET or not near or j in done:
                    break
                group.append(j)
        done.update(group)
        yield group


def fit_lines(
    window: SliceWindow,
    catalog: LineCatalog,
    usable: npt.NDArray[np.bool_],
    first: Curve,
    plan: LineFitPlan,
) -> SliceLines:
    """Fit all lines of one slice.

    Parameters
    ----------
    window : SliceWindow
    catalog : LineCatalog
    usable : bool[n]
        Lines that a lamp shows.
    first : Curve
        Row as a function of wavelength (first solution).
    plan : LineFitPlan
    """
    parts: list[LinePoints] = []
    widths: list[Floats] = []
    ny = window.left.size
    rows, scales = first(catalog.lam), 1.0 / first.slope(catalog.lam)  # Angstrom per pixel
    for group in line_groups(catalog, usable):
        expected = rows[group]
        if not (expected >= 1).all() or not (expected <= ny).all() or (np.diff(expected) <= 0).any():
            continue
        image = window.images[catalog.lamp[group[0]]]
        quality = int(catalog.quality[group[0]])
        columns = window.columns(float(expected[0]))
        if columns[0] > columns[2]:
            continue
        out = np.empty((columns[2] - columns[0] + 1, len(group), 4))
        multiplet = quality == MULTIPLET
        fit_along(
            image.data, image.stat, image.dq, window.x0, *columns, plan.use_flagged, len(group),
            2 if multiplet else 1, quality != GOOD, HALF + multiplet, expected, out,
        )  # fmt: skip
        for k, line in enumerate(group):
            found = _points(out[:, k], columns, line, catalog, scales[line], plan)
            if found is None:
                continue
            parts.append(found)
            if quality == REFERENCE:
                widths.append(_widths(out[:, k], float(catalog.lam[line]), scales[line]))
    if not parts:
        empty = np.empty(0)
        none = np.empty(0, np.int64)
        return SliceLines(LinePoints(none, empty, empty, empty, none), np.empty((0, 2)))
    points = LinePoints(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("x", "y", "lam", "error", "line"))
    )
    return SliceLines(points, np.concatenate(widths) if widths else np.empty((0, 2)))


def _widths(fits: Floats, lam: float, scale: float) -> Floats:
    sigma = fits[:, 2][np.isfinite(fits[:, 2])]
    return np.stack([np.full(sigma.size, lam), FWHM * sigma * scale], axis=1)


def _points(
    fits: Floats, columns: tuple[int, int, int], line: int, catalog: LineCatalog, scale: float,
    plan: LineFitPlan,
) -> LinePoints | None:  # fmt: skip
    """Points of one line without those off its smooth course; None if too few are left."""
    low, middle, high = columns
    order = np.concatenate([np.arange(middle, low - 1, -1), np.arange(middle + 1, high + 1)])
    order = order[np.isfinite(fits[order - low, 0])]
    if order.size < plan.xorder + 1:
        return None
    centre, error = fits[order - low, 0], fits[order - low, 1]
    fit = fit_curve_clipped(order.astype(np.float64), centre, plan.xorder, plan.linesigma)
    if fit is None:
        return None
    _, kept, square = fit
    order, centre, error = order[kept], centre[kept], error[kept]
    lam = float(catalog.lam[line])
    own = {
        "uniform": np.ones(order.size),
        "cerr": error,
        "scatter": np.full(order.size, np.sqrt(square)),
        "cerrscatter": np.sqrt(error**2 + square),
    }[plan.weighting]
    own = np.maximum(own, LEAST_ERROR)
    return LinePoints(order, centre, np.full(order.size, lam), scale * own, np.full(order.size, line))

# SPDX-License-Identifier: BSD-3-Clause
"""The places of all catalogue lines in the columns of a slice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.arcs.catalog import GOOD, MULTIPLET, REFERENCE, LineCatalog
from muse_core.arcs.curve_kernels import clip_line
from muse_core.arcs.detection import FWHM
from muse_core.arcs.identify import SAMPLING
from muse_core.arcs.line_kernels import HALF, fit_along
from muse_core.arcs.polynomials import Curve
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
        left = float((1 - part) * self.left[low] + part * self.left[low + 1])
        right = float((1 - part) * self.right[low] + part * self.right[low + 1])
        first, last = max(math.ceil(left), 1), min(math.floor(right), self.nx)
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
    rows, scales = first(catalog.lam), 1.0 / first.slope(catalog.lam)  # Angstrom per pixel
    return _fit_groups(_Fitter(window, catalog, scales, plan), _catalog_groups(catalog, usable, rows))


def fit_detected(
    window: SliceWindow,
    catalog: LineCatalog,
    lines: npt.NDArray[np.int64],
    rows: Floats,
    sigma: Floats,
    plan: LineFitPlan,
) -> SliceLines:
    """Fit the lines that were detected, each on its own with a free width, from where it was found.

    Measured against 2.8.7: the window reaches as many rows as two FWHM of the detected line, rounded down,
    and errors are turned into Angstrom by the nominal sampling.

    Parameters
    ----------
    window, catalog, plan
        As of `fit_lines`.
    lines : int64[n]
        Their numbers in the catalogue.
    rows, sigma : float64[n]
        Where they are (from 1), and how wide (pixels).
    """
    halves = (2.0 * FWHM * sigma).astype(np.int64)
    order = np.argsort(lines, kind="stable")
    groups = (
        _Group([int(lines[i])], rows[i : i + 1], 1, True, int(halves[i]), int(halves[i])) for i in order
    )
    return _fit_groups(_Fitter(window, catalog, np.full(catalog.lam.size, SAMPLING), plan), groups)


@dataclass(frozen=True)
class _Group:
    """Lines that are fitted together, and how: see `fit_along`."""

    lines: list[int]
    expected: Floats
    backs: int
    free_width: bool
    below: int
    above: int


@dataclass(frozen=True)
class _Fitter:
    """What all groups of a slice share; ``scales``: Angstrom per pixel at each line of the catalogue."""

    window: SliceWindow
    catalog: LineCatalog
    scales: Floats
    plan: LineFitPlan


def _catalog_groups(catalog: LineCatalog, usable: npt.NDArray[np.bool_], rows: Floats) -> Iterator[_Group]:
    """Yield the lines of the catalogue; ``rows``: where each is expected (float64[n])."""
    for group in line_groups(catalog, usable):
        quality = int(catalog.quality[group[0]])
        multiplet = quality == MULTIPLET
        yield _Group(group, rows[group], 2 if multiplet else 1, quality != GOOD, HALF, HALF + multiplet)


def _fit_groups(fitter: _Fitter, groups: Iterable[_Group]) -> SliceLines:
    window, catalog, plan = fitter.window, fitter.catalog, fitter.plan
    parts: list[LinePoints] = []
    widths: list[Floats] = []
    ny = window.left.size
    for group in groups:
        expected = group.expected
        if not (expected >= 1).all() or not (expected <= ny).all() or (np.diff(expected) <= 0).any():
            continue
        image = window.images[catalog.lamp[group.lines[0]]]
        columns = window.columns(float(expected[0]))
        if columns[0] > columns[2]:
            continue
        out = np.empty((columns[2] - columns[0] + 1, len(group.lines), 4))
        fit_along(
            image.data, image.stat, image.dq, window.x0, *columns, plan.use_flagged, len(group.lines),
            group.backs, group.free_width, group.below, group.above, expected, out,
        )  # fmt: skip
        for k, line in enumerate(group.lines):
            found = _points(out[:, k], columns, line, catalog, fitter.scales[line], plan)
            if found is None:
                continue
            parts.append(found)
            if catalog.quality[line] == REFERENCE:
                widths.append(_widths(out[:, k], float(catalog.lam[line]), fitter.scales[line]))
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
    low, middle, _ = columns
    places = np.empty(len(fits), np.int64)
    found, square = clip_line(fits, low, middle, plan.xorder, plan.linesigma, places)
    if not found:
        return None
    x = places[:found]
    centre, error = fits[x - low, 0], fits[x - low, 1]
    if plan.weighting == "uniform":
        error = np.ones(found)
    elif plan.weighting != "cerr":
        own = error**2 if plan.weighting == "cerrscatter" else np.zeros(found)
        error = np.sqrt(own + square)
    lam = np.full(found, float(catalog.lam[line]))
    return LinePoints(x, centre, lam, scale * np.maximum(error, LEAST_ERROR), np.full(found, line))

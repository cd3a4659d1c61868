# SPDX-License-Identifier: BSD-3-Clause
"""One slice from its images to its wavelength solution: detect, identify, fit lines and surface."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from muse_core.arcs.catalog import PATTERN, REFERENCE, LineCatalog
from muse_core.arcs.detection import COLUMNS, FWHM, Detected, detect_lines, middle_column
from muse_core.arcs.identify import MatchPlan, identify
from muse_core.arcs.line_fits import LineFitPlan, SliceWindow, fit_detected, fit_lines
from muse_core.arcs.polynomials import fit_curve_clipped
from muse_core.arcs.solution import FitPlan, Solution, fit_solution, valid_wavelengths

Floats = npt.NDArray[np.float64]
FLUX_LIMIT = 1.15  # times the smallest detected area: fainter lines of the catalogue take no part
FIRST_LIMIT = 3.0  # sigma, of the rejection in the first solution
MORE_LINES = 3  # than the order of the polynomial are needed


@dataclass(frozen=True)
class WavecalPlan:
    """The recipe's parameters, as the steps take them.

    Attributes
    ----------
    sigma : float
        Of the detection.
    match, lines, fit : plans of the steps
    ranges : tuple of (float, float)
        Wavelengths (Angstrom) whose lines take part in the solution.
    lampwise : bool
        All lines of the catalogue are fitted, each in the image of its lamp. Otherwise the images are the
        same for all lamps, and the lines that were detected in it are.
    """

    sigma: float
    match: MatchPlan
    lines: LineFitPlan
    fit: FitPlan
    ranges: tuple[tuple[float, float], ...]
    lampwise: bool = True


@dataclass(frozen=True)
class Identified:
    """Detected lines of all lamps, from blue to red, that have a name (for the quality page, and QC).

    ``y``, ``lam``, ``peak``, ``sigma`` (pixels): float64[n]; ``lamp``: names.
    """

    y: Floats
    lam: Floats
    peak: Floats
    sigma: Floats
    lamp: tuple[str, ...]

    @property
    def fwhm(self) -> Floats:
        """Angstrom, by the sampling between each line and its neighbours (measured against 2.8.7)."""
        if self.y.size < 2:
            return np.zeros(self.y.size)
        steps = np.diff(self.lam) / np.diff(self.y)
        sampling = 0.5 * (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]]))
        return FWHM * self.sigma * sampling


@dataclass(frozen=True)
class SliceResult:
    """What came of one slice.

    Attributes
    ----------
    number : int
        From 1.
    detected : int
        Lines of all lamps.
    column : int
        In the middle of the slice (from 1).
    identified : Identified
    widths : float64[n, 2]
        Wavelength and FWHM (Angstrom) of the fits of reference lines.
    solution : Solution or None
    reason : str
        Why there is no solution.
    ends : tuple of float
        Difference of the wavelengths of left and right edge at the bottom and at the top (Angstrom).
    place : tuple of float
        Middle row, and the wavelength there.
    """

    number: int
    detected: int = 0
    column: int = 0
    identified: Identified = field(
        default_factory=lambda: Identified(np.empty(0), np.empty(0), np.empty(0), np.empty(0), ())
    )
    widths: Floats = field(default_factory=lambda: np.empty((0, 2)))
    solution: Solution | None = None
    reason: str = ""
    ends: tuple[float, float] = (np.nan, np.nan)
    place: tuple[float, float] = (np.nan, np.nan)


def detect_in_slice(window: SliceWindow, column: int, sigma: float) -> list[tuple[tuple[str, ...], Detected]]:
    """Detect the lines of each image along the middle of a slice; with the names of its lamps."""
    found = []
    names: dict[int, list[str]] = {}
    for name, image in window.images.items():
        names.setdefault(id(image), []).append(name)
    for key, lamps in names.items():
        image = next(one for one in window.images.values() if id(one) == key)
        wanted = column - 1 + np.array(COLUMNS) - window.x0
        wanted = wanted[(wanted >= 0) & (wanted < image.data.shape[1])]
        if not wanted.size:
            continue
        value, variance = middle_column(image.data[:, wanted], image.stat[:, wanted], image.dq[:, wanted])
        found.append((tuple(lamps), detect_lines(value, variance, sigma)))
    return found


def identify_in_slice(
    found: list[tuple[tuple[str, ...], Detected]], catalog: LineCatalog, ny: int, plan: MatchPlan
) -> tuple[Identified, npt.NDArray[np.int64]]:
    """Tell which catalogue lines were detected; also their numbers (int64[n])."""
    centre = np.concatenate([d.centre for _, d in found])
    peak, sigma = (np.concatenate([getattr(d, name) for _, d in found]) for name in ("peak", "sigma"))
    image = np.repeat(np.arange(len(found)), [len(d) for _, d in found])
    lamp_image = np.full(catalog.lam.size, -1)
    bright = np.zeros(catalog.lam.size, bool)
    for k, (names, lines) in enumerate(found):
        own = np.array([lamp in names for lamp in catalog.lamp], bool) & (catalog.quality >= PATTERN)
        lamp_image[own] = k
        limit = FLUX_LIMIT * lines.area.min() if len(lines) else np.inf
        chosen = own & (catalog.flux >= limit)
        # fluxes of another scale than the counts tell nothing
        bright |= chosen if chosen.any() else own
    numbers = np.flatnonzero(bright & (lamp_image >= 0))
    partner = identify(centre, image, catalog.lam[numbers], lamp_image[numbers], ny, plan)
    order = np.argsort(centre, kind="stable")
    order = order[partner[order] >= 0]
    lines_found = numbers[partner[order]]
    names_found = tuple(catalog.lamp[i] for i in lines_found)
    lam = catalog.lam[lines_found]
    return Identified(centre[order], lam, peak[order], sigma[order], names_found), lines_found


def solve_slice(
    number: int, window: SliceWindow, middle: Floats, catalog: LineCatalog, plan: WavecalPlan
) -> SliceResult:
    """Find the wavelength solution of slice ``number`` (from 1).

    Parameters
    ----------
    number : int
    window : SliceWindow
    middle : float64[ny]
        Middle of the slice (1-based pixels).
    catalog : LineCatalog
    plan : WavecalPlan
    """
    ny = middle.size
    # measured against 2.8.7: the middle at half the rows, rounded
    column = int(np.floor(middle[max(ny // 2 - 1, 0)] + 0.5))
    found = detect_in_slice(window, column, plan.sigma)
    detected = sum(len(lines) for _, lines in found)
    if not found or not detected:
        return SliceResult(number, detected, column, reason="no line was detected")
    identified, lines = identify_in_slice(found, catalog, ny, plan.match)
    least = plan.fit.yorder + MORE_LINES
    distinct = np.unique(lines).size
    if distinct < least:
        reason = f"{distinct} of {detected} detected lines were identified, {least} are needed"
        return SliceResult(number, detected, column, identified, reason=reason)
    first = fit_curve_clipped(identified.lam, identified.y, plan.fit.yorder, FIRST_LIMIT)
    if first is None:
        reason = "the first solution through the identified lines is singular"
        return SliceResult(number, detected, column, identified, reason=reason)
    if plan.lampwise:
        lit = np.array([lamp in window.images for lamp in catalog.lamp], bool)
        fitted = fit_lines(window, catalog, lit, first[0], plan.lines)
    else:
        fitted = fit_detected(window, catalog, lines, identified.y, identified.sigma, plan.lines)
        reference = (catalog.quality[lines] == REFERENCE) & (identified.fwhm > 0)
        widths = np.stack([identified.lam, identified.fwhm], axis=1)[reference]
        fitted = replace(fitted, widths=widths)
    points = fitted.points
    good = valid_wavelengths(points.lam, plan.ranges)
    solution = fit_solution(points.chosen(good), points.x.size, plan.fit)
    if solution is None:
        reason = (
            f"{int(good.sum())} places on {np.unique(points.line[good]).size} lines are too few for the fit"
        )
        return SliceResult(number, detected, column, identified, fitted.widths, reason=reason)
    bottom, top = (
        float(np.subtract(*solution.surface([window.left[row], window.right[row]], [row + 1.0] * 2)))
        for row in (0, ny - 1)
    )
    row = 0.5 * (ny + 1)
    centre = float(np.interp(row, np.arange(1, ny + 1), middle))
    place = row, float(solution.surface(centre, row))
    return SliceResult(
        number, detected, column, identified, fitted.widths, solution, "", (bottom, top), place
    )

# SPDX-License-Identifier: BSD-3-Clause
"""Fit of the sky-line fluxes to the sky spectrum of an exposure.

The residuals are differences between neighbouring bins, so that a smooth continuum drops out.  Each group
of lines has one factor ``p**2``.  With LSF images two more parameters shift all lines by ``b + a (l -
7000)``; with LSF parameter tables the positions are kept and one profile for the whole spectrum is fitted
along (and thrown away). Start values, residuals and optimiser are those of the C pipeline, measured against
2.8.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.data.kernels import last_not_above
from muse_core.framework import RecipeError
from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.sky.levenberg_marquardt import FitResult, fit_least_squares
from muse_core.postproc.sky.line_kernels import add_hermite_lines, add_image_lines, difference_residuals
from muse_core.postproc.sky.line_list import SkyLines
from muse_core.postproc.sky.spectrum import SkySpectrum

LAM_REFERENCE = 7000.0
FAINT_IN_FIT = 1e-4
RESTARTS = 4
RESTART_SPREAD = 1e-6
CLEARLY_BETTER = 1e-6  # relative difference of chi-square from which a restart is preferred
FAINT_AT_START = 1e-6
START_WITHOUT_FLUX = 0.1
EVALUATIONS_PER_PARAMETER = 100
TABLE_REACH = 7.0
SLIT_WIDTH, BIN_WIDTH = 2.61, 1.25  # Angstrom, fixed in the table flavour
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LineFit:
    """The fitted lines and how the fit went.

    Parameters
    ----------
    lines : the lines with fitted fluxes and positions, by decreasing flux; these are subtracted and saved
    result : parameters, chi-square and state of the optimiser
    factor : float64[n_group]   factor of each group
    shift_ends : ((shift, wavelength) of the first line, the same of the last line)
    undetermined : groups whose factor the data do not constrain, for the log
    """

    lines: SkyLines
    result: FitResult
    factor: Vector
    shift_ends: tuple[tuple[float, float], tuple[float, float]]
    undetermined: tuple[int, ...] = ()

    def message(self) -> str:
        """Return the sentence for the log."""
        if not self.result.converged:
            groups = ", ".join(str(g + 1) for g in self.undetermined)
            return (
                f"Sky line fit failed after {self.result.n_evaluations} evaluations ({self.result.reason}); "
                f"the result so far is used. Group(s) concerned: {groups or 'all'}"
            )
        (low, lam_low), (high, lam_high) = self.shift_ends
        return (
            f"Sky line fit finished successfully. Offset {low:.3f} A (at {lam_low:.0f} A) ... {high:.3f} A "
            f"(at {lam_high:.0f} A)"
        )


def check_fit_inputs(spectrum: SkySpectrum, lines: SkyLines) -> None:
    """Refuse a spectrum or a line list with which no fit is possible."""
    if spectrum.lam.size < 3:
        raise RecipeError(
            f"The sky spectrum has only {spectrum.lam.size} bins, too few for a line fit. Lower "
            "its sampling, raise skymodel_fraction or give a SKY_MASK that overlaps the field."
        )
    if len(lines) == 0:
        raise RecipeError(
            f"No line of SKY_LINES lies in the range of the sky spectrum, {spectrum.lam[0]:.1f} .. "
            f"{spectrum.lam[-1]:.1f} Angstrom. Check the wavelengths of the list (Angstrom, air)."
        )
    if not (np.isfinite(spectrum.data).all() and np.isfinite(spectrum.stat).all()):
        raise RecipeError(
            "The sky spectrum contains values that are not finite. Rows with NaN in data or stat but "
            "dq = 0 cause this; flag them in the pixel tables."
        )
    if not (spectrum.stat[1:] + spectrum.stat[:-1] > 0).all():
        raise RecipeError(
            "The variances of the sky spectrum are not positive. Check the column stat of the pixel tables."
        )


# ------------------------------------------------------------ models of the spectrum
def line_spectrum(lam: Vector, lines_lam: Vector, flux: Vector, lsf: LsfImage, faint: float) -> Vector:
    """Return the spectrum of lines on bins, with an averaged and folded profile.

    Lines fainter than ``faint`` times the brightest are left out.
    """
    out = np.zeros(lam.size)
    add_image_lines(
        lam, lines_lam, flux, lsf.samples[0], lsf.total[0], lsf.moment[0], *lsf.grid(), faint, out
    )
    return out


# ------------------------------------------------------------ the two fits
def start_factors(
    spectrum: SkySpectrum, lines: SkyLines, model: Vector, half_width: float, *, background: bool
) -> Vector:
    """Return the start value of ``p`` for each group, from the line with the largest input flux.

    Parameters
    ----------
    model : spectrum of all lines with their input fluxes
    half_width : how far around the line the sums go
    background : subtract the mean of the two ends first, and count only what is above it
    """
    n_group = int(lines.group.max()) + 1
    p = np.full(n_group, START_WITHOUT_FLUX)
    for g in range(n_group):
        members = np.flatnonzero(lines.group == g)
        lam = lines.lam[members[np.argmax(lines.flux[members])]]
        low, high = (
            last_not_above(spectrum.lam, lam + side * half_width, 0, spectrum.lam.size) for side in (-1, 1)
        )
        seen = spectrum.data[low : high + 1]
        if background:
            seen = np.maximum(seen - 0.5 * (spectrum.data[low] + spectrum.data[high]), 0.0)
        expected = float(model[low : high + 1].sum())
        if expected > 0.0 and seen.sum() >= 0.0:
            p[g] = np.sqrt(float(seen.sum()) / expected)
    return p


def shifted_lines(lines: SkyLines, p: Vector) -> tuple[Vector, Vector]:
    """Return positions and fluxes of the lines for the parameters of the image flavour."""
    n_group = p.size - 2
    lam = lines.lam + p[n_group + 1] + p[n_group] * (lines.lam - LAM_REFERENCE)
    return lam, p[:n_group][lines.group] ** 2 * lines.flux


def image_objective(spectrum: SkySpectrum, lines: SkyLines, lsf: LsfImage) -> Callable[[Vector], Vector]:
    """Return the function that gives the residuals of the image flavour, one less than there are bins."""
    seen = neighbour_differences(spectrum)

    def residuals(p: Vector) -> Vector:
        lam, flux = shifted_lines(lines, p)
        return difference_residuals(line_spectrum(spectrum.lam, lam, flux, lsf, FAINT_IN_FIT), *seen)

    return residuals


def neighbour_differences(spectrum: SkySpectrum) -> tuple[Vector, Vector]:
    """Return the differences between neighbouring bins, and their standard deviations."""
    return np.diff(spectrum.data), np.sqrt(spectrum.stat[1:] + spectrum.stat[:-1])


def fit_image_lines(
    spectrum: SkySpectrum,
    lines: SkyLines,
    lsf: LsfImage,
    start: Vector | None = None,
    restarts: int = RESTARTS,
) -> LineFit:
    """Fit group factors and a common shift with LSF images.

    Parameters
    ----------
    lines : the lines in the range of the spectrum (`SkyLines.in_range`)
    lsf : the averaged, folded profile (`lsf.average_lsf`)
    start : start values, if not those of `start_factors`
    restarts : see `best_fit`; 0 does what the C pipeline does
    """
    check_fit_inputs(spectrum, lines)
    if start is None:
        model = line_spectrum(spectrum.lam, lines.lam, lines.flux, lsf, FAINT_AT_START)
        start = np.append(start_factors(spectrum, lines, model, 3.0, background=True), [0.0, 0.0])
    result = best_fit(image_objective(spectrum, lines, lsf), start, restarts)
    lam, flux = shifted_lines(lines, result.p)
    return _line_fit(replace(lines, lam=lam, flux=flux), lines, result, result.p[:-2])


def best_fit(residuals: Callable[[Vector], Vector], start: Vector, restarts: int) -> FitResult:
    """Fit from the start values, then from slightly different ones, and take a clearly better result.

    The objective has kinks, hence many minima next to each other, and rounding decides in which one a fit
    ends. The C pipeline fits once; a change of its input by one part in 1e8 can move it by one per cent in
    a weak group. The restarts make it unlikely that the result is one of the worse minima. They are the
    same in every run.
    """
    limit = EVALUATIONS_PER_PARAMETER * (start.size + 1)
    spread = np.cos(np.arange(1, start.size + 1) * np.arange(1.0, restarts + 1)[:, np.newaxis])
    best = fit_least_squares(residuals, start, limit)
    for factor in 1.0 + RESTART_SPREAD * spread:
        other = fit_least_squares(residuals, start * factor, limit)
        if other.converged and other.chi2 < best.chi2 * (1.0 - CLEARLY_BETTER):
            best = other
    return best


def hermite_parameters(p: Vector, lines: SkyLines) -> npt.NDArray[np.float64]:
    """Return the profile parameters of each line, float64[n_line, 7], of the table flavour."""
    shape = p[-9:]  # two without effect, three of the width, four of the Hermite terms
    d = lines.lam - LAM_REFERENCE
    out = np.empty((len(lines), 7))
    out[:, 0], out[:, 1] = SLIT_WIDTH / 2, BIN_WIDTH / 2
    out[:, 2] = shape[2] + shape[3] * d + shape[4] * d**2
    out[:, 3:] = shape[5:]
    return out


def table_objective(spectrum: SkySpectrum, lines: SkyLines) -> Callable[[Vector], Vector]:
    """Return the function that gives the residuals of the table flavour."""
    seen = neighbour_differences(spectrum)

    def residuals(p: Vector) -> Vector:
        model = np.zeros(spectrum.lam.size)
        flux = p[:-9][lines.group] ** 2 * lines.flux
        shape = hermite_parameters(p, lines)
        add_hermite_lines(spectrum.lam, lines.lam, flux, shape, TABLE_REACH, FAINT_IN_FIT, model)
        return difference_residuals(model, *seen)

    return residuals


def fit_table_lines(
    spectrum: SkySpectrum, lines: SkyLines, start: Vector | None = None, restarts: int = 0
) -> LineFit:
    """Fit group factors and one profile for the whole spectrum, for LSF parameter tables.

    This objective is smooth: in nine simulated fields (44 to 514 lines) eight restarts never found a better
    minimum.
    """
    check_fit_inputs(spectrum, lines)
    if start is None:
        shape = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        unit = np.append(np.ones(int(lines.group.max()) + 1), shape)
        model = np.zeros(spectrum.lam.size)
        add_hermite_lines(
            spectrum.lam,
            lines.lam,
            lines.flux,
            hermite_parameters(unit, lines),
            TABLE_REACH,
            FAINT_AT_START,
            model,
        )
        start = np.append(start_factors(spectrum, lines, model, 2.0, background=False), shape)
    result = best_fit(table_objective(spectrum, lines), start, restarts)
    flux = result.p[:-9][lines.group] ** 2 * lines.flux
    return _line_fit(replace(lines, flux=flux), lines, result, result.p[:-9])


def _line_fit(fitted: SkyLines, lines: SkyLines, result: FitResult, p: Vector) -> LineFit:
    first, last = int(np.argmin(fitted.lam)), int(np.argmax(fitted.lam))
    shift = fitted.lam - lines.lam
    ends = ((float(shift[first]), float(fitted.lam[first])), (float(shift[last]), float(fitted.lam[last])))
    return LineFit(fitted.sorted_by_flux(), result, p**2, ends)


# ------------------------------------------------------------ continuum
def fit_continuum(
    spectrum: SkySpectrum, fitted: SkyLines, lsf: LsfImage, sampling: float
) -> tuple[Vector, Vector]:
    """Return wavelength and flux of the continuum: the spectrum without the fitted lines (image flavour).

    Here all lines count, also those too faint for the fit (measured against 2.8.7).

    Parameters
    ----------
    lsf : the averaged, folded profile with which the lines were fitted
    sampling : ``skymodel_csampling``
    """
    rest = spectrum.data - line_spectrum(spectrum.lam, fitted.lam, fitted.flux, lsf, 0.0)
    n = int((spectrum.lam[-1] - spectrum.lam[0]) / sampling)
    lam = spectrum.lam[0] + np.arange(n) * sampling
    return lam, np.interp(lam, spectrum.lam, rest)

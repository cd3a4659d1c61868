# SPDX-License-Identifier: BSD-3-Clause
"""Refinement of the wavelengths of an IFU by bright sky lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.basic.gaussian import fit_gaussian
from muse_core.basic.spectrum import BinnedSpectrum, LinearSum

DEFAULT_REJECT = (15.0, 15.0, 1.0)
LEAST_SIGNIFICANCE = 5.0  # of the flux of a line that is to be believed
WIDTHS = (0.4, 3.0)  # Angstrom: sigma of an unresolved line, generously
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SkyLinePlan:
    """Parameters ``skylines``, ``skyhalfwidth``, ``skybinsize``, ``skyreject`` (high, low, passes).

    ``believe_all`` applies the shift of a line that is not there, too, as 2.8.7 does; ``by_slice`` refines
    the slices, too (``slicelines``).
    """

    lines: tuple[float, ...] = (5577.339, 6300.304)
    half_width: float = 5.0
    bin_size: float = 0.1
    reject: tuple[float, float, float] = DEFAULT_REJECT
    believe_all: bool = False
    by_slice: bool = False


def reject_limits(given: Sequence[float]) -> tuple[float, float, float]:
    """Return high and low limit and number of passes; what is not given keeps its default.

    >>> reject_limits((4.0,))
    (4.0, 15.0, 1.0)
    """
    high, low, passes = (*given, *DEFAULT_REJECT[len(given) :])
    return high, low, passes


@dataclass(frozen=True)
class LineFit:
    """A Gaussian on a constant, fitted to a sky line.

    Attributes
    ----------
    line : float
        Wavelength that the line has (Angstrom).
    centre, error : float
        Where it was found, and the error of that.
    sigma, area, area_error, background : float
    rows, rejected : int
        Rows in the window; outliers of them.
    """

    line: float
    centre: float
    error: float
    sigma: float
    area: float
    area_error: float
    background: float
    rows: int
    rejected: int

    @property
    def offset(self) -> float:
        """What has to be added to the wavelengths."""
        return self.line - self.centre

    def doubt(self, half_width: float) -> str:
        """Tell why the fit is no sky line; "" if it is one."""
        if not (np.isfinite(self.centre) and self.error > 0 and np.isfinite(self.error)):
            return "the fit failed"
        if not self.area > LEAST_SIGNIFICANCE * self.area_error:
            return f"its flux is {self.area:.3g} +/- {self.area_error:.3g}"
        if not WIDTHS[0] <= abs(self.sigma) <= WIDTHS[1]:
            return f"its width (sigma) is {abs(self.sigma):.2f} Angstrom"
        if abs(self.offset) > 0.5 * half_width:
            return f"it would lie {self.offset:.2f} Angstrom off"
        return ""


@dataclass(frozen=True)
class WavelengthShift:
    """Shift (Angstrom) from all lines that count.

    Attributes
    ----------
    value : float
    fits : tuple of LineFit
        All of them.
    doubts : tuple of str
        Why some do not count.
    absent : tuple of float
        Lines of which the detector sees nothing.
    slices : float64[48] or None
        What the slices are moved beside it; None if that was not asked for.
    unmoved : str
        Why no slice was moved, although it was asked for: nothing could be measured.
    """

    value: float
    fits: tuple[LineFit, ...] = ()
    doubts: tuple[str, ...] = ()
    absent: tuple[float, ...] = ()
    slices: npt.NDArray[np.float64] | None = None
    unmoved: str = ""

    @property
    def moved(self) -> int:
        """Number of slices that have a shift of their own."""
        return 0 if self.slices is None else int(np.count_nonzero(self.slices))


def _fit_bins(spectrum: BinnedSpectrum) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Fit the bins that received something, with the errors of their variances."""
    usable = spectrum.filled & (spectrum.stat > 0)
    return fit_gaussian(spectrum.lam[usable], spectrum.data[usable], np.sqrt(spectrum.stat[usable]))


def fit_line(
    line: float,
    lam: Floats,
    data: Floats,
    stat: Floats,
    dq: npt.NDArray[np.int32],
    lam_min: float,
    plan: SkyLinePlan,
) -> LineFit:
    """Fit one line to the rows of its window.

    Parameters
    ----------
    line : float
    lam, data, stat : float32[n]; dq : int32[n]
        Rows of the window, in the order of the table.
    lam_min : float
        Smallest wavelength of the whole table, where the bins begin.
    plan : SkyLinePlan
    """
    good = dq == 0
    high, low, passes = plan.reject
    use = good.copy()
    spectrum = _window_spectrum(line, lam, data, stat, use, lam_min, plan)
    for _ in range(int(passes)):
        inside = use & spectrum.inside(lam, data, high, low)
        if np.array_equal(inside, use):
            break
        use = inside
        spectrum = _window_spectrum(line, lam, data, stat, use, lam_min, plan)
    (centre, sigma, area, background), errors = _fit_bins(spectrum)
    if not abs(centre - line) <= plan.half_width:
        centre = float("nan")  # the fit has left the window
    error = errors[0]
    if not np.isfinite(error) and area > 0:
        error = abs(sigma) / np.sqrt(area)  # measured against 2.8.7 in one case
    return LineFit(
        line=line,
        centre=float(centre),
        error=float(error),
        sigma=float(sigma),
        area=float(area),
        area_error=float(errors[2]),
        background=float(background),
        rows=int(lam.size),
        rejected=int(good.sum() - use.sum()),
    )


def _window_spectrum(
    line: float,
    lam: Floats,
    data: Floats,
    stat: Floats,
    use: npt.NDArray[np.bool_],
    lam_min: float,
    plan: SkyLinePlan,
) -> BinnedSpectrum:
    """Spectrum of the window alone; its bins are those of the whole table."""
    limits = line - plan.half_width - plan.bin_size, line + plan.half_width + plan.bin_size
    return LinearSum(lam_min, plan.bin_size, limits).add(lam, data, stat, use).spectrum()


def combine_fits(
    fits: Sequence[LineFit], plan: SkyLinePlan, absent: tuple[float, ...] = ()
) -> WavelengthShift:
    """Return the mean of the offsets, weighted with their inverse errors as in 2.8.7.

    A line that is not there is left out (see `LineFit.doubt`).
    """
    doubts = [] if plan.believe_all else [fit.doubt(plan.half_width) for fit in fits]
    used = [fit for i, fit in enumerate(fits) if not (doubts and doubts[i])]
    used = [fit for fit in used if np.isfinite(fit.offset) and fit.error > 0 and np.isfinite(fit.error)]
    texts = tuple(
        f"{fit.line:.3f} Angstrom: {doubt}" for fit, doubt in zip(fits, doubts, strict=False) if doubt
    )
    if not used:
        return WavelengthShift(0.0, tuple(fits), texts, absent)
    weights = np.array([1.0 / fit.error for fit in used])
    offsets = np.array([fit.offset for fit in used])
    value = float(np.sum(weights * offsets) / np.sum(weights))
    return WavelengthShift(value, tuple(fits), texts, absent)

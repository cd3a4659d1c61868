# SPDX-License-Identifier: BSD-3-Clause
"""Fit of a sky model (skymethod=model): line fluxes and continuum, and what is subtracted with them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.curves import UNCOVERED
from muse_core.data.slices import rows_by_slice
from muse_core.framework import InputError, RecipeError
from muse_core.postproc.flatfield.spectrum import cut_table
from muse_core.postproc.lsf.images import LsfImage, average_lsf
from muse_core.postproc.lsf.load import check_lsf_covers
from muse_core.postproc.sky.continuum import fit_rows_continuum, fit_sorted_rows_continuum
from muse_core.postproc.sky.line_fit import (
    RESTARTS,
    SLIT_WIDTH,
    fit_continuum,
    fit_image_lines,
    fit_table_lines,
)
from muse_core.postproc.sky.line_list import SkyLines
from muse_core.postproc.sky.line_subtraction import LineModel, line_model
from muse_core.postproc.sky.line_windows import LineWindows
from muse_core.postproc.sky.spectrum import SkyCurve, SkySpectrum

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.framework.defects import Defects
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.sky.calibrations import SkyCalibrations
    from muse_core.postproc.sky.region import SkyRegion

Vector = npt.NDArray[np.float64]
INSTRUMENT_RANGE = (3000.0, 12000.0)
"""Wavelengths [Angstrom] of which a line list in the right unit has some."""
LEAST_LINE = 0.05
"""Height of the brightest line at least, in units of the scatter from bin to bin."""


CONVERGED = "fit of the sky lines converged"


@dataclass(frozen=True)
class FittedSky:
    """Lines with fitted fluxes and positions, and the continuum (wavelength and flux)."""

    lines: SkyLines
    continuum: tuple[Vector, Vector]


def fit_sky(
    exposure: Reduction,
    region: SkyRegion,
    calibrations: SkyCalibrations,
    p: ParamValues,
    ctx: RunContext,
    weights: npt.NDArray[np.int64] | None = None,
) -> FittedSky:
    """Fit the sky lines to the sky spectrum and return them with the continuum.

    Parameters
    ----------
    weights : int64[1152] or None
        weight of each slice in the average profile; None: the number of its rows

    With LSF images the lines are fitted with the average profile, with LSF parameter tables a profile is
    fitted along. The continuum is the mean spectrum of rows without their lines; it takes up what is left.
    """
    lines = _lines_in_range(calibrations.lines, region.spectrum, ctx.defects, ctx.log)
    lsf = calibrations.lsf
    if lsf is None:
        raise RecipeError("no LSF_PROFILE was given, the sky model cannot be used")
    rows_of_slice = rows_by_slice(exposure.chain.files.rows_of_slices())
    _check_profiles(calibrations, rows_of_slice, ctx)
    if weights is None:
        weights = rows_of_slice
    average = average_lsf(lsf, weights, p.skymodel_sampling) if isinstance(lsf, LsfImage) else None
    fitted = _fit_lines(region.spectrum, lines, average, ctx)
    if calibrations.continuum is not None:
        return FittedSky(fitted, calibrations.continuum)
    defects = ctx.defects
    if average is not None and defects.darkest_spaxels_as_sky:
        continuum = fit_continuum(region.spectrum, fitted, average, p.skymodel_csampling)
        return FittedSky(fitted, continuum)
    sorted_rows = average is None and (defects.sky_rows_by_old_numbers or defects.darkest_spaxels_as_sky)
    fit = fit_sorted_rows_continuum if sorted_rows else fit_rows_continuum
    continuum = ctx.kept.once(
        f"exposure {exposure.number}: continuum of the sky",
        lambda: fit(exposure.chain, region, fitted, lsf, p.skymodel_csampling),
    )
    return FittedSky(fitted, continuum)


def _fit_lines(spectrum: SkySpectrum, lines: SkyLines, average: LsfImage | None, ctx: RunContext) -> SkyLines:
    """Fit the lines with the averaged profile, or with a profile that is fitted along."""
    if not len(lines):
        return lines
    if average is not None:
        restarts = 0 if ctx.defects.single_line_fit else RESTARTS
        fit = fit_image_lines(spectrum, lines, average, restarts=restarts)
    else:
        fit = fit_table_lines(spectrum, lines)
    if fit.result.converged:
        ctx.log.info("%s", fit.message())
        ctx.flag("SKY CONVERGED", True, CONVERGED)
    else:
        ctx.undone("SKY CONVERGED", fit.message(), CONVERGED)
    _tell_without_lines(spectrum, fit.lines, ctx.log)
    return fit.lines


def _tell_without_lines(spectrum: SkySpectrum, lines: SkyLines, log: logging.Logger) -> None:
    """Warn where no line stands out: wavelengths of the exposure, the list or the profiles that are wrong."""
    brightest = float(np.max(lines.flux)) / SLIT_WIDTH  # per Angstrom, as the spectrum
    scatter = float(np.median(np.abs(np.diff(spectrum.data)))) if spectrum.data.size > 1 else 0.0
    if not brightest > LEAST_LINE * scatter:
        log.warning(
            "no line of SKY_LINES is seen in the sky spectrum (the brightest one fitted has %.3g, the bins "
            "scatter by %.3g): check the wavelengths of the exposure and of SKY_LINES, and LSF_PROFILE",
            brightest,
            scatter,
        )


def _lines_in_range(
    lines: SkyLines | None, spectrum: SkySpectrum, defects: Defects, log: logging.Logger
) -> SkyLines:
    if lines is None:
        raise RecipeError("no SKY_LINES were given, the sky model cannot be fitted")
    chosen = lines.in_range(float(spectrum.lam[0]), float(spectrum.lam[-1]))
    if not defects.sky_lines_out_of_range and spectrum.lam.size > 1:
        seen = chosen.beside_bins(spectrum.lam)
        if len(seen) < len(chosen):
            log.info("%d lines in gaps of the sky spectrum are left out", len(chosen) - len(seen))
        chosen = seen
    if not len(chosen):
        ends = f"{spectrum.lam[0]:.1f} .. {spectrum.lam[-1]:.1f} Angstrom"
        low, high = INSTRUMENT_RANGE
        if not (defects.sky_lines_out_of_range or ((lines.lam > low) & (lines.lam < high)).any()):
            raise RecipeError(
                f"No line of SKY_LINES lies in the range of the sky spectrum, {ends}, nor anywhere in the "
                "range of the instrument. Check the wavelengths of the list (Angstrom, air)."
            )
        log.warning("No line of SKY_LINES lies in the range of the sky spectrum, %s", ends)
    log.info("fitting %d sky lines in %d groups", len(chosen), len(np.unique(chosen.group)))
    return chosen


def _check_profiles(
    calibrations: SkyCalibrations, rows_of_slice: npt.NDArray[np.int64], ctx: RunContext
) -> None:
    if calibrations.lsf is None:
        raise RecipeError("no LSF_PROFILE was given, the sky model cannot be used")
    try:
        check_lsf_covers(calibrations.lsf, rows_of_slice, calibrations.lsf_files)
    except InputError as error:
        if not ctx.defects.lsf_gaps_leave_lines:
            raise
        ctx.log.warning("Ignoring lines in sky subtraction where there is no profile: %s", error)


def cut_to_curve(exposure: Reduction, curve: SkyCurve) -> None:
    """Remove the rows outside of a curve, and cut the extra tables of the exposure likewise."""
    chain, product = exposure.chain, exposure.product
    limits = exposure.stated_range or chain.files.lambda_limits()
    product.tables = [cut_table(table, limits, *curve.range) for table in product.tables]
    chain.narrow(*curve.range)


def cut_to_continuum(
    exposure: Reduction, continuum: tuple[Vector, Vector], log: logging.Logger, tag: str = "SKY_CONTINUUM"
) -> SkyCurve:
    """Return a continuum as a curve, after the rows outside of it were removed.

    Raises
    ------
    InputError
        naming the tag, where it has no wavelength in common with the exposure
    """
    lam = continuum[0]
    low, high = exposure.chain.files.lambda_limits()
    if lam.size == 0 or lam[0] > high or lam[-1] < low:
        span = f"{lam[0]:.1f} .. {lam[-1]:.1f} Angstrom" if lam.size else "no wavelength at all"
        raise InputError(
            "", f"{tag}, column lambda",
            expected=f"wavelengths of exposure {exposure.number} ({low:.1f} .. {high:.1f} Angstrom)",
            found=f"{span}, so nothing would be left", remedy="Check it, its unit, and skymodel_csampling.",
        )  # fmt: skip
    tell_short_continuum(continuum, (low, high), log)
    curve = SkyCurve.from_nodes(*continuum)
    log.info("Cutting data to %.3f...%.3f Angstrom for sky subtraction (range of continuum)", *curve.range)
    cut_to_curve(exposure, curve)
    return curve


def tell_short_continuum(
    continuum: tuple[Vector, Vector], limits: tuple[float, float], log: logging.Logger
) -> None:
    """Warn where a continuum ends within the data: rows beyond it are left out of what is made with it."""
    (low, high), (first, last) = limits, (float(continuum[0][0]), float(continuum[0][-1]))
    if first > low + UNCOVERED or last < high - UNCOVERED:
        log.warning(
            "SKY_CONTINUUM covers only %.1f to %.1f Angstrom of %.1f to %.1f: beyond it nothing is "
            "subtracted, and those rows are left out", first, last, low, high,
        )  # fmt: skip


def place_lines_in_rows(
    exposure: Reduction, lines: SkyLines | None, calibrations: SkyCalibrations, ctx: RunContext
) -> LineModel:
    """Prepare lines for subtraction; of the rows only wavelengths and origins are read."""
    if lines is None or calibrations.lsf is None:
        raise RecipeError("SKY_LINES and LSF_PROFILE are needed for this sky subtraction")
    empty = partial(LineWindows, lines.lam, calibrations.lsf.reach)
    windows = exposure.chain.total_of_places(empty, LineWindows.add_block)
    _check_profiles(calibrations, windows.rows, ctx)
    return line_model(lines, calibrations.lsf, windows)

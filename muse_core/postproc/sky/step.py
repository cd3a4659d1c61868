# SPDX-License-Identifier: BSD-3-Clause
"""The sky step of muse_scipost: find the sky, make its spectrum, subtract it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.header_values import seven_digits
from muse_core.data.pixtable_writer import column_units
from muse_core.framework import Frame, InputError, RecipeError
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.exposure.reduction import FLAT_CORRECTED, PIXTABLE, PendingProduct, Reduction, Step
from muse_core.postproc.flatfield.spectrum import cut_table
from muse_core.postproc.lsf.images import LsfImage, average_lsf, rows_by_slice
from muse_core.postproc.lsf.load import check_lsf_covers
from muse_core.postproc.lsf.tables import LsfTable
from muse_core.postproc.sky import calibrations
from muse_core.postproc.sky import products as sky_products
from muse_core.postproc.sky.continuum import (
    continuum_from_rows,
    fit_rows_continuum,
    fit_sorted_rows_continuum,
)
from muse_core.postproc.sky.line_fit import RESTARTS, fit_continuum, fit_image_lines, fit_table_lines
from muse_core.postproc.sky.line_list import SkyLines
from muse_core.postproc.sky.line_subtraction import line_model, subtract_lines
from muse_core.postproc.sky.line_windows import LineWindows
from muse_core.postproc.sky.region import SkyRegion, find_sky
from muse_core.postproc.sky.spectrum import Curve, SkySpectrum, subtract_curve
from muse_core.postproc.white_light.image import WhiteImage

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
    from muse_core.postproc.sky.calibrations import SkyCalibrations

Vector = npt.NDArray[np.float64]


def keep_image(white: WhiteImage, reduction: Reduction, settings: Any) -> None:
    """Leave SKY_IMAGE to be written, if asked for."""
    if "skymodel" not in settings.save:
        return
    header = header_without(reduction.header, lambda key: key.startswith(PIXTABLE))
    fraction = seven_digits(white.fraction)
    image = sky_products.sky_image(white.image, *white.corner, reduction.data_unit, fraction)
    if f"{PIXTABLE} FFCORR" in reduction.header:
        set_card(image[0][0].header, *FLAT_CORRECTED)
    reduction.pending.append(PendingProduct("SKY_IMAGE", *image, base=header))


def keep_region(region: SkyRegion, reduction: Reduction, settings: Any) -> None:
    """Leave SKY_IMAGE, SKY_MASK and SKY_SPECTRUM to be written, if asked for."""
    if "skymodel" not in settings.save:
        return
    keep_image(region.white, reduction, settings)
    header = header_without(reduction.header, lambda key: key.startswith(PIXTABLE))
    reduction.pending.append(PendingProduct("SKY_MASK", *sky_products.sky_mask(region.mask), base=header))
    unit = reduction.data_unit
    spectrum = sky_products.sky_spectrum(region.spectrum, unit, column_units("pix", unit)["stat"])
    reduction.pending.append(PendingProduct("SKY_SPECTRUM", *spectrum))


def subtract_sky(
    reduction: Reduction,
    p: ParamValues,
    settings: Any,
    calib: Any,
    ctx: RunContext,
    white: WhiteImage | None = None,
) -> None:
    """Subtract the sky of one exposure by the method asked for.

    Parameters
    ----------
    white : WhiteImage or None
        white-light image that the autocalibration has made; the C recipe uses it again, or writes it at
        least (measured, 2.8.7)
    """
    if p.skymethod in ("none", "subtract-model") and white is not None:
        keep_image(white, reduction, settings)
    if p.skymethod == "none":
        return
    if p.skymethod == "subtract-model":
        subtract_model(reduction, calib.sky_lines, calib.sky_continuum, calib, ctx)
        return
    region = find_sky(reduction, p, settings, calib, ctx, white)
    keep_region(region, reduction, settings)
    if p.skymethod == "simple":
        _subtract_curve(reduction, region.spectrum.curve())
        reduction.sorted_slices = True
        return
    lines, continuum = fit_model(reduction, region, p, calib, ctx)
    if "skymodel" in settings.save:
        reduction.pending.append(PendingProduct("SKY_LINES", *sky_products.sky_lines(lines), with_wcs=True))
        if calib.sky_continuum is None:  # a given continuum is not written again
            unit = sky_products.CONTINUUM_UNIT if isinstance(calib.lsf, LsfImage) else reduction.data_unit
            product = sky_products.sky_continuum(*continuum, unit)
            reduction.pending.append(PendingProduct("SKY_CONTINUUM", *product, with_wcs=True))
    subtract_model(reduction, lines, continuum, calib, ctx)


def _subtract_curve(reduction: Reduction, curve: Curve) -> None:
    """Subtract a spectrum that depends on wavelength only; rows outside of it are removed."""
    limits = reduction.exposure.lambda_limits()
    reduction.tables = [cut_table(table, limits, *curve.range) for table in reduction.tables]
    reduction.narrow(*curve.range)

    def apply(block: Block) -> None:
        subtract_curve(block.lam, block.data, curve)

    reduction.add(Step("sky continuum", apply))


def fit_model(
    reduction: Reduction,
    region: SkyRegion,
    p: ParamValues,
    calib: Any,
    ctx: RunContext,
) -> tuple[SkyLines, tuple[Vector, Vector]]:
    """Fit the sky lines to the sky spectrum and return them with the continuum.

    With LSF images the lines are fitted with the average profile and the continuum is what is left of the
    spectrum; with LSF parameter tables a profile is fitted along, and the continuum is the spectrum of
    rows without their lines.
    """
    lines = _lines_in_range(calib.sky_lines, region.spectrum, ctx)
    rows_of_slice = rows_by_slice(reduction.exposure.rows_of_slices())
    _check_profiles(calib, rows_of_slice, ctx)
    average = None
    if isinstance(calib.lsf, LsfImage):
        average = average_lsf(calib.lsf, rows_of_slice, p.skymodel_sampling)
    fitted = _fitted_lines(region.spectrum, lines, average, ctx)
    if calib.sky_continuum is not None:
        return fitted, calib.sky_continuum
    if average is not None and (ctx.compat or not continuum_from_rows()):
        return fitted, fit_continuum(region.spectrum, fitted, average, p.skymodel_csampling)
    from_rows = fit_sorted_rows_continuum if ctx.compat else fit_rows_continuum
    return fitted, from_rows(reduction, region, fitted, calib.lsf, p.skymodel_csampling)


def _fitted_lines(
    spectrum: SkySpectrum, lines: SkyLines, average: LsfImage | None, ctx: RunContext
) -> SkyLines:
    """Fit the lines with the averaged profile, or with a profile that is fitted along."""
    if not len(lines):
        return lines
    if average is not None:
        fit = fit_image_lines(spectrum, lines, average, restarts=0 if ctx.compat else RESTARTS)
    else:
        fit = fit_table_lines(spectrum, lines)
    (ctx.log.info if fit.result.converged else ctx.log.error)("%s", fit.message())
    return fit.lines


def _lines_in_range(lines: SkyLines | None, spectrum: SkySpectrum, ctx: RunContext) -> SkyLines:
    if lines is None:
        raise RecipeError("no SKY_LINES were given, the sky model cannot be fitted")
    chosen = lines.in_range(float(spectrum.lam[0]), float(spectrum.lam[-1]))
    if not len(chosen):
        ends = f"{spectrum.lam[0]:.1f} .. {spectrum.lam[-1]:.1f} Angstrom"
        if not ctx.compat and not ((lines.lam > 3000.0) & (lines.lam < 12000.0)).any():
            raise RecipeError(
                f"No line of SKY_LINES lies in the range of the sky spectrum, {ends}, nor anywhere in the "
                "range of the instrument. Check the wavelengths of the list (Angstrom, air)."
            )
        ctx.log.warning("No line of SKY_LINES lies in the range of the sky spectrum, %s", ends)
    ctx.log.info("fitting %d sky lines in %d groups", len(chosen), len(np.unique(chosen.group)))
    return chosen


def _check_profiles(calib: Any, rows_of_slice: npt.NDArray[np.int64], ctx: RunContext) -> None:
    if calib.lsf is None:
        raise RecipeError("no LSF_PROFILE was given, the sky model cannot be used")
    files = [frame.path for frame in calib.used if frame.tag == "LSF_PROFILE"]
    try:
        check_lsf_covers(calib.lsf, rows_of_slice, files)
    except InputError as error:
        if not ctx.compat:
            raise
        ctx.log.warning("Ignoring lines in sky subtraction where there is no profile: %s", error)


def _check_continuum(continuum: tuple[Vector, Vector], reduction: Reduction) -> None:
    """Refuse a continuum that leaves no data."""
    lam = continuum[0]
    low, high = reduction.exposure.lambda_limits()
    if lam.size == 0 or lam[0] > high or lam[-1] < low:
        span = f"{lam[0]:.1f} .. {lam[-1]:.1f} Angstrom" if lam.size else "no wavelength at all"
        raise RecipeError(
            f"exposure {reduction.number}: the sky continuum covers {span}, the data {low:.1f} .. {high:.1f} "
            "Angstrom, so nothing would be left; check SKY_CONTINUUM and skymodel_csampling"
        )


def subtract_model(
    reduction: Reduction,
    lines: SkyLines | None,
    continuum: tuple[Vector, Vector] | None,
    calib: Any,
    ctx: RunContext,
) -> None:
    """Subtract a continuum, then lines with the profile of each slice; no rows are read but wavelengths."""
    if continuum is not None:
        _check_continuum(continuum, reduction)
        curve = Curve.from_nodes(*continuum)
        ctx.log.info(
            "Cutting data to %.3f...%.3f Angstrom for sky subtraction (range of continuum)", *curve.range
        )
        _subtract_curve(reduction, curve)
    if lines is None or calib.lsf is None:
        raise RecipeError("SKY_LINES and LSF_PROFILE are needed for this sky subtraction")
    windows = LineWindows(lines.lam, calib.lsf.reach)
    reduction.scan(lambda block: windows.add(block.lam, block.origin, block.row))
    _check_profiles(calib, windows.rows, ctx)
    model = line_model(lines, calib.lsf, windows)

    def apply(block: Block) -> None:
        subtract_lines(block.lam, block.data, block.origin, block.row, model)

    reduction.add(Step("sky lines", apply))
    reduction.sorted_slices = True
    if isinstance(calib.lsf, LsfTable):
        reduction.set_card(f"{PIXTABLE} SKYSUB", True, "Pixel table was sky-subtracted")


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> SkyCalibrations:
    """Read the calibrations of the sky subtraction."""
    return calibrations.load(frames, p, ctx)


def correct(exposure: Reduction, calibrations: SkyCalibrations, p: ParamValues, ctx: RunContext) -> None:
    """Subtract the sky of one exposure by the method asked for."""
    bag = SimpleNamespace(  # transitional
        sky_lines=calibrations.lines,
        sky_continuum=calibrations.continuum,
        lsf=calibrations.lsf,
        sky_mask=calibrations.mask.mask,
        astrometry=calibrations.mask.astrometry.solution,
        offsets=calibrations.mask.astrometry.offsets,
        used=[Frame(path, "LSF_PROFILE") for path in calibrations.lsf_files],
    )
    settings = SimpleNamespace(save=p.save, sky_sigma=p.sky_crsigma)
    subtract_sky(exposure, p, settings, bag, ctx, exposure.white_image)

# SPDX-License-Identifier: BSD-3-Clause
"""The sky subtraction of muse_scipost: find the sky, make its spectrum or its model, subtract it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from muse_core.data.header_values import seven_digits
from muse_core.data.pixtable_writer import column_units
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.exposure.reduction import FLAT_CORRECTED, PIXTABLE, PendingProduct
from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.sky import products as sky_products
from muse_core.postproc.sky.calibrations import SkyCalibrations, load
from muse_core.postproc.sky.line_list import SkyLines
from muse_core.postproc.sky.model import SkyModel
from muse_core.postproc.sky.model_fit import (
    FittedSky,
    Vector,
    cut_to_continuum,
    cut_to_curve,
    fit_sky,
    place_lines_in_rows,
)
from muse_core.postproc.sky.refinement import fit_refinement
from muse_core.postproc.sky.region import SkyRegion, find_sky

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.white_light.image import WhiteImage

__all__ = ["correct", "load"]


def correct(
    exposure: Reduction, calibrations: SkyCalibrations, p: ParamValues, ctx: RunContext
) -> SkyModel | None:
    """Find the sky of one exposure by the method asked for.

    A white-light image that the autocalibration has made is used again, or written at least, as the C recipe
    does (measured, 2.8.7).
    """
    white = exposure.white_image
    ctx.flag(*sky_flag(p.skymethod))
    if p.skymethod in ("none", "subtract-model"):
        if white is not None and "skymodel" in p.save:
            _keep_image(exposure, white)
        if p.skymethod == "none":
            return None
        return _model(exposure, calibrations.lines, calibrations.continuum, calibrations, ctx)
    region = find_sky(exposure, calibrations.mask, p, ctx, white)
    if "skymodel" in p.save:
        keep_region(exposure, region)
    if p.skymethod == "simple":
        curve = region.spectrum.curve()
        cut_to_curve(exposure, curve)
        exposure.chain.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength
        return _refined(SkyModel(curve), exposure, region, p, ctx)
    fitted = fit_sky(exposure, region, calibrations, p, ctx)
    if "skymodel" in p.save:
        keep_model(exposure, fitted, calibrations, unit_of_c=ctx.defects.unreadable_units)
    model = _model(exposure, fitted.lines, fitted.continuum, calibrations, ctx)
    return _refined(model, exposure, region, p, ctx)


def _refined(
    model: SkyModel, exposure: Reduction, region: SkyRegion, p: ParamValues, ctx: RunContext
) -> SkyModel:
    """Return the model with what it leaves in each slice, unless that stays there."""
    if p.sky_refine == "false" or (p.sky_refine == "auto" and ctx.defects.slices_keep_residuals):
        return model
    if p.sky_refine == "auto" and region.is_filled:
        ctx.log.info("sky refinement: none, since a nebula or a galaxy fills the field (sky_refine=true)")
        return model
    refinement = fit_refinement(exposure.chain, region, model.apply)
    for _, value, comment in refinement.qc():
        ctx.log.info("sky refinement: %g (%s)", value, comment)
    if "skymodel" in p.save:
        hdus = sky_products.sky_refinement(refinement)
        product = exposure.product
        header = header_without(product.header, lambda key: key.startswith(PIXTABLE))
        product.pending.append(PendingProduct("SKY_REFINEMENT", hdus, refinement.qc(), base=header))
    return replace(model, refinement=refinement)


def sky_flag(method: str) -> tuple[str, str, str]:
    """Return the QC flag of the sky subtraction that was made."""
    return "SKY METHOD", method, "sky subtraction that was made"


def _model(
    exposure: Reduction,
    lines: SkyLines | None,
    continuum: tuple[Vector, Vector] | None,
    calibrations: SkyCalibrations,
    ctx: RunContext,
) -> SkyModel:
    """Return a continuum and lines with the profile of each slice, ready for subtraction."""
    curve = None if continuum is None else cut_to_continuum(exposure, continuum, ctx.log)
    model = SkyModel(curve, place_lines_in_rows(exposure, lines, calibrations, ctx))
    exposure.chain.sorted_slices = True  # as above
    return model


def _keep_image(exposure: Reduction, white: WhiteImage) -> None:
    """Leave SKY_IMAGE to be written."""
    product = exposure.product
    header = header_without(product.header, lambda key: key.startswith(PIXTABLE))
    fraction = seven_digits(white.fraction)
    image = sky_products.sky_image(white.image, *white.corner, product.data_unit, fraction)
    if f"{PIXTABLE} FFCORR" in product.header:
        set_card(image[0][0].header, *FLAT_CORRECTED)
    product.pending.append(PendingProduct("SKY_IMAGE", *image, base=header))


def keep_region(exposure: Reduction, region: SkyRegion) -> None:
    """Leave SKY_IMAGE, SKY_MASK and SKY_SPECTRUM to be written."""
    product = exposure.product
    _keep_image(exposure, region.white)
    header = header_without(product.header, lambda key: key.startswith(PIXTABLE))
    hdus, qc = sky_products.sky_mask(region.mask)
    product.pending.append(PendingProduct("SKY_MASK", hdus, [*qc, *region.qc()], base=header))
    unit = product.data_unit
    spectrum = sky_products.sky_spectrum(region.spectrum, unit, column_units("pix", unit)["stat"])
    product.pending.append(PendingProduct("SKY_SPECTRUM", *spectrum))


def keep_model(
    exposure: Reduction, fitted: FittedSky, calibrations: SkyCalibrations, *, unit_of_c: bool
) -> None:
    """Leave SKY_LINES and SKY_CONTINUUM to be written; a given continuum is not written again."""
    product = exposure.product
    product.pending.append(PendingProduct("SKY_LINES", *sky_products.sky_lines(fitted.lines), with_wcs=True))
    if calibrations.continuum is None:
        unit = product.data_unit
        if unit_of_c and isinstance(calibrations.lsf, LsfImage):
            unit = sky_products.CONTINUUM_UNIT
        continuum = sky_products.sky_continuum(*fitted.continuum, unit)
        product.pending.append(PendingProduct("SKY_CONTINUUM", *continuum, with_wcs=True))

# SPDX-License-Identifier: BSD-3-Clause
"""The step of muse_scipost that calibrates the slices against each other."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.data.header_values import seven_digits, uses_laser_guide_stars
from muse_core.postproc.autocalibration import calibrations
from muse_core.postproc.autocalibration.factors import (
    AutocalModel,
    SliceSums,
    apply_autocal,
    fit_autocal,
    near_raman_peak,
    raman_half_width,
    range_edges,
)
from muse_core.postproc.autocalibration.mask import AutocalMask, fit_autocal_mask
from muse_core.postproc.exposure.reduction import (
    PIXTABLE,
    PendingProduct,
    Reduction,
    Step,
    without_pixtable_keys,
)
from muse_core.postproc.white_light.given_mask import Selector, given_mask
from muse_core.postproc.white_light.image import WhiteImage, make_white_image, pixel_wcs_cards
from muse_core.postproc.white_light.sky_mask import SkyMask
from muse_core.resampling.cosmics import COSMIC_RAY

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.autocalibration.calibrations import AutocalCalibrations
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


def autocalibrate(
    reduction: Reduction,
    p: ParamValues,
    settings: Any,
    calib: Any,
    factors: AutocalModel | None,
    ctx: RunContext,
) -> WhiteImage | None:
    """Calibrate the slices against each other, by the method asked for.

    Parameters
    ----------
    factors : AutocalModel or None
        factors given by the user (autocalib=user)

    Returns
    -------
    WhiteImage or None
        the white-light image, for the sky step and then for `flag_cosmic_rays`; none if there was a SKY_MASK
    """
    if p.autocalib == "none":
        return None
    if f"{PIXTABLE} AUTOCAL" in reduction.header:
        ctx.log.info("pixel table is already autocalibrated")
        return None
    model, white = factors, None
    if p.autocalib == "deepfield":
        model, white = _deep_field(reduction, settings, calib, ctx)
    if model is None:
        ctx.log.error("no usable AUTOCAL_FACTORS, slices are not calibrated")
        return None
    final = model

    def apply(block: Block) -> None:
        apply_autocal(block.lam, block.data, block.stat, block.origin, final)

    reduction.add(Step("autocalibration", apply))
    for key, value, comment in final.table_cards():
        reduction.set_card(key, value, comment)
    return white


def flag_cosmic_rays(reduction: Reduction, white: WhiteImage | None) -> None:
    """Flag the cosmic rays that the autocalibration has found.

    Measured against 2.8.7: these flags stay in the table (those of the sky and Raman steps do not), but the
    sky step in between takes no notice of them.
    """
    if white is None:
        return
    cosmics = white.cosmics

    def apply(block: Block) -> None:
        block.dq[cosmics.contains(block.row)] |= COSMIC_RAY

    reduction.add(Step("cosmic rays", apply))


def _deep_field(
    reduction: Reduction, settings: Any, calib: Any, ctx: RunContext
) -> tuple[AutocalModel, WhiteImage | None]:
    """Return the factors, and the white-light image (none if a SKY_MASK was given)."""
    white = None
    selected = given_mask(reduction, calib, ctx)
    header = without_pixtable_keys(reduction.header)
    keep = "autocal" in settings.save
    if selected is None:
        white = make_white_image(
            reduction,
            reduction.limits(),
            settings.sky_sigma[0],
            ctx.memory_bytes,
            compat=ctx.compat,
            progress=ctx.progress,
        )
        mask = fit_autocal_mask(white.image, np.isfinite(white.image))
        selected = _selector(mask, white)
        if keep:
            hdus = mask_product(mask, white, reduction.data_unit)
            reduction.pending.append(PendingProduct("AUTOCAL_MASK", hdus, mask.qc(), base=header))
    sums = sum_slices(reduction, selected)
    model = fit_autocal(sums, ctx.log)
    if keep:
        hdus = factors_product(model)
        reduction.pending.append(PendingProduct("AUTOCAL_FACTORS", hdus, [], base=header))
    return model, white


def _selector(mask: AutocalMask, white: WhiteImage) -> Selector:
    sky = SkyMask(mask.mask, "linear", crval=white.corner)
    return lambda block: sky.select(block.xpos, block.ypos)


def sum_slices(reduction: Reduction, selected: Selector) -> SliceSums:
    """Return the sums over the selected rows of an exposure, on request without those near Raman peaks."""
    excluded = raman_half_width() if uses_laser_guide_stars(reduction.header) else 0.0
    sums = SliceSums(range_edges(reduction.header))
    lock = threading.Lock()

    def add(block: Block) -> None:
        on_sky = selected(block)
        if excluded > 0:
            on_sky = on_sky & ~near_raman_peak(block.lam, excluded)
        with lock:  # the sums are exact: the order of the blocks does not matter
            sums.add(block.lam, block.data, block.origin, on_sky)

    for _ in reduction.map_blocks(add):
        pass
    return sums


def mask_product(mask: AutocalMask, white: WhiteImage, data_unit: str) -> fits.HDUList:
    """Build AUTOCAL_MASK: 1 = sky."""
    primary = fits.PrimaryHDU(mask.mask)
    for key, value in pixel_wcs_cards(*white.corner):
        primary.header[key] = value
    primary.header["BUNIT"] = data_unit
    primary.header["HIERARCH ESO DRS MUSE FILTER NAME"] = ("white", "filter name used")
    fraction = seven_digits(white.fraction)
    primary.header["HIERARCH ESO DRS MUSE FILTER FRACTION"] = (fraction, "[%] fraction of filter")
    return fits.HDUList([primary])


def factors_product(model: AutocalModel) -> fits.HDUList:
    """Build AUTOCAL_FACTORS (its primary header has BITPIX 16 in the C pipeline)."""
    primary = fits.PrimaryHDU()
    primary.header["BITPIX"] = 16
    for key, value, comment in model.cards():
        primary.header[f"HIERARCH {key}"] = (value, comment)
    columns = [
        fits.Column(name, "1J" if values.dtype.kind == "i" else "1D", array=values)
        for name, values in model.columns().items()
    ]
    return fits.HDUList([primary, fits.BinTableHDU.from_columns(columns)])


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> AutocalCalibrations:
    """Read the calibrations of the autocalibration."""
    return calibrations.load(frames, p, ctx)


def correct(exposure: Reduction, calibrations: AutocalCalibrations, p: ParamValues, ctx: RunContext) -> None:
    """Calibrate the slices of one exposure against each other; the white-light image is kept for the sky."""
    bag = SimpleNamespace(  # transitional
        sky_mask=calibrations.mask.mask,
        astrometry=calibrations.mask.astrometry.solution,
        offsets=calibrations.mask.astrometry.offsets,
    )
    settings = SimpleNamespace(save=p.save, sky_sigma=p.sky_crsigma)
    exposure.white_image = autocalibrate(exposure, p, settings, bag, calibrations.factors, ctx)


def flag(exposure: Reduction, calibrations: None, p: ParamValues, ctx: RunContext) -> None:
    """Flag the cosmic rays that were found on the way."""
    flag_cosmic_rays(exposure, exposure.white_image)

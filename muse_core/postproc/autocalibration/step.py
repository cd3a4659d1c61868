# SPDX-License-Identifier: BSD-3-Clause
"""Steps of muse_scipost that even out the slices: flat-field spectrum and autocalibration."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.data.header_values import uses_laser_guide_stars
from muse_core.framework import RecipeError
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
from muse_core.postproc.exposure.reduction import PIXTABLE, PendingProduct, Reduction, Step
from muse_core.postproc.flatfield.spectrum import (
    EXTENSION,
    FlatSpectrum,
    apply_flat_spectrum,
    cut_table,
    fit_flat_spectrum,
    response_wants_flat,
)
from muse_core.postproc.sky.products import pixel_wcs_cards
from muse_core.postproc.white_light.image import WhiteImage, make_white_image
from muse_core.postproc.white_light.sky_mask import SkyMask
from muse_core.resampling.cosmics import COSMIC_RAY

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.inputs.calibrations import Calibrations, Settings

Selector = Callable[[Block], npt.NDArray[np.bool_]]


def multiply_flat_spectrum(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> None:
    """Multiply the data by the smoothed flat-field spectrum, if there is one and the response wants it."""
    if f"{PIXTABLE} FFCORR" in reduction.header:
        ctx.log.info("pixel table is already corrected for the flat-field spectrum")
        return
    tables = [table.flat_field for table in reduction.exposure.files]
    if all(table is None for table in tables):
        return
    spectra = [
        table if table is None or zone.rows == file.rows else cut_table(table, None, *reduction.exposure.cut)
        for table, file, zone in zip(tables, reduction.exposure.files, reduction.exposure.zones, strict=True)
    ]
    try:
        model = fit_flat_spectrum(
            [None if s is None else (s["lambda"], s["data"]) for s in spectra],
            reduction.header,
            ctx.log,
            compat=ctx.compat,
        )
    except ValueError as error:
        raise RecipeError(f"exposure {reduction.number}: {error}") from error
    if model is None:
        return
    reduction.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength
    if calib.response_header is not None and not response_wants_flat(calib.response_header):
        ctx.log.warning(
            "STD_RESPONSE was made without the flat-field spectrum (no ESO DRS MUSE FLUX FFCORR), "
            "data not corrected by it"
        )
        return

    def apply(block: Block) -> None:
        apply_flat_spectrum(block.lam, block.data, block.stat, model)

    reduction.add(Step("flat-field spectrum", apply))
    reduction.tables.append(flat_product(model))
    for key, value, comment in model.cards():
        reduction.set_card(key, value, comment)


def autocalibrate(
    reduction: Reduction,
    p: ParamValues,
    settings: Settings,
    calib: Calibrations,
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
    reduction: Reduction, settings: Settings, calib: Calibrations, ctx: RunContext
) -> tuple[AutocalModel, WhiteImage | None]:
    """Return the factors, and the white-light image (none if a SKY_MASK was given)."""
    from muse_core.postproc.sky.step import given_mask  # brings in all of the sky steps

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


def without_pixtable_keys(header: fits.Header) -> fits.Header:
    """Return a copy of a header without the keywords of the pixel table, to be inherited by a product."""
    copy = header.copy()
    for key in [key for key in copy if key.startswith(PIXTABLE)]:
        del copy[key]
    return copy


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


def flat_product(model: FlatSpectrum) -> fits.BinTableHDU:
    """Build the extension of the pixel tables that holds the spectrum that was used."""
    columns = {"lambda": model.curve.nodes, "data": model.curve.values, "data_unsm": model.unsmoothed}
    return fits.BinTableHDU.from_columns(
        [fits.Column(name, "1D", array=values) for name, values in columns.items()], name=EXTENSION
    )


def mask_product(mask: AutocalMask, white: WhiteImage, data_unit: str) -> fits.HDUList:
    """Build AUTOCAL_MASK: 1 = sky."""
    primary = fits.PrimaryHDU(mask.mask)
    for key, value in pixel_wcs_cards(*white.corner):
        primary.header[key] = value
    primary.header["BUNIT"] = data_unit
    primary.header["HIERARCH ESO DRS MUSE FILTER NAME"] = ("white", "filter name used")
    fraction = float(f"{white.fraction:.7g}")
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

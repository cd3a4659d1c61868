# SPDX-License-Identifier: BSD-3-Clause
"""Step of muse_scipost that takes out the Raman light of the lasers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.data.header_values import uses_laser_guide_stars
from muse_core.framework.unit_spelling import FLUX_UNIT
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.reduction import PendingProduct, without_pixtable_keys
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.flux.calibration import FLUX_KEY
from muse_core.postproc.raman.calibrations import RamanCalibrations, load
from muse_core.postproc.raman.model import (
    CENTRES,
    RamanBand,
    RamanModel,
    RamanSums,
    fit_raman,
    raman_bands,
    raman_shapes,
)
from muse_core.postproc.white_light.given_mask import given_mask
from muse_core.postproc.white_light.image import WhiteImage, make_white_image, pixel_wcs_cards
from muse_core.postproc.white_light.sky_mask import SkyMask, fit_sky_mask

CONVERGED = "fit of the Raman lines converged"
CORRECTED = "Raman light of the lasers was subtracted"

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.chain import Chain
    from muse_core.postproc.exposure.reduction import Reduction

__all__ = ["correct", "load"]


def correct(
    exposure: Reduction, calibrations: RamanCalibrations | None, p: ParamValues, ctx: RunContext
) -> RamanModel | Skipped | None:
    """Fit the Raman light of an exposure with lasers."""
    if calibrations is None:
        return _left_in(exposure, p, ctx)
    chain, product = exposure.chain, exposure.product
    if not uses_laser_guide_stars(product.header):
        return Skipped("raman", "RAMAN_LINES has no effect without lasers", wanted=True)
    bands = raman_bands(chain.limits().lam, p.raman_width, ctx.log)
    if isinstance(bands, Skipped):
        return bands
    if calibrations.lsf is None:
        return Skipped("raman", "LSF_PROFILE missing", wanted=True)
    sums = RamanSums(bands, raman_shapes(*calibrations.lines, calibrations.lsf))
    images: list[tuple[RamanBand, WhiteImage, SkyMask]] = []
    given = None if calibrations.mask is None else given_mask(exposure, calibrations.mask, ctx)
    for band in bands:
        rows = _band_rows(chain, band)
        if not len(rows):
            continue
        white, mask = _image_and_mask(chain, band, rows, p, ctx)
        good = (rows.dq == 0) & mask.select(rows.xpos, rows.ypos) & ~white.cosmics.contains(rows.row)
        if given is not None:
            good &= given(rows)
        sums.add(band, rows.xpos, rows.ypos, rows.lam, rows.data, rows.origin, good)
        images.append((band, white, mask))
    mask_given = None if calibrations.mask is None else calibrations.mask.mask
    if given is not None and mask_given is not None and not ctx.defects.mask_misses_field:
        mask_given.check_overlap()
    model = fit_raman(sums, ctx.log)
    ctx.flag("CORRECTED RAMAN", isinstance(model, RamanModel), CORRECTED)
    ctx.flag("RAMAN CONVERGED", isinstance(model, RamanModel) and model.converged, CONVERGED)
    if isinstance(model, Skipped):
        return model
    if "raman" in p.save:
        unit = "" if ctx.defects.raman_images_without_unit else product.data_unit
        hdus = raman_product(model, images, unit, str(product.header.get("OBJECT", "")))
        base = without_pixtable_keys(product.header)
        product.pending.append(PendingProduct("RAMAN_IMAGES", hdus, model.qc(), base=base))
    chain.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength
    return model


def _left_in(exposure: Reduction, p: ParamValues, ctx: RunContext) -> Skipped | None:
    """Tell of Raman light that stays in the data, unless there is none, or it was corrected before."""
    header, (low, high) = exposure.product.header, exposure.chain.limits().lam
    before = any(table.header.get(FLUX_KEY) is True for table in exposure.chain.files.files)
    if before or not uses_laser_guide_stars(header):
        return None
    half = p.raman_width / 2
    if not any(low <= centre + half and high >= centre - half for centre in CENTRES):
        return None
    ctx.flag("CORRECTED RAMAN", False, CORRECTED)
    return Skipped("raman", "no RAMAN_LINES, the light that the lasers make stays in the data", wanted=True)


def _band_rows(chain: Chain, band: RamanBand) -> Block:
    block = chain.gather(band.low, band.high)
    return block.select((block.lam >= band.low) & (block.lam <= band.high))


def _image_and_mask(
    chain: Chain, band: RamanBand, rows: Block, p: ParamValues, ctx: RunContext
) -> tuple[WhiteImage, SkyMask]:
    def span(values: npt.NDArray[np.float32]) -> tuple[float, float]:
        return float(np.nanmin(values)), float(np.nanmax(values))

    ctx.log.info(
        "White-light image for Raman correction (%s feature, %.3f..%.3f Angstrom)",
        band.name,
        band.low,
        band.high,
    )
    limits = RowLimits(span(rows.xpos), span(rows.ypos), span(rows.lam), (0, 0), (0, 0))
    white = make_white_image(
        chain,
        limits,
        p.sky_crsigma[0],
        ctx.memory_bytes,
        ctx.defects,
        use_variance=p.collapse_use_variance,
        select=lambda block: (block.lam >= band.low) & (block.lam <= band.high),
        progress=ctx.progress,
    )
    x_low, y_low = white.corner
    mask = fit_sky_mask(white.image, p.skymodel_fraction, p.skymodel_ignore, x_low=x_low, y_low=y_low)
    return white, mask


def raman_product(
    model: RamanModel,
    images: list[tuple[RamanBand, WhiteImage, SkyMask]],
    data_unit: str,
    object_name: str,
) -> fits.HDUList:
    """Build RAMAN_IMAGES: the light over the field, image and mask of each band, the fit in flux units.

    Pixels of the images without data are NaN, unlike in SKY_IMAGE (measured against 2.8.7).
    """
    if not images:
        return fits.HDUList([fits.PrimaryHDU()])
    corner = images[0][1].corner
    ny, nx = images[0][1].image.shape
    x, y = corner[0] + np.arange(nx), corner[1] + np.arange(ny)
    field = model.field_image(x, y)
    hdus = [fits.PrimaryHDU(), _image_hdu("DATA", field[np.newaxis], corner, "", object_name)]
    for band, white, mask in images:
        hdus.append(
            _image_hdu(
                f"RAMAN_IMAGE_{band.name}", white.image, white.corner, _image_unit(data_unit), object_name
            )
        )
        sky = mask.mask.astype(np.int32)
        hdus.append(_image_hdu(f"SKY_MASK_{band.name}", sky, white.corner, None, object_name))
    for band, _, _ in images:
        fit = (field.astype(np.float64) * model.flux(band.group)).astype(np.float32)
        hdus.append(_image_hdu(f"RAMAN_FIT_{band.name}", fit, corner, FLUX_UNIT, object_name))
    return fits.HDUList(hdus)


def _image_unit(data_unit: str) -> str:
    return "" if data_unit == "count" else data_unit


def _image_hdu(
    name: str, image: npt.NDArray, corner: tuple[float, float], unit: str | None, object_name: str
) -> fits.ImageHDU:
    hdu = fits.ImageHDU(image)
    header = hdu.header
    header["OBJECT"] = f"{object_name} ({name})"
    for key, value in pixel_wcs_cards(*corner):
        header[key] = value
    header["EXTNAME"] = name
    header["HDUCLASS"] = ("ESO", "class name (ESO format)")
    header["HDUDOC"] = ("DICD", "document with class description")
    header["HDUVERS"] = ("DICD version 6", "version number")
    header["HDUCLAS1"] = ("IMAGE", "Image data format")
    header["HDUCLAS2"] = ("DATA", "this extension contains the data itself")
    if unit is not None:
        header["BUNIT"] = unit
    return hdu

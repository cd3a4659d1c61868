# SPDX-License-Identifier: BSD-3-Clause
"""Step of muse_scipost that takes out the Raman light of the lasers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.data.header_values import uses_laser_guide_stars
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.exposure.reduction import PendingProduct, Reduction, Step, without_pixtable_keys
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.tables import LsfTable
from muse_core.postproc.raman import calibrations
from muse_core.postproc.raman.calibrations import Lines, RamanCalibrations
from muse_core.postproc.raman.model import (
    RamanBand,
    RamanModel,
    RamanSums,
    apply_raman,
    fit_raman,
    raman_bands,
    raman_shapes,
)
from muse_core.postproc.white_light.image import WhiteImage, make_white_image, pixel_wcs_cards
from muse_core.postproc.white_light.sky_mask import SkyMask, fit_sky_mask

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames

FLUX_UNIT = "10**(-20)*erg/s/cm**2/Angstrom"


def subtract_raman(
    reduction: Reduction,
    p: ParamValues,
    settings: Any,
    lines: Lines | None,
    lsf: LsfImage | LsfTable | None,
    ctx: RunContext,
) -> None:
    """Fit the Raman light of an exposure with lasers and subtract it; other exposures are left alone."""
    if lines is None:
        return
    limits = reduction.limits()
    bands = raman_bands(reduction.header, limits.lam, p.raman_width, ctx.log)
    if not bands:
        return
    if lsf is None or (ctx.compat and isinstance(lsf, LsfTable)):  # the C recipe only knows images here
        ctx.log.error("Raman signal modelling not done, LSF_PROFILE missing!")
        return
    shapes = raman_shapes(*lines, lsf)
    sums = RamanSums(bands, shapes)
    images: list[tuple[RamanBand, WhiteImage, SkyMask]] = []
    for band in bands:
        rows = _band_rows(reduction, band)
        if not len(rows):
            continue
        white, mask = _image_and_mask(reduction, band, rows, p, settings, ctx)
        good = (rows.dq == 0) & mask.select(rows.xpos, rows.ypos) & ~white.cosmics.contains(rows.row)
        sums.add(band, rows.xpos, rows.ypos, rows.lam, rows.data, rows.origin, good)
        images.append((band, white, mask))
    model = fit_raman(sums, ctx.log)
    if model is None:
        return
    if "raman" in settings.save:
        name = str(reduction.header.get("OBJECT", ""))
        hdus = raman_product(model, images, "" if ctx.compat else reduction.data_unit, name)
        base = without_pixtable_keys(reduction.header)
        reduction.pending.append(PendingProduct("RAMAN_IMAGES", hdus, model.qc(), base=base))

    def apply(block: Block) -> None:
        apply_raman(block.xpos, block.ypos, block.lam, block.data, block.origin, model)

    reduction.add(Step("raman", apply))
    reduction.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength


def _band_rows(reduction: Reduction, band: RamanBand) -> Block:
    block = reduction.gather(band.low, band.high)
    return block.select((block.lam >= band.low) & (block.lam <= band.high))


def _image_and_mask(
    reduction: Reduction,
    band: RamanBand,
    rows: Block,
    p: ParamValues,
    settings: Any,
    ctx: RunContext,
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
        reduction,
        limits,
        settings.sky_sigma[0],
        ctx.memory_bytes,
        compat=ctx.compat,
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


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> RamanCalibrations | None:
    """Read the calibrations of the Raman correction."""
    return calibrations.load(frames, p, ctx)


def correct(
    exposure: Reduction, calibrations: RamanCalibrations | None, p: ParamValues, ctx: RunContext
) -> Skipped | None:
    """Subtract the Raman light of one exposure."""
    if calibrations is None:
        return None
    if not uses_laser_guide_stars(exposure.header):
        return Skipped("raman", "RAMAN_LINES has no effect without lasers", wanted=True)
    settings = SimpleNamespace(save=p.save, sky_sigma=p.sky_crsigma)  # transitional
    subtract_raman(exposure, p, settings, calibrations.lines, calibrations.lsf, ctx)
    return None

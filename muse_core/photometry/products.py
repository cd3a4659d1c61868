# SPDX-License-Identifier: BSD-3-Clause
"""The products of the recipe muse_imphot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imphot.errors import UserError
from imphot.fit_files import full_modulus
from imphot.fitting import on_muse_grid
from imphot.images.corrections import apply_corrections
from muse_core.framework import Frame, Frames, ParamValues, RunContext
from muse_core.photometry.exposures import Exposure
from muse_core.photometry.tables import imphot_table, offset_rows, qc_cards

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

__all__ = ["save_images", "save_tables"]

PICTURES = {
    "model": "IMPHOT_MODEL",
    "residual": "IMPHOT_RESIDUAL",
    "fft": "IMPHOT_FFT",
    "plot": "IMPHOT_PLOT",
}


def _calibrations(exposures: Sequence[Exposure], frames: Frames, p: ParamValues) -> list[Frame]:
    """Frames besides the images that went into the fits of some exposures, in the order given."""
    used = {exposure.reference.path for exposure in exposures if exposure.reference is not None}
    tags = ["IMPHOT_REGIONS", "IMPHOT_MASK"]
    if p.method != "fourier":
        tags.append("HST_PSF")
    if any(exposure.from_cube for exposure in exposures):
        tags.append("FILTER_LIST")
    used |= {frame.path for tag in tags if (frame := frames.first(tag)) is not None}
    return [f for f in frames if f.tag not in ("IMAGE_FOV", "DATACUBE_FINAL") and f.path in used]


def save_tables(exposures: Sequence[Exposure], frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Write the IMPHOT_TABLE, and the OFFSET_LIST of the fits that can be trusted."""
    from astropy.io import fits

    base = exposures[0].image.primary_header
    used = [*(e.frame for e in exposures), *_calibrations(exposures, frames, p)]
    qc = qc_cards([e.best for e in exposures])
    offsets, good = offset_rows(exposures, ctx.log.warning)
    tables = {"IMPHOT_TABLE": imphot_table(exposures)}
    if good:
        tables["OFFSET_LIST"] = offsets
    else:
        ctx.log.warning("no fit can be trusted, no OFFSET_LIST is written")
    for tag, table in tables.items():
        hdus = fits.HDUList([fits.PrimaryHDU(), table])
        ctx.save(tag, hdus, base=base, used=used, qc=qc, keep="standard")


def save_images(exposures: Sequence[Exposure], frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Write the corrected images and the pictures of the fits, as far as they are asked for."""
    for index, exposure in enumerate(exposures, start=1):
        calibrations = _calibrations([exposure], frames, p)
        made: dict[str, HDUList] = {}
        if p.apply:
            made["IMAGE_FOV_ALIGNED"] = apply_corrections(
                exposure.image, exposure.best, resample=p.resample
            ).to_hdus()
        if "hst" in p.save:
            made["HST_IMAGE_REGRID"] = regridded(exposure)
        if exposure.pictures is not None:
            made |= {tag: picture(exposure, word) for word, tag in PICTURES.items() if word in p.save}
        for tag, hdus in made.items():
            ctx.save(
                tag,
                hdus,
                base=exposure.image.primary_header,
                used=[exposure.frame, *calibrations],
                qc=qc_cards([exposure.best]),
                index=index,
            )


def regridded(exposure: Exposure) -> HDUList:
    """The HST image on the MUSE pixels."""
    from astropy.io import fits

    if exposure.reference is None:
        raise UserError(f"{exposure.name} has no reference")
    image = on_muse_grid(str(exposure.reference.path), exposure.image)
    image.primary_header = fits.Header()
    image.var = None
    return image.to_hdus()


def picture(exposure: Exposure, word: str) -> HDUList:
    """The model, the residual, the transforms or the plot of one exposure."""
    from astropy.io import fits

    pictures, image = exposure.pictures, exposure.image
    if pictures is None or exposure.plot is None:
        raise UserError(f"the fit of {exposure.name} left no pictures")
    if word == "plot":
        hdu = fits.ImageHDU(np.ascontiguousarray(np.moveaxis(exposure.plot, 2, 0)), name="PLOT")
        return fits.HDUList([fits.PrimaryHDU(), hdu])
    if word == "fft":
        planes = {"DATA": pictures.muse_fft, "MODEL": pictures.model_fft}
        hdus = [
            fits.ImageHDU(full_modulus(half, pictures.padded_shape).astype(np.float32), name=name)
            for name, half in planes.items()
        ]
        return fits.HDUList([fits.PrimaryHDU(), *hdus])
    plane = pictures.model if word == "model" else pictures.muse - pictures.model
    header = image.wcs_header()
    header["CRPIX1"] -= pictures.crop[1].start
    header["CRPIX2"] -= pictures.crop[0].start
    values = np.where(pictures.used, plane, np.nan).astype(np.float32)
    hdu = fits.ImageHDU(values, header, name="DATA")
    if isinstance(image.unit, str) and image.unit:
        hdu.header["BUNIT"] = image.unit
    return fits.HDUList([fits.PrimaryHDU(), hdu])

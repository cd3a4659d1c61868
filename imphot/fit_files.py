# SPDX-License-Identifier: BSD-3-Clause
"""Files that a fit leaves beside the MUSE image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imphot.images.corrections import apply_corrections
from imphot.images.sky_image import SkyImage, pixel_steps, unit_text
from imphot.results import FitPictures, FittedPhotometry

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

__all__ = ["full_modulus", "output_prefix", "save_fit", "write_aligned"]

_KEYS = ("ORIGIN", "TELESCOP", "MJD-OBS", "DATE-OBS", "OBSERVER", "OBJECT", "DATE", "BUNIT", "FILTER")


def output_prefix(muse: SkyImage) -> str:
    """Start of the names of the files made: the MUSE file name without ".fits", or "muse"."""
    if not muse.filename:
        return "muse"
    name = muse.filename
    return name[: -len(".fits")] if name.endswith(".fits") else name.replace(".fits", "")


def full_modulus(half: npt.NDArray[np.complex128], padded_shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Modulus of the whole transform from its half plane, zero frequency at [ny//2, nx//2]."""
    from scipy import fft

    ny, nx = padded_shape
    modulus = np.abs(half)
    full = np.empty((ny, nx))
    full[:, : nx // 2 + 1] = modulus
    columns = np.arange(nx // 2 + 1, nx)
    full[:, columns] = modulus[(-np.arange(ny)) % ny][:, nx - columns]
    return np.asarray(fft.fftshift(full))


def _write(name: str, hdus: HDUList) -> None:
    path = Path(name)
    partial = path.with_name(path.name + ".part")
    hdus.writeto(partial, overwrite=True)
    partial.replace(path)


def save_fit(muse: SkyImage, pictures: FitPictures) -> list[str]:
    """Write image, model, residual and the moduli of their transforms; return the paths."""
    from astropy.io import fits

    prefix = output_prefix(muse)
    header = muse.wcs_header()
    header["CRPIX1"] -= pictures.crop[1].start
    header["CRPIX2"] -= pictures.crop[0].start
    common = fits.Header()
    for key in _KEYS:
        value = muse.header_value(key)
        if value is not None:
            common[key] = value
    if muse.unit and "BUNIT" not in common:
        common["BUNIT"] = unit_text(muse.unit)
    header.update(common)
    planes = {
        "image": pictures.muse,
        "hst_model": pictures.model,
        "residual": pictures.muse - pictures.model,
    }
    paths = []
    for name, plane in planes.items():
        paths.append(f"{prefix}_{name}.fits")
        _write(paths[-1], fits.HDUList([fits.PrimaryHDU(np.asarray(plane, np.float64), header)]))
    ny, nx = pictures.padded_shape
    sy, sx = pixel_steps(muse.wcs)
    frequency = common.copy()
    frequency.update({"CRPIX1": nx // 2 + 1.0, "CRPIX2": ny // 2 + 1.0, "CRVAL1": 0.0, "CRVAL2": 0.0})
    frequency.update({"CD1_1": 3600.0 / (nx * sx), "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 3600.0 / (ny * sy)})
    transforms = {
        "image_fft": pictures.muse_fft,
        "hst_model_fft": pictures.model_fft,
        "residual_fft": pictures.muse_fft - pictures.model_fft,
    }
    for name, half in transforms.items():
        paths.append(f"{prefix}_{name}.fits")
        _write(paths[-1], fits.HDUList([fits.PrimaryHDU(full_modulus(half, (ny, nx)), frequency)]))
    return paths


def write_aligned(muse: SkyImage, result: FittedPhotometry, resample: bool) -> str:
    """Write the corrected image; return its path."""
    path = f"{output_prefix(muse)}_aligned.fits"
    plain = muse.copy()
    apply_corrections(plain, result, resample=resample, inplace=True).write(path)
    return path

# SPDX-License-Identifier: BSD-3-Clause
"""From the HST frame to the fine grid of the model: resampling, gaps, noise, point sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.field import Field
from imphot.engines.image.forward_model import ForwardModel, HstTransfer, grid_size
from imphot.engines.image.noise import hst_noise_level
from imphot.errors import UserError
from imphot.hst.lowpass import lowpass_window
from imphot.hst.regridding import flux_factor
from imphot.hst.resampling import Cutout, cut_out, footprint_mask, resample, target_map
from imphot.images.sky_image import SkyImage, pixel_steps
from imphot.options import FitOptions

__all__ = ["Scene", "point_sources", "prepare_scene"]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass
class Scene:
    """The HST image on the fine grid around the MUSE pixels, moved by whole MUSE pixels."""

    model: ForwardModel
    fine: Array
    missing: Array
    shift: tuple[int, int]
    hst_variance: Array | float
    level: float

    @property
    def shift_arcsec(self) -> tuple[float, float]:
        """The move along x and y [arcsec]."""
        return self.shift[1] * self.model.steps[1], self.shift[0] * self.model.steps[0]


def prepare_scene(
    hst: SkyImage, field: Field, aligned: bool, shift: tuple[int, int], options: FitOptions
) -> Scene:
    """Bring the HST frame to the fine grid of the model.

    Parameters
    ----------
    hst : SkyImage
    field : Field
        the MUSE pixels
    aligned : bool
        the HST image is already on the MUSE pixels, in the MUSE unit and low-passed
    shift : (int, int)
        whole MUSE pixels along y and x by which the HST image is moved beforehand
    options : FitOptions
        the PSF of HST
    """
    muse, crop, steps = field.muse, field.crop, field.steps
    sizes = [grid_size(s.stop - s.start, step) for s, step in zip(crop, steps, strict=True)]
    axes = [crop[i].start - sizes[i][1] - shift[i] + np.arange(2 * sizes[i][0]) / 2.0 for i in (0, 1)]
    map_y, map_x = target_map(muse.wcs, hst.wcs, axes[0], axes[1])
    hst_steps = pixel_steps(hst.wcs)
    cutout = cut_out(hst, map_y, map_x, int(np.ceil(1.0 / min(hst_steps))))
    if aligned:
        factor = 1.0
        cutoff = 0.5 / steps[1]

        def transfer(radius: Array) -> Array:
            window = lowpass_window(radius, cutoff)
            return np.where(window > 0.02, 1.0 / np.maximum(window, 0.02), 0.0)
    else:
        factor = flux_factor(hst, muse) * (steps[0] * steps[1]) / (hst_steps[0] * hst_steps[1])
        cutoff = 1.0 / max(steps)  # that of the fine grid: twice that of the MUSE pixels

        def transfer(radius: Array) -> Array:
            return (radius < cutoff).astype(float)

    fine = resample(cutout, cutout.values, map_y, map_x, transfer, cutoff) * factor
    level = cutout.level * factor
    rows, columns = (slice(n[1], n[1] + s.stop - s.start) for n, s in zip(sizes, crop, strict=True))
    otf = None if options.hst_psf is None else _image_transfer(options.hst_psf, hst_steps)
    model = ForwardModel(fine, steps, (rows, columns), options.hst_moffat, otf, level)
    covered = ~footprint_mask(cutout, map_y, map_x, 0.5 * max(steps), tolerance=0.5)
    missing = np.zeros(field.data.shape)
    if not covered.all():
        # share of the light of each MUSE pixel that comes from gaps, for a seeing of 0.7 arcsec
        missing = model.seen((~covered).astype(float), 0.7, 2.5)
    variance = _hst_variance(
        hst, cutout, fine, covered, map_y, map_x, factor, level, steps, hst_steps, aligned
    )
    return Scene(model, fine, missing, shift, variance, level)


def _image_transfer(image: Any, steps: tuple[float, float]) -> HstTransfer:
    """Transfer function of a PSF given as an image on the HST pixels, about its centre of light."""
    from scipy import ndimage

    try:
        psf = np.asarray(image, float)
    except (TypeError, ValueError) as err:
        raise UserError(f"The image of the HST PSF is no array of numbers ({type(image).__name__})") from err
    if psf.ndim != 2 or not np.isfinite(psf).all() or not psf.sum() > 0:
        raise UserError("The image of the HST PSF must have two dimensions, finite values and a positive sum")
    psf = psf / psf.sum()
    size = [4 * 2 ** int(np.ceil(np.log2(n))) for n in psf.shape]
    y, x = (np.arange(n) for n in psf.shape)
    core = np.where(psf > 0.1 * psf.max(), psf, 0.0)
    cy, cx = float((core.sum(1) @ y) / core.sum()), float((core.sum(0) @ x) / core.sum())
    spectrum = np.fft.fft2(psf, size)
    ky, kx = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None, :]
    spectrum = np.fft.fftshift(spectrum * np.exp(2j * np.pi * (ky * cy + kx * cx)))
    parts = [ndimage.spline_filter(p, order=3, mode="nearest") for p in (spectrum.real, spectrum.imag)]

    def transfer(v: Array, u: Array) -> npt.NDArray[np.complex128]:
        grid = np.broadcast_arrays(
            v * steps[0] * size[0] + size[0] // 2, u * steps[1] * size[1] + size[1] // 2
        )
        real, imag = (ndimage.map_coordinates(p, grid, order=3, prefilter=False, cval=0.0) for p in parts)
        return np.asarray(real + 1j * imag)

    return transfer


def _hst_variance(
    hst: SkyImage,
    cutout: Cutout,
    fine: Array,
    covered: Mask,
    map_y: Array,
    map_x: Array,
    factor: float,
    level: float,
    steps: tuple[float, float],
    hst_steps: tuple[float, float],
    aligned: bool,
) -> Array | float:
    """Noise of the HST image as variance of white noise per fine pixel: measured sky, and photons where
    known.
    """
    if cutout.var is not None and not aligned:
        density = hst_steps[0] * hst_steps[1] / (0.25 * steps[0] * steps[1]) * factor**2
        from scipy import ndimage

        planes = ndimage.map_coordinates(
            cutout.var, [map_y - cutout.y0, map_x - cutout.x0], order=1, mode="nearest"
        )
        return np.asarray(np.maximum(planes, 0.0) * density)
    sky = hst_noise_level(fine, 0.5 * max(steps), covered)
    exptime = hst.header_value("EXPTIME")
    counts = str(hst.unit).upper().replace(" ", "") in (
        "ELECTRONS/S",
        "ELECTRON/S",
        "E/S",
        "E-/S",
        "ELECTRONS/SEC",
    )
    if aligned or not counts or not isinstance(exptime, (int, float)) or not exptime > 0:
        return sky
    per_flux = factor / float(exptime) * hst_steps[0] * hst_steps[1] / (0.25 * steps[0] * steps[1])
    return np.asarray(sky + np.maximum(fine - level, 0.0) * per_flux)


def point_sources(scene: Scene, steps: tuple[float, float], shape: tuple[int, ...], radius: float) -> Mask:
    """Circles around HST sources that are as sharp as the grid allows, on the MUSE pixels."""
    from scipy import ndimage

    step = 0.5 * max(steps)
    image = ndimage.gaussian_filter(scene.fine - scene.level, 0.5, mode="wrap")
    wide = ndimage.gaussian_filter(scene.fine - scene.level, 2.0, mode="wrap")
    noise = 1.4826 * np.median(np.abs(image - np.median(image))) + 1e-300
    peaks = (image == ndimage.maximum_filter(image, 7, mode="wrap")) & (image > 20.0 * noise)
    iy, ix = np.nonzero(peaks)
    out = np.zeros(shape, bool)
    if iy.size == 0:
        return out
    ratio = image[iy, ix] / np.maximum(wide[iy, ix], 1e-300)
    sharp = ratio > 0.75 * ratio.max()
    window = scene.model.window
    y = np.arange(shape[0])[:, None]
    x = np.arange(shape[1])[None, :]
    for py, px in zip(iy[sharp] / 2.0 - window[0].start, ix[sharp] / 2.0 - window[1].start, strict=True):
        out |= (y - py) ** 2 + (x - px) ** 2 < (radius / (2 * step)) ** 2
    return out

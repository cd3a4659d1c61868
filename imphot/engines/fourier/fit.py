# SPDX-License-Identifier: BSD-3-Clause
"""The `fourier` engine: fit in the Fourier plane on images of one common grid.

It follows the published description of the existing imphot package closely enough to give its numbers, and so
shares its weaknesses: all modes count alike, the padding and the low-pass make most of them empty, and so the
quoted errors come out several times too small.  The `image` engine is the better one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.least_squares import hold_parameters, run_lmfit
from imphot.engines.moffat import sampled_otf
from imphot.errors import UserError
from imphot.hst.lowpass import frequency_grid, lowpass_window
from imphot.images.masks import excluded_by_regions, segmentation_mask
from imphot.images.sky_image import SkyImage, pixel_steps
from imphot.options import FitOptions
from imphot.results import FitPictures, FittedImagePhotometry

__all__ = ["FourierFit", "fit_fourier", "fit_fourier_plane"]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

MAX_ROUNDS = 3  # one fit and at most two restarts from the offsets found


@dataclass
class FourierFit:
    """What the engine found.

    ``result`` is lmfit's; the pictures are filtered and tapered.
    """

    result: Any
    rms_error: float
    pictures: FitPictures
    rounds: int


def fit_fourier_plane(
    hst: SkyImage, muse: SkyImage, extra: Mask, options: FitOptions
) -> tuple[FittedImagePhotometry, FitPictures]:
    """Fit one field, both images on the same pixels and in one unit.

    Parameters
    ----------
    hst, muse : SkyImage
    extra : bool[ny, nx]
        further pixels to leave out
    options : FitOptions
    """
    hst_mask = hst.mask | excluded_by_regions(options.regions, options.star, muse.wcs, muse.shape, snap=True)
    if options.segment:
        hst_mask |= segmentation_mask(np.asarray(hst.values, float), hst.mask)
    fit = fit_fourier(
        np.where(hst.mask, 0.0, hst.values).astype(float),
        np.where(muse.mask, 0.0, muse.values).astype(float),
        hst_mask,
        muse.mask | extra,
        pixel_steps(muse.wcs),
        options,
    )
    flag = 0 if fit.result.success else 1
    npix = int(fit.pictures.used.sum())
    result = FittedImagePhotometry(muse, fit.result, fit.rms_error, engine="fourier", flag=flag, npix=npix)
    return result, fit.pictures


def fit_fourier(
    hst: Array,
    muse: Array,
    hst_mask: Mask,
    muse_mask: Mask,
    steps: tuple[float, float],
    options: FitOptions,
    lowpass: bool = True,
) -> FourierFit:
    """Fit scale, background, offsets and Moffat width and index.

    Parameters
    ----------
    hst, muse : float64[ny, nx]
        images on one grid and in one unit
    hst_mask, muse_mask : bool[ny, nx]
        true where a pixel is not used
    steps : (float, float)
        pixel sizes along y and x [arcsec]
    options : FitOptions
        parameters held, first guesses, HST PSF, lowest scale, margin and taper
    lowpass : bool
        the HST image was low-passed by the Blackman window of the regridding
    """
    begin = [start or 0.0 for start in options.starts]
    for rounds in range(1, MAX_ROUNDS + 1):
        fit = _fit_once(hst, muse, hst_mask, muse_mask, steps, options, begin, lowpass)
        found = [fit.result.params["dx"].value, fit.result.params["dy"].value]
        fit.rounds = rounds
        if abs(found[0] - begin[0]) < steps[1] and abs(found[1] - begin[1]) < steps[0]:
            break
        begin = found
    return fit


def shift_by_pixels(array: npt.NDArray[Any], ny: int, nx: int, fill: float) -> npt.NDArray[Any]:
    """Move an image by whole pixels; what comes in from outside is fill."""
    out = np.full_like(array, fill)
    rows, columns = array.shape
    if abs(ny) >= rows or abs(nx) >= columns:
        raise UserError("The first offsets (init_dx, init_dy, fix_dx, fix_dy) are larger than the image")
    out[max(ny, 0) : rows + min(ny, 0), max(nx, 0) : columns + min(nx, 0)] = array[
        max(-ny, 0) : rows + min(-ny, 0), max(-nx, 0) : columns + min(-nx, 0)
    ]
    return out


def crop_slices(used: Mask) -> tuple[slice, slice]:
    """Rows and columns from the first to the last one with a usable pixel, two less at the upper ends."""
    rows = np.flatnonzero(used.any(axis=1))
    columns = np.flatnonzero(used.any(axis=0))
    if rows.size == 0:
        raise UserError(
            "No pixel is left to fit: all are masked or excluded by the regions. "
            "Check the region file, the extra mask and that both images overlap"
        )
    crop = (
        slice(rows[0], max(rows[-1] - 1, rows[0] + 1)),
        slice(columns[0], max(columns[-1] - 1, columns[0] + 1)),
    )
    if used[crop].sum() < 10:
        raise UserError("Fewer than 10 pixels are left to fit: loosen the regions or the masks")
    return crop


def padded_length(n: int, extra: int) -> int:
    """Next power of two that holds n pixels and the margin."""
    return 1 << int(np.ceil(np.log2(n + extra)))


def weight_image(used: Mask, taper: float) -> Array:
    """Weights between 0 and 1: the used pixels eroded and softened over taper pixels."""
    from scipy import ndimage

    points = int(taper)
    if points < 2:
        return used.astype(float)
    size = points | 1
    eroded = ndimage.binary_erosion(used, structure=np.ones((size, size), bool))
    kernel = taper_kernel(size)
    line = kernel.sum(axis=1)  # the kernel is a product: two passes of one dimension
    out = ndimage.convolve1d(eroded.astype(float), line, axis=0, mode="constant")
    return np.asarray(ndimage.convolve1d(out, line, axis=1, mode="constant"))


def taper_kernel(size: int) -> Array:
    """Normalised product of two Blackman windows with size points each (the zero end points are left out)."""
    line = np.blackman(size + 2)[1:-1]
    kernel = np.outer(line, line)
    return np.asarray(kernel / kernel.sum())


def _fit_once(
    hst: Array,
    muse: Array,
    hst_mask: Mask,
    muse_mask: Mask,
    steps: tuple[float, float],
    options: FitOptions,
    begin: list[float],
    lowpass: bool,
) -> FourierFit:
    from lmfit import Model
    from scipy import fft

    sy, sx = steps
    nx = int(np.floor(begin[0] / sx + 0.5))
    ny = int(np.floor(begin[1] / sy + 0.5))
    rolled = shift_by_pixels(np.where(hst_mask, 0.0, hst), ny, nx, 0.0)
    used = ~(shift_by_pixels(hst_mask, ny, nx, True) | muse_mask)
    crop = crop_slices(used)
    used = used[crop]
    level = float(np.median(muse[crop][used]))
    image = np.where(used, muse[crop] - level, 0.0)
    model_image = np.where(used, rolled[crop], 0.0)
    weight = weight_image(used, options.taper)
    if not weight.any():
        raise UserError(
            f"Nothing is left of the field after tapering by {options.taper:g} pixels: use a smaller taper "
            "or fewer masks"
        )
    shape = used.shape
    margins = [int(np.ceil(options.margin / step)) for step in steps]
    padded = padded_length(shape[0], margins[0]), padded_length(shape[1], margins[1])

    v, u = frequency_grid(padded, steps)
    hst_fft = fft.rfft2(model_image * weight, padded)
    muse_fft = fft.rfft2(image * weight, padded)
    weight_fft = fft.rfft2(weight, padded)
    filters = sampled_otf(padded, steps, *options.hst_moffat, oversample=8)
    if lowpass:
        filters = filters * lowpass_window(np.hypot(v, u), 0.5 / sx)
    muse_fft *= filters

    memory: dict[str, Any] = {}

    def offset_moffat(
        plane: Array,  # noqa: ARG001 - lmfit wants an independent variable
        dx: float,
        dy: float,
        bg: float,
        scale: float,
        fwhm: float,
        beta: float,
    ) -> Array:
        if memory.get("psf") != (fwhm, beta):
            memory["psf"] = (fwhm, beta)
            memory["product"] = hst_fft * sampled_otf(padded, steps, fwhm, beta)
        turn = np.exp(-2j * np.pi * (dy - ny * sy) * v) * np.exp(-2j * np.pi * (dx - nx * sx) * u)
        out = memory["product"] * turn
        out *= scale
        out += (bg - level) * weight_fft
        return np.asarray(out.view(float).ravel())

    model = Model(
        offset_moffat, independent_vars=["plane"], name="Moffat-convolved, shifted HST image, Fourier plane"
    )
    ratio = abs(muse_fft[0, 0]) / max(abs(hst_fft[0, 0]), 1e-300)
    params = model.make_params(
        dx=begin[0], dy=begin[1], bg=level, scale=max(ratio, options.min_scale), fwhm=0.5, beta=5.0
    )
    params["scale"].set(min=options.min_scale)
    params["fwhm"].set(min=0.0)
    params["beta"].set(min=0.1, max=1e6)
    hold_parameters(params, options.held)
    result = run_lmfit(model, muse_fft.view(float).ravel(), params, plane=np.zeros(1))
    fitted_fft = result.best_fit.view(complex).reshape(muse_fft.shape)
    window = (slice(0, shape[0]), slice(0, shape[1]))
    muse_back = fft.irfft2(muse_fft, padded)[window]
    model_back = fft.irfft2(fitted_fft, padded)[window]
    rms = float(np.sqrt(np.mean((muse_back - model_back)[used] ** 2)))
    pictures = FitPictures(crop, used, muse_back, model_back, muse_fft, fitted_fft, padded)
    return FourierFit(result, rms, pictures, 1)

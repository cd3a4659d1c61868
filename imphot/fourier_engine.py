# SPDX-License-Identifier: BSD-3-Clause
"""The `fourier` engine: fit in the Fourier plane on images of one common grid.

It follows the published description of the existing imphot package closely enough to give its numbers, and so
shares its weaknesses: all modes count alike, the padding and the low-pass make most of them empty, and so the
quoted errors come out several times too small.  The `image` engine is the better one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import UserError
from .moffat import sampled_otf
from .windows import frequency_grid, lowpass_window, taper_kernel

__all__ = ["FourierFit", "fit_fourier"]

MAX_ROUNDS = 3  # one fit and at most two restarts from the offsets found


@dataclass
class FourierFit:
    """What the engine found.

    ``result`` is lmfit's; the images are cropped to the fitted area: ``muse`` and ``model`` are filtered and
    tapered, ``muse_fft`` and ``model_fft`` are their half-plane transforms.
    """

    result: object
    rms_error: float
    crop: tuple
    used: np.ndarray
    muse: np.ndarray
    model: np.ndarray
    muse_fft: np.ndarray
    model_fft: np.ndarray
    padded_shape: tuple
    rounds: int


def fit_fourier(
    hst,
    muse,
    hst_mask,
    muse_mask,
    steps,
    fixed,
    starts=(None, None),
    hst_psf=(0.085, 1.6),
    min_scale=0.0,
    margin=2.0,
    taper=9,
    lowpass=True,
):
    """Fit scale, background, offsets and Moffat width and index.

    Parameters
    ----------
    hst, muse : float64[ny, nx]
        images on one grid and in one unit
    hst_mask, muse_mask : bool[ny, nx]
        true where a pixel is not used
    steps : (float, float)
        pixel sizes along y and x [arcsec]
    fixed : dict
        values of the parameters to hold: scale, bg, dx, dy, fwhm, beta (None or missing: free)
    starts : (float or None, float or None)
        first guesses of dx and dy [arcsec]
    hst_psf : (float, float)
        width [arcsec] and index of the Moffat taken for the HST PSF
    min_scale : float
        lower limit of the scale
    margin : float
        zeros added at the high ends before the transforms, at least [arcsec]
    taper : int
        size of the window that softens the edges of the masks [pixel]
    lowpass : bool
        the HST image was low-passed by the Blackman window of the regridding

    Returns
    -------
    FourierFit
    """
    begin = [
        fixed.get(name) if fixed.get(name) is not None else (start or 0.0)
        for name, start in zip(("dx", "dy"), starts, strict=True)
    ]
    for rounds in range(1, MAX_ROUNDS + 1):
        fit = _fit_once(
            hst, muse, hst_mask, muse_mask, steps, fixed, begin, hst_psf, min_scale, margin, taper, lowpass
        )
        found = [fit.result.params["dx"].value, fit.result.params["dy"].value]
        fit.rounds = rounds
        if abs(found[0] - begin[0]) < steps[1] and abs(found[1] - begin[1]) < steps[0]:
            break
        begin = found
    return fit


def shift_by_pixels(array, ny, nx, fill):
    """Move an image by whole pixels; what comes in from outside is fill."""
    out = np.full_like(array, fill)
    rows, columns = array.shape
    if abs(ny) >= rows or abs(nx) >= columns:
        raise UserError("The initial pointing offsets are larger than the image")
    out[max(ny, 0) : rows + min(ny, 0), max(nx, 0) : columns + min(nx, 0)] = array[
        max(-ny, 0) : rows + min(-ny, 0), max(-nx, 0) : columns + min(-nx, 0)
    ]
    return out


def crop_slices(used):
    """Rows and columns from the first to the last one with a usable pixel, two less at the upper ends as
    ever.
    """
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


def padded_length(n, extra):
    """Next power of two that holds n pixels and the margin."""
    return 1 << int(np.ceil(np.log2(n + extra)))


def weight_image(used, taper):
    """Weights between 0 and 1: the used pixels eroded and softened over taper pixels."""
    from scipy import ndimage

    taper = int(taper)
    if taper < 2:
        return used.astype(float)
    size = taper | 1
    eroded = ndimage.binary_erosion(used, structure=np.ones((size, size), bool))
    kernel = taper_kernel(size)
    line = kernel.sum(axis=1)  # the kernel is a product: two passes of one dimension
    out = ndimage.convolve1d(eroded.astype(float), line, axis=0, mode="constant")
    return ndimage.convolve1d(out, line, axis=1, mode="constant")


def _fit_once(
    hst, muse, hst_mask, muse_mask, steps, fixed, begin, hst_psf, min_scale, margin, taper, lowpass
):
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
    weight = weight_image(used, taper)
    if not weight.any():
        raise UserError(
            f"Nothing is left of the field after tapering by {taper:g} pixels: use a smaller taper or "
            "fewer masks"
        )
    shape = used.shape
    padded = tuple(
        padded_length(n, int(np.ceil(margin / step))) for n, step in zip(shape, steps, strict=True)
    )

    v, u = frequency_grid(padded, steps)
    hst_fft = fft.rfft2(model_image * weight, padded)
    muse_fft = fft.rfft2(image * weight, padded)
    weight_fft = fft.rfft2(weight, padded)
    filters = sampled_otf(padded, steps, *hst_psf, oversample=8)
    if lowpass:
        filters = filters * lowpass_window(np.hypot(v, u), 0.5 / sx)
    muse_fft *= filters

    memory: dict = {}

    def offset_moffat(plane, dx, dy, bg, scale, fwhm, beta):  # noqa: ARG001 - lmfit wants an independent variable
        if memory.get("psf") != (fwhm, beta):
            memory["psf"] = (fwhm, beta)
            memory["product"] = hst_fft * sampled_otf(padded, steps, fwhm, beta)
        turn = np.exp(-2j * np.pi * (dy - ny * sy) * v) * np.exp(-2j * np.pi * (dx - nx * sx) * u)
        out = memory["product"] * turn
        out *= scale
        out += (bg - level) * weight_fft
        return out.view(float).ravel()

    model = Model(
        offset_moffat, independent_vars=["plane"], name="Moffat-convolved, shifted HST image, Fourier plane"
    )
    ratio = abs(muse_fft[0, 0]) / max(abs(hst_fft[0, 0]), 1e-300)
    params = model.make_params(
        dx=begin[0], dy=begin[1], bg=level, scale=max(ratio, min_scale), fwhm=0.5, beta=5.0
    )
    params["scale"].set(min=min_scale)
    params["fwhm"].set(min=0.0)
    params["beta"].set(min=0.1, max=1e6)
    hold_parameters(params, fixed)
    result = run_lmfit(model, muse_fft.view(float).ravel(), params, plane=np.zeros(1))
    fitted_fft = result.best_fit.view(complex).reshape(muse_fft.shape)
    window = (slice(0, shape[0]), slice(0, shape[1]))
    muse_back = fft.irfft2(muse_fft, padded)[window]
    model_back = fft.irfft2(fitted_fft, padded)[window]
    rms = float(np.sqrt(np.mean((muse_back - model_back)[used] ** 2)))
    return FourierFit(result, rms, crop, used, muse_back, model_back, muse_fft, fitted_fft, padded, 1)


def hold_parameters(params, fixed):
    """Fix the parameters for which a value was given."""
    for name, value in fixed.items():
        if value is not None and name in params:
            low, high = params[name].min, params[name].max
            if not low <= value <= high:
                raise UserError(f"fix_{name}={value:g} is outside the allowed range {low:g} to {high:g}")
            params[name].set(value=value, vary=False)


def run_lmfit(model, data, params, weights=None, fit_kws=None, **independent):
    """Least-squares fit that also accepts a set of parameters without a free one."""
    if any(p.vary for p in params.values()):
        fit_kws = dict(fit_kws or {})
        result = model.fit(
            data, params, weights=weights, method="least_squares", fit_kws=fit_kws, **independent
        )
        for kept in (result, result.result):  # lmfit's refers to the result itself, which would live too long
            kept.call_kws = fit_kws
        return result
    from lmfit.model import ModelResult

    result = ModelResult(model, params, data=data, weights=weights, fcn_kws=independent)
    result.init_fit = result.best_fit = model.eval(params, **independent)
    residual = np.asarray(data) - result.best_fit
    result.residual = residual if weights is None else residual * weights
    result.method = "all parameters held"
    result.nvarys, result.ndata, result.nfev = 0, residual.size, 1
    result.nfree = residual.size
    result.chisqr = float(np.sum(result.residual**2))
    result.redchi = result.chisqr / result.nfree
    result.aic = result.bic = result.rsquared = np.nan
    result.errorbars, result.success, result.aborted, result.message = False, True, False, "nothing to fit"
    result.covar = np.zeros((0, 0))
    result.var_names, result.init_vals, result.init_values = [], [], {}
    result.best_values = {name: p.value for name, p in params.items()}
    for p in result.params.values():
        p.stderr = 0.0
    return result

# SPDX-License-Identifier: BSD-3-Clause
"""Moffat functions fitted to one star in the MUSE image and in the HST image."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.ds9regions import Ds9Circle
from imphot.engines.least_squares import hold_parameters
from imphot.engines.moffat import moffat_profile, otf_closed
from imphot.errors import UserError
from imphot.hst.lowpass import frequency_grid, lowpass_window
from imphot.images.masks import paint_region
from imphot.images.sky_image import SkyImage, pixel_steps
from imphot.options import FitOptions, Star
from imphot.plots import StarProfile
from imphot.results import FittedStarPhotometry

__all__ = ["fit_star"]

Array: TypeAlias = npt.NDArray[np.float64]

_log = logging.getLogger("imphot")

BETA_RANGE = (1.05, 50.0)  # of the matched model
COMPAT_WEIGHT = 10.0  # constant weight of the documented fit; it scales the printed chi squared only


def fit_star(
    hst: SkyImage, muse: SkyImage, star: Star, options: FitOptions
) -> tuple[FittedStarPhotometry, StarProfile]:
    """Fit one star in two images of the same pixels.

    Parameters
    ----------
    hst, muse : SkyImage
    star : (ra, dec, radius)
        position [degrees] and radius of the pixels to be used [arcsec]
    options : FitOptions
        the method ("image" gives both stars the model that belongs to them) and held values of fwhm and beta
    """
    matched = options.method == "image"
    ra, dec, radius = star
    held = {name: options.held[name] for name in ("fwhm", "beta")}
    pixels = _pixels_around(ra, dec, radius, hst, muse, matched)
    if matched:
        muse_fit, hst_fit = _fit_muse(muse, pixels, held), _fit_hst(hst, pixels)
    else:
        muse_fit = _fit_compat(muse, pixels, held, 3.0, False)
        hst_fit = _fit_compat(hst, pixels, {}, 10.0, True)
    profile = StarProfile(
        pixels.x, pixels.y, _values(muse, pixels), _values(hst, pixels), muse_fit.best_fit, hst_fit.best_fit
    )
    result = FittedStarPhotometry(
        muse,
        muse_fit,
        hst_fit,
        float(np.sqrt(np.mean((profile.muse - profile.muse_model) ** 2))),
        ra,
        dec,
        engine=options.method,
        flag=_flag(muse_fit, hst_fit),
        npix=int(pixels.selected.sum()),
    )
    return result, profile


@dataclass
class _Pixels:
    """Pixels around a star: mask, offsets from the given position [arcsec], position and size of pixels."""

    selected: npt.NDArray[np.bool_]
    x: Array
    y: Array
    centre: tuple[float, float]
    steps: tuple[float, float]


def _pixels_around(
    ra: float, dec: float, radius: float, hst: SkyImage, muse: SkyImage, matched: bool
) -> _Pixels:
    region = Ds9Circle(False, "fk5", ra, dec, radius / 3600.0)
    cy, cx = region.centre(muse.wcs)
    rows, columns = muse.shape
    if not (-0.5 <= cy <= rows - 0.5 and -0.5 <= cx <= columns - 0.5):
        raise UserError(
            f"The specified star position is not within the image (it falls on column {cx + 1:.1f}, "
            f"row {cy + 1:.1f} "
            f"of {columns} x {rows} pixels): check its coordinates"
        )
    selected = paint_region(region, muse.wcs, muse.shape)
    if matched:
        selected &= ~(muse.mask | hst.mask)
    if selected.sum() < 12 or (muse.mask[selected].all() or hst.mask[selected].all()):
        raise UserError("Too few usable pixels around the star: check its position, the radius and the masks")
    steps = pixel_steps(muse.wcs)
    iy, ix = np.nonzero(selected)
    x, y = (ix.astype(float) - cx) * steps[1], (iy.astype(float) - cy) * steps[0]
    return _Pixels(selected, x, y, (cy, cx), steps)


def _flag(muse_fit: Any, hst_fit: Any) -> int:
    """1: not converged, 2: no star to speak of in one of the images."""
    flux = hst_fit.params["flux"]
    faint = not flux.value > 0 or (flux.stderr and flux.value < 5 * flux.stderr)
    if faint or not muse_fit.params["flux"].value > 0:
        _log.warning("the star is not significant in one of the images")
        faint = True
    return (0 if muse_fit.success and hst_fit.success else 1) | (2 if faint else 0)


def _values(image: SkyImage, pixels: _Pixels) -> Array:
    return np.where(image.mask, 0.0, image.values)[pixels.selected].astype(float)


class _NotAMoffatError(ArithmeticError):
    """The fit went to parameters for which there is no such function."""


def _moffat_star(pixels: _Pixels) -> Callable[..., Array]:
    """Model function: a Moffat at the pixel centres over a background."""
    x, y, area = pixels.x, pixels.y, pixels.steps[0] * pixels.steps[1]

    def moffat_star(
        plane: Array,  # noqa: ARG001 - lmfit wants an independent variable
        dx: float,
        dy: float,
        bg: float,
        flux: float,
        fwhm: float,
        beta: float,
    ) -> Array:
        values = bg + flux * area * moffat_profile((x - dx) ** 2 + (y - dy) ** 2, fwhm, beta)
        if not np.isfinite(values).all():
            raise _NotAMoffatError
        return values

    return moffat_star


def _fit_compat(
    image: SkyImage, pixels: _Pixels, held: Mapping[str, float | None], beta: float, bounded: bool
) -> Any:
    """The documented fit: equal weights, masked pixels as zero, beta free below unless bounded."""
    from lmfit import Model

    model = Model(_moffat_star(pixels), independent_vars=["plane"], name="Moffat star")
    data = _values(image, pixels)
    total = float(data.sum())
    scale = total if abs(total) > 0 else 1.0
    dx, dy = float(data @ pixels.x / scale), float(data @ pixels.y / scale)
    params = model.make_params(dx=dx, dy=dy, bg=0.0, flux=total, fwhm=0.5, beta=beta)
    params["fwhm"].set(min=0.0)
    if bounded:
        params["beta"].set(min=0.0)
    hold_parameters(params, held)
    weights = np.full(data.size, COMPAT_WEIGHT)
    try:
        return model.fit(data, params, weights=weights, plane=np.zeros(1), method="leastsq")
    except _NotAMoffatError:  # beta went where the function does not exist: once more between limits
        params["beta"].set(min=BETA_RANGE[0], max=BETA_RANGE[1])
        return model.fit(data, params, weights=weights, plane=np.zeros(1), method="least_squares")


def _weights(image: SkyImage, pixels: _Pixels) -> Array:
    if image.var is None:
        return np.ones(pixels.x.size)
    var = image.var[pixels.selected].astype(float)
    good = np.isfinite(var) & (var > 0)
    if not good.any():
        return np.ones(var.size)
    return np.where(good, 1.0 / np.sqrt(np.where(good, var, 1.0)), 0.0)


def _weighted_fit(
    function: Callable[..., Array],
    name: str,
    image: SkyImage,
    pixels: _Pixels,
    fwhm: float,
    beta: float,
    fwhm_range: tuple[float, float],
    held: Mapping[str, float | None],
) -> Any:
    """Fit of a model function by the variances, from the light above the background."""
    from lmfit import Model

    model = Model(function, independent_vars=["plane"], name=name)
    data = _values(image, pixels)
    bg = float(np.percentile(data, 20.0))
    light = np.maximum(data - bg, 0.0)
    bright = np.where(light > 0.2 * light.max(), light, 0.0)
    total = max(bright.sum(), 1e-30)
    dx, dy = float(bright @ pixels.x / total), float(bright @ pixels.y / total)
    flux = float(max((data - bg).sum(), 1e-3 * abs(data).max()))
    params = model.make_params(dx=dx, dy=dy, bg=bg, flux=flux, fwhm=fwhm, beta=beta)
    params["fwhm"].set(min=fwhm_range[0], max=fwhm_range[1])
    params["beta"].set(min=BETA_RANGE[0], max=BETA_RANGE[1])
    hold_parameters(params, held)
    return model.fit(
        data,
        params,
        weights=_weights(image, pixels),
        plane=np.zeros(1),
        method="least_squares",
        fit_kws={"x_scale": "jac"},
    )


def _fit_muse(image: SkyImage, pixels: _Pixels, held: Mapping[str, float | None]) -> Any:
    return _weighted_fit(_moffat_star(pixels), "Moffat star", image, pixels, 0.7, 2.5, (0.05, 10.0), held)


def _fit_hst(image: SkyImage, pixels: _Pixels) -> Any:
    """A Moffat seen through the low-pass of the regridding, evaluated in the Fourier plane of a box."""
    from scipy import fft

    steps = pixels.steps
    extent = max(np.ptp(pixels.x) / steps[1], np.ptp(pixels.y) / steps[0])
    size = fft.next_fast_len(2 * int(np.ceil(1.5 * extent) + 4), real=True)
    size += size % 2
    v, u = frequency_grid((size, size), steps)
    radius = np.hypot(v, u)
    window = lowpass_window(radius, 0.5 / steps[1])
    table = np.linspace(0.0, float(radius.max()) * 1.001, 4096)
    middle = tuple(int(round(c)) for c in pixels.centre)
    rows, columns = ((i - m) % size for i, m in zip(np.nonzero(pixels.selected), middle, strict=True))
    fy, fx = ((c - m) * step for c, m, step in zip(pixels.centre, middle, steps, strict=True))

    def filtered_star(
        plane: Array,  # noqa: ARG001 - lmfit wants an independent variable
        dx: float,
        dy: float,
        bg: float,
        flux: float,
        fwhm: float,
        beta: float,
    ) -> Array:
        otf = np.interp(radius, table, otf_closed(table, fwhm, beta)) * window
        turn = np.exp(-2j * np.pi * (dy + fy) * v) * np.exp(-2j * np.pi * (dx + fx) * u)
        return np.asarray(bg + flux * fft.irfft2(otf * turn, (size, size))[rows, columns])

    name = "Moffat star seen through the low-pass"
    return _weighted_fit(filtered_star, name, image, pixels, 0.1, 1.8, (0.01, 1.0), {})

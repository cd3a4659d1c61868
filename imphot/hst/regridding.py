# SPDX-License-Identifier: BSD-3-Clause
"""Bring an HST image to the pixels and to the flux unit of a MUSE image."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from imphot.errors import UserError
from imphot.hst.filters import HstFilterInfo
from imphot.hst.lowpass import lowpass_window
from imphot.hst.resampling import Array, cut_out, footprint_mask, resample, target_map
from imphot.images.opening import ImageLike, as_sky_image
from imphot.images.sky_image import MUSE_FLUX_UNIT, SkyImage, flux_unit_factor, pixel_steps, unit_text

__all__ = ["flux_factor", "regrid_hst_like_muse", "rescale_hst_like_muse"]

_log = logging.getLogger("imphot")


def flux_factor(hst: SkyImage, muse: SkyImage) -> float:
    """Factor from the values of an HST image to the unit of a MUSE image.

    An HST image whose BUNIT is a flux density is converted by its unit; any other one by PHOTFLAM.
    """
    muse_unit = flux_unit_factor(muse.unit)
    if muse_unit is None:
        if muse.unit:
            _log.warning(
                "the unit of the MUSE image (%s) is not a flux density, 1e-20 erg/s/cm2/A is taken", muse.unit
            )
        muse_unit = MUSE_FLUX_UNIT
    hst_unit = flux_unit_factor(hst.unit)
    if hst_unit is not None:
        return hst_unit / muse_unit
    return HstFilterInfo(hst).photflam / muse_unit


def muse_unit_of(muse: SkyImage) -> Any:
    """Unit of a MUSE image; the usual one where it has none."""
    return muse.unit if flux_unit_factor(muse.unit) is not None else "10**(-20)*erg/(s*cm**2*Angstrom)"


def rescale_hst_like_muse(hst: ImageLike, muse: ImageLike, inplace: bool = True) -> ImageLike:
    """Convert an HST image from counts per second to the flux unit of a MUSE image.

    Parameters
    ----------
    hst, muse : image
        mpdaf images or whatever the fits accept; of muse only the unit is used
    inplace : bool
        change hst itself, if it is an mpdaf image or a `SkyImage`

    Returns
    -------
    image
        the HST image in the unit of MUSE
    """
    muse = as_sky_image(muse, "MUSE", cube_ok=True)
    sky = as_sky_image(hst, "HST", around=muse)
    factor = flux_factor(sky, muse)
    values = sky.values * sky.values.dtype.type(factor)
    var = None if sky.var is None else sky.var * sky.var.dtype.type(factor**2)
    made = SkyImage(
        values, var, sky.mask, sky.wcs, muse_unit_of(muse), sky.filename, sky.primary_header, sky.data_header
    )
    return _deliver(hst, sky, made, inplace)


def regrid_hst_like_muse(hst: ImageLike, muse: ImageLike, inplace: bool = True) -> ImageLike:
    """Resample an HST image to the pixels of a MUSE image, conserving flux.

    The image is low-passed to what the MUSE pixels can hold before it is sampled at their centres; an
    output pixel is masked when an HST pixel without data lies within it.

    Parameters
    ----------
    hst : image
        HST image
    muse : image
        MUSE image or cube with the wanted pixels
    inplace : bool
        change hst itself, if it is an mpdaf image or a `SkyImage`

    Returns
    -------
    image
        the HST image on the MUSE pixels
    """
    muse = as_sky_image(muse, "MUSE", cube_ok=True)
    sky = as_sky_image(hst, "HST", around=muse)
    ny, nx = muse.shape
    sy, sx = pixel_steps(muse.wcs)
    hy, hx = pixel_steps(sky.wcs)
    map_y, map_x = target_map(muse.wcs, sky.wcs, np.arange(ny, dtype=float), np.arange(nx, dtype=float))
    border = int(np.ceil(4 * max(sy, sx) / min(hy, hx)))
    cutout = cut_out(sky, map_y, map_x, border)
    cutoff = 0.5 / sx

    def transfer(radius: Array) -> Array:
        return lowpass_window(radius, cutoff)

    area = (sy * sx) / (hy * hx)
    values = resample(cutout, cutout.values, map_y, map_x, transfer, cutoff) * area
    mask = footprint_mask(cutout, map_y, map_x, sx)
    if mask.all():
        raise UserError(
            "The HST image does not overlap the MUSE image: check the coordinates of both, and what is given "
            "of the fit (init_dx, init_dy, fix_dx, fix_dy, fix_bg)"
        )
    var = None
    if cutout.var is not None:
        # independent HST pixels: the variance is smoothed by the square of the low-pass kernel, here by its
        # width
        def spread(radius: Array) -> Array:
            return lowpass_window(radius, 2.0 * cutoff)

        var = (
            np.maximum(resample(cutout, cutout.var, map_y, map_x, spread, 2.0 * cutoff, level=0.0), 0.0)
            * area**2
            * _noise_gain(cutoff, hy, hx)
        )
        var = var.astype(sky.values.dtype)
    made = SkyImage(
        values.astype(sky.values.dtype),
        var,
        mask,
        muse.wcs.deepcopy(),
        sky.unit,
        sky.filename,
        sky.primary_header,
        sky.data_header,
    )
    return _deliver(hst, sky, made, inplace)


def _noise_gain(cutoff: float, hy: float, hx: float) -> float:
    """Variance left of white noise by the circular Blackman low-pass: integral of its square over the plane
    x pixel area.
    """
    f = np.linspace(0.0, cutoff, 2001)
    w = lowpass_window(f, cutoff) ** 2 * 2.0 * np.pi * f
    return float(np.sum(0.5 * (w[1:] + w[:-1])) * (f[1] - f[0]) * hy * hx)


def _deliver(original: ImageLike, sky: SkyImage, made: SkyImage, inplace: bool) -> ImageLike:
    """A new image in the form in which the original came; sky is what was read of it."""
    if sky.source is original:  # an mpdaf image
        return _deliver_mpdaf(original, made, inplace, moved=made.wcs is not sky.wcs)
    if isinstance(original, SkyImage) and inplace:
        for name in ("values", "var", "mask", "wcs", "unit"):
            setattr(original, name, getattr(made, name))
        return original
    return made


def _deliver_mpdaf(original: Any, made: SkyImage, inplace: bool, moved: bool) -> Any:
    from astropy import units as u
    from mpdaf import obj

    unit = made.unit
    new_unit = u.Unit(unit_text(unit)) if isinstance(unit, str) and unit else unit
    target = original if inplace else original.copy()
    if not moved and made.shape == original.shape:
        target.data = np.ma.MaskedArray(made.values, made.mask)
        if made.var is not None:
            target.var = made.var
        target.unit = new_unit
        return target
    new_wcs = obj.WCS(hdr=made.wcs_header(), shape=made.shape)
    # mpdaf checks shapes one by one otherwise
    target._data, target._mask, target._var = made.values, made.mask, made.var  # noqa: SLF001
    target._wcs = new_wcs  # noqa: SLF001
    target.wcs = new_wcs
    target._unit = new_unit  # noqa: SLF001
    target.unit = new_unit
    return target

# SPDX-License-Identifier: BSD-3-Clause
"""apply_corrections: move and scale a MUSE image onto the HST image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError
from imphot.images.opening import ImageLike, as_sky_image
from imphot.images.sky_image import pixel_steps

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from imphot.results import FittedPhotometry

__all__ = ["apply_corrections"]

_WORDS = {"xy", "x", "y", "scale", "zero"}


def apply_corrections(
    im: ImageLike,
    imfit: FittedPhotometry,
    corrections: str | Iterable[str] = "xy,scale,zero",
    resample: bool = False,
    inplace: bool = False,
) -> ImageLike:
    """Apply the results of a fit to an image.

    Parameters
    ----------
    im : image
        mpdaf image, or anything else the fits accept
    imfit : FittedPhotometry
        results of a fit of this image, or of another one of the same exposure
    corrections : str or sequence of str
        words from "xy" (or "x", "y" alone), "scale" and "zero" separated by commas
    resample : bool
        move the pixels (Fourier shift) instead of the reference pixel of the WCS
    inplace : bool
        change the image given, rather than a copy

    Returns
    -------
    image
        an image of the kind given (a `SkyImage` for files and HDU lists)
    """
    listed = corrections.split(",") if isinstance(corrections, str) else corrections or ()
    words = {str(word).strip().lower() for word in listed} - {"", "none"}
    unknown = words - _WORDS
    if unknown:
        raise UserError(
            f"Unknown corrections ({', '.join(sorted(unknown))}): choose from xy, x, y, scale, zero"
        )
    sky = as_sky_image(im)
    mpdaf = sky.source is im
    if mpdaf:
        target = im if inplace else im.copy()
        sky = as_sky_image(target)
    elif not inplace:
        sky = sky.copy()
    values, var, mask, wcs = sky.values, sky.var, sky.mask, sky.wcs
    if not inplace or mpdaf:
        values = values.copy()
        var = None if var is None else var.copy()
    dx = imfit.dx.value if words & {"xy", "x"} else 0.0
    dy = imfit.dy.value if words & {"xy", "y"} else 0.0
    if dx or dy:
        sy, sx = pixel_steps(wcs)
        if resample:
            values, var, mask = shift_image(values, var, mask, -dy / sy, -dx / sx)
        else:
            wcs = wcs.deepcopy()
            wcs.wcs.crpix = wcs.wcs.crpix + np.array([dx / sx, dy / sy])
            wcs.wcs.set()
    if "zero" in words:
        values = values - imfit.bg.value
    if "scale" in words:
        values = values / imfit.scale.value
        var = None if var is None else var / imfit.scale.value**2
    if mpdaf:
        _store_mpdaf(target, values, var, mask, wcs)
        return target
    sky.values, sky.var, sky.mask, sky.wcs = values, var, mask, wcs
    return sky


def _store_mpdaf(
    target: Any,
    values: npt.NDArray[np.floating],
    var: npt.NDArray[np.floating] | None,
    mask: npt.NDArray[np.bool_],
    wcs: WCS,
) -> None:
    target.data = np.ma.MaskedArray(values, mask)
    if var is not None:
        target.var = var
    target.wcs.wcs = wcs


def shift_image(
    values: npt.NDArray[np.floating],
    var: npt.NDArray[np.floating] | None,
    mask: npt.NDArray[np.bool_],
    ny: float,
    nx: float,
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating] | None, npt.NDArray[np.bool_]]:
    """Move an image by fractions of a pixel with a Fourier shift, without smoothing it.

    Masked pixels are filled by the nearest good ones for the shift; a pixel is masked afterwards where more
    than a tenth of it comes from masked pixels or from outside.  Variances are interpolated linearly.
    """
    from scipy import fft, ndimage

    filled = values.astype(float)
    if mask.any():
        if mask.all():
            raise UserError("All pixels of the image are masked: nothing can be moved")
        nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
        filled = filled[tuple(nearest)]
    pad = int(np.ceil(max(abs(ny), abs(nx)))) + 16
    padded = np.pad(filled, pad, mode="reflect" if min(filled.shape) > pad else "edge")
    spectrum = fft.rfft2(padded)
    v, u = fft.fftfreq(padded.shape[0])[:, None], fft.rfftfreq(padded.shape[1])[None, :]
    turn = np.exp(-2j * np.pi * ny * v) * np.exp(-2j * np.pi * nx * u)
    moved = fft.irfft2(spectrum * turn, padded.shape)[pad:-pad, pad:-pad]
    share = ndimage.shift(mask.astype(float), (ny, nx), order=1, mode="constant", cval=1.0)
    lost = share > 0.1
    moved_var = None
    if var is not None:
        good = np.where(mask, 0.0, var).astype(float)
        weight = np.maximum(1.0 - share, 1e-6)
        moved_var = (ndimage.shift(good, (ny, nx), order=1, mode="constant", cval=0.0) / weight).astype(
            var.dtype
        )
    moved = np.where(lost, 0.0, moved).astype(values.dtype)
    return moved, moved_var, lost

# SPDX-License-Identifier: BSD-3-Clause
"""fit_image_photometry: compare whole images."""

from __future__ import annotations

import inspect
import logging

import numpy as np

from .errors import UserError
from .grids import image_grids_aligned
from .images import pixel_steps
from .painting import check_star, excluded_by_regions, extra_mask, load_pair, segmentation_mask
from .results import FittedImagePhotometry

__all__ = ["fit_image_photometry", "fit_with_pictures"]

_log = logging.getLogger("imphot")

NOT_ALIGNED = (
    "The pixels of the HST and MUSE images are not aligned. Bring the HST image to the MUSE pixels with "
    "regrid_hst_like_muse (or the script regrid_hst_to_muse), or use method='image'"
)
PARAMETERS = ("scale", "bg", "dx", "dy", "fwhm", "beta")


def fit_image_photometry(
    hst,
    muse,
    regions=None,
    fix_scale=None,
    fix_bg=None,
    fix_dx=None,
    fix_dy=None,
    fix_fwhm=None,
    fix_beta=None,
    min_scale=0,
    hst_fwhm=0.085,
    hst_beta=1.6,
    margin=2.0,
    segment=False,
    display=False,
    nowait=False,
    hardcopy=None,
    title=None,
    star=None,
    save=False,
    fig=None,
    taper=9,
    apply=False,
    resample=False,
    extramask=None,
    init_dx=None,
    init_dy=None,
    method=None,
    hst_psf=None,
    mask_points=None,
):
    """Fit the PSF, the offset, the flux scale and the background of a MUSE image against an HST image.

    Parameters
    ----------
    hst : image
        HST image (mpdaf image, file name, HDU list or (data, variance, mask, wcs)); resampled to the MUSE
        pixels by `regrid_hst_like_muse` and in flux units for the ``fourier`` engine, as observed or
        resampled for ``image``
    muse : image
        MUSE image
    regions : str, Path, file object or sequence, optional
        None or "none"; "star" or "notstar" (use nothing but, or all but, the circle of star); ds9 regions
    fix_scale, fix_bg, fix_dx, fix_dy, fix_fwhm, fix_beta : float, optional
        values to hold
    min_scale : float
        lower limit of the scale
    hst_fwhm, hst_beta : float
        Moffat taken for the HST PSF [arcsec]
    margin : float
        zeros added around the image in the ``fourier`` engine [arcsec]
    segment : bool
        leave out the pixels without a source
    display, nowait, hardcopy, title, fig
        plot on the screen, do not wait for the plot to be closed, write the plot to a file of this format,
        title, figure to draw in
    star : (ra, dec, radius), optional
        position [degrees] and radius [arcsec] for regions="star" and "notstar"
    save : bool
        write the image, the model and the residuals, and the moduli of their transforms
    taper : int
        width over which the edges of masks are softened in the ``fourier`` engine [pixel]
    apply : bool
        write the corrected MUSE image
    resample : bool
        correct positions by resampling instead of changing the WCS
    extramask : array, image or file name, optional
        pixels to leave out (not zero)
    init_dx, init_dy : float, optional
        first guesses [arcsec]
    method : {"fourier", "image"}, optional
        engine; the documented behaviour is "fourier", which is taken when nothing is said
    hst_psf : array, optional
        image of the HST PSF with the pixel size of the HST frame, instead of a Moffat (``image`` engine)
    mask_points : float, optional
        leave out circles of this radius [arcsec] around unresolved HST sources (``image`` engine)

    Returns
    -------
    FittedImagePhotometry
    """
    given = dict(locals())  # all arguments, and nothing else yet
    result, muse, pictures = fit_with_pictures(**arguments_of(fit_with_pictures, given))
    _outputs(result, muse, pictures, display, nowait, hardcopy, title, fig, save, apply, resample)
    return result


def fit_with_pictures(
    hst,
    muse,
    regions=None,
    fix_scale=None,
    fix_bg=None,
    fix_dx=None,
    fix_dy=None,
    fix_fwhm=None,
    fix_beta=None,
    min_scale=0,
    hst_fwhm=0.085,
    hst_beta=1.6,
    margin=2.0,
    segment=False,
    star=None,
    taper=9,
    extramask=None,
    init_dx=None,
    init_dy=None,
    method=None,
    hst_psf=None,
    mask_points=None,
):
    """The fit of `fit_image_photometry` without its files and plots.

    Returns
    -------
    FittedImagePhotometry, SkyImage, dict
        the results, the MUSE image and the pictures of the fit: crop, used, muse, model, muse_fft,
        model_fft, padded_shape
    """
    method = check_method(method)
    hst, muse = load_pair(hst, muse)
    held = (fix_scale, fix_bg, fix_dx, fix_dy, fix_fwhm, fix_beta)
    fixed = {n: optional_float(value, f"fix_{n}") for n, value in zip(PARAMETERS, held, strict=True)}
    starts = optional_float(init_dx, "init_dx"), optional_float(init_dy, "init_dy")
    margin, min_scale, taper = (
        number(value, name)
        for value, name in ((margin, "margin"), (min_scale, "min_scale"), (taper, "taper"))
    )
    hst_moffat = number(hst_fwhm, "hst_fwhm"), number(hst_beta, "hst_beta")
    if not (margin >= 0 and hst_moffat[0] > 0 and hst_moffat[1] > 1):
        raise UserError("margin must not be negative, hst_fwhm must be positive and hst_beta larger than one")
    if star is not None:
        check_star(star)
    aligned = image_grids_aligned(hst, muse)
    extra = extra_mask(extramask, muse.shape)
    if not (~muse.mask & ~extra).any():
        raise UserError("All pixels of the MUSE image are masked or not a number: nothing is left to fit")
    mask_points = optional_float(mask_points, "mask_points")
    if mask_points is not None and mask_points < 0:
        raise UserError(f"The radius given to mask_points must not be negative: {mask_points:g}")
    if method == "fourier":
        if hst_psf is not None or mask_points:
            _log.warning("hst_psf and mask_points have no effect with the method fourier")
        if not aligned:
            raise UserError(NOT_ALIGNED)
        result, pictures = _fourier(
            hst, muse, regions, star, segment, extra, fixed, starts, hst_moffat, min_scale, margin, taper
        )
    else:
        from .image_engine import fit_image_plane

        result, pictures = fit_image_plane(
            hst,
            muse,
            aligned=aligned,
            regions=regions,
            star=star,
            segment=segment,
            extra=extra,
            fixed=fixed,
            starts=starts,
            hst_moffat=hst_moffat,
            min_scale=min_scale,
            hst_psf=hst_psf,
            mask_points=mask_points,
        )
    return result, muse, pictures


def arguments_of(function, given):
    """The entries of a dictionary that are arguments of a function."""
    names = inspect.signature(function).parameters
    return {name: value for name, value in given.items() if name in names}


def check_method(method):
    """Name of the engine, checked."""
    if method is None:
        return "fourier"
    if method not in ("fourier", "image"):
        raise UserError(f"Unknown method ({method}): choose fourier or image")
    return method


def number(value, name):
    """A finite number; name says which argument it is."""
    try:
        out = float(value)
    except (TypeError, ValueError) as err:
        raise UserError(f"The value of {name} is not a number: {value}") from err
    if not np.isfinite(out):
        raise UserError(f"The value of {name} is not a finite number: {value}")
    return out


def optional_float(value, name):
    """A finite number, or None for None and the word none; name says which argument it is."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    return number(value, name)


def _fourier(hst, muse, regions, star, segment, extra, fixed, starts, hst_psf, min_scale, margin, taper):
    from .fourier_engine import fit_fourier

    hst_mask = hst.mask | excluded_by_regions(regions, star, muse.wcs, muse.shape, snap=True)
    if segment:
        hst_mask |= segmentation_mask(np.asarray(hst.values, float), hst.mask)
    fit = fit_fourier(
        np.where(hst.mask, 0.0, hst.values).astype(float),
        np.where(muse.mask, 0.0, muse.values).astype(float),
        hst_mask,
        muse.mask | extra,
        pixel_steps(muse.wcs),
        fixed,
        starts,
        hst_psf,
        min_scale,
        margin,
        taper,
    )
    flag = 0 if fit.result.success else 1
    result = FittedImagePhotometry(
        muse, fit.result, fit.rms_error, engine="fourier", flag=flag, npix=int(fit.used.sum())
    )
    pictures = {
        "crop": fit.crop,
        "used": fit.used,
        "muse": fit.muse,
        "model": fit.model,
        "muse_fft": fit.muse_fft,
        "model_fft": fit.model_fft,
        "padded_shape": fit.padded_shape,
    }
    return result, pictures


def _outputs(result, muse, pictures, display, nowait, hardcopy, title, fig, save, apply, resample):
    from . import outputs

    if save:
        outputs.save_fit(muse, pictures)
    if display or _wanted(hardcopy) or fig is not None:
        from .plots import plot_image_fit

        plot_image_fit(result, muse, pictures, display, nowait, hardcopy, title, fig)
    if apply:
        outputs.write_aligned(muse, result, resample)


def _wanted(hardcopy):
    return hardcopy not in (None, "", "none")

# SPDX-License-Identifier: BSD-3-Clause
"""The three fitting functions, and the fits without their files and plots."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np

from imphot import fit_files
from imphot.engines.fourier.fit import fit_fourier_plane
from imphot.engines.image.fit import fit_image_plane
from imphot.engines.star.fit import fit_star
from imphot.errors import UserError
from imphot.hst.regridding import regrid_hst_like_muse, rescale_hst_like_muse
from imphot.images.grids import image_grids_aligned
from imphot.images.masks import extra_mask
from imphot.images.opening import ImageLike, as_sky_image, load_pair
from imphot.images.sky_image import SkyImage, pixel_steps
from imphot.options import FitOptions, Number, OutputOptions, Regions, Star, check_star
from imphot.plots import StarProfile, plot_image_fit, plot_star_fit
from imphot.results import FitPictures, FittedImagePhotometry, FittedStarPhotometry

__all__ = [
    "fit_field",
    "fit_image_and_star_photometry",
    "fit_image_photometry",
    "fit_one_star",
    "fit_star_photometry",
    "on_muse_grid",
]

_log = logging.getLogger("imphot")

NOT_ALIGNED = (
    "The pixels of the HST and MUSE images are not aligned. Bring the HST image to the MUSE pixels with "
    "regrid_hst_like_muse (or the script regrid_hst_to_muse), or use method='image'"
)


def fit_image_photometry(
    hst: ImageLike,
    muse: ImageLike,
    regions: Regions = None,
    fix_scale: Number = None,
    fix_bg: Number = None,
    fix_dx: Number = None,
    fix_dy: Number = None,
    fix_fwhm: Number = None,
    fix_beta: Number = None,
    min_scale: Number = 0,
    hst_fwhm: float = 0.085,
    hst_beta: float = 1.6,
    margin: float = 2.0,
    segment: bool = False,
    display: bool = False,
    nowait: bool = False,
    hardcopy: str | None = None,
    title: str | None = None,
    star: Any = None,
    save: bool = False,
    fig: Any = None,
    taper: int = 9,
    apply: bool = False,
    resample: bool = False,
    extramask: Any = None,
    init_dx: Number = None,
    init_dy: Number = None,
    method: str | None = None,
    hst_psf: Any = None,
    mask_points: Number = None,
    psf: str | None = None,
) -> FittedImagePhotometry:
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
    psf : {"auto", "moffat"}, optional
        "moffat" keeps to a Moffat function whatever the residuals say; otherwise a wing (and a core, where
        the index is held) are added to it when the residuals ask for them (``image`` engine)

    Returns
    -------
    FittedImagePhotometry
    """
    given = dict(locals())  # all arguments, and nothing else yet
    options, outputs = FitOptions.from_arguments(given), OutputOptions.from_arguments(given)
    pair = load_pair(hst, muse)
    result, pictures = fit_field(*pair, options)
    _leave_image_fit(result, pair[1], pictures, outputs)
    return result


def fit_star_photometry(
    hst: ImageLike,
    muse: ImageLike,
    star: Star,
    fix_fwhm: Number = None,
    fix_beta: Number = None,
    display: bool = False,
    nowait: bool = False,
    hardcopy: str | None = None,
    title: str | None = None,
    fig: Any = None,
    apply: bool = False,
    resample: bool = False,
    method: str | None = None,
) -> FittedStarPhotometry:
    """Fit Moffat functions to one star in the MUSE image and in the HST image.

    Parameters
    ----------
    hst : image
        HST image on the MUSE pixels; with method="image" also as observed
    muse : image
        MUSE image
    star : (ra, dec, radius)
        position [degrees] and radius of the pixels to be used [arcsec]
    fix_fwhm, fix_beta : float, optional
        values to hold in the fit of the MUSE star
    display, nowait, hardcopy, title, fig
        see `fit_image_photometry`
    apply, resample : bool
        write the corrected MUSE image, by resampling
    method : {"fourier", "image"}, optional
        "image": both stars get the model that belongs to them (the HST star is a Moffat seen through the
        low-pass of the regridding), pixels are weighted by their variances and masked ones left out.
        Otherwise the documented fit: Moffats for both, equal weights, which overrates the scale by about 6 %.

    Returns
    -------
    FittedStarPhotometry
    """
    given = dict(locals())  # all arguments, and nothing else yet
    outputs = OutputOptions.from_arguments(given)
    options = FitOptions.from_arguments(given | {"star": check_star(star)})
    pair = load_pair(hst, muse)
    result, profile = fit_one_star(*pair, options)
    _leave_star_fit(result, pair[1], profile, outputs)
    return result


def fit_image_and_star_photometry(
    hst: ImageLike,
    muse: ImageLike,
    star: Star,
    regions: Regions = "star",
    fix_scale: Number = None,
    fix_bg: Number = None,
    fix_dx: Number = None,
    fix_dy: Number = None,
    fix_fwhm: Number = None,
    fix_beta: Number = None,
    hst_fwhm: float = 0.085,
    hst_beta: float = 1.6,
    margin: float = 2.0,
    segment: bool = False,
    display: bool = False,
    nowait: bool = False,
    hardcopy: str | None = None,
    title: str | None = None,
    save: bool = False,
    fig: Any = None,
    taper: int = 9,
    apply: bool = False,
    resample: bool = False,
    extramask: Any = None,
    min_scale: Number = 0,
    init_dx: Number = None,
    init_dy: Number = None,
    method: str | None = None,
) -> tuple[FittedImagePhotometry, FittedStarPhotometry]:
    """Run `fit_image_photometry` and `fit_star_photometry` on the same images.

    The arguments are those of the two functions; apply writes the image corrected by the image fit.

    Returns
    -------
    (FittedImagePhotometry, FittedStarPhotometry)
    """
    given = dict(locals())  # all arguments, and nothing else yet
    outputs = OutputOptions.from_arguments(given)
    options = FitOptions.from_arguments(given | {"star": check_star(star)})
    pair = load_pair(hst, muse)
    image, pictures = fit_field(*pair, options)
    _leave_image_fit(image, pair[1], pictures, outputs)
    stars, profile = fit_one_star(*pair, options)
    _leave_star_fit(stars, pair[1], profile, replace(outputs, apply=False))
    return image, stars


def fit_field(
    hst: SkyImage, muse: SkyImage, options: FitOptions
) -> tuple[FittedImagePhotometry, FitPictures]:
    """The fit of `fit_image_photometry`."""
    for image, name in ((muse, "MUSE"), (hst, "HST")):
        check_scale(image, name)
        check_light(image, name)
    if hst.values.shape == muse.values.shape and np.array_equal(hst.values, muse.values, equal_nan=True):
        raise UserError("The HST image has the very pixels of the MUSE image: give that of HST")
    aligned = image_grids_aligned(hst, muse)
    extra = extra_mask(options.extramask, muse.shape, str(muse.filename or ""))
    if not (~muse.mask & ~extra).any():
        raise UserError("All pixels of the MUSE image are masked or not a number: nothing is left to fit")
    if options.method == "image":
        return fit_image_plane(hst, muse, aligned, extra, options)
    if options.hst_psf is not None or options.mask_points:
        _log.warning("hst_psf and mask_points have no effect with the method fourier")
    if not aligned:
        raise UserError(NOT_ALIGNED)
    return fit_fourier_plane(hst, muse, extra, options)


def check_light(image: SkyImage, what: str) -> None:
    """Refuse an image without any structure: whatever is fitted to it means nothing."""
    values = image.values[~image.mask]
    if values.size and values.min() == values.max():
        raise UserError(f"All pixels of the {what} image have the value {values[0]:g}: there is no light")


SMALLEST_PIXEL, LARGEST_PIXEL = 1e-3, 10.0
"""Arcsec of pixels of telescopes whose images are compared."""


def check_scale(image: SkyImage, what: str) -> None:
    """Refuse an image whose pixels have no size on the sky, or one of another unit."""
    matrix = np.asarray(image.wcs.pixel_scale_matrix)
    sizes = pixel_steps(image.wcs)
    area = abs(float(np.linalg.det(matrix))) * 3600.0**2
    if not (
        SMALLEST_PIXEL <= min(sizes) and max(sizes) <= LARGEST_PIXEL and area > 0.1 * sizes[0] * sizes[1]
    ):
        raise UserError(
            f"The pixels of the {what} image have a size of {sizes[1]:.3g} x {sizes[0]:.3g} arcsec and an "
            f"area of {area:.3g} arcsec^2 by its keywords CDi_j (or PCi_j, CDELTi): expected axes at about "
            f"right angles, {SMALLEST_PIXEL:g} to {LARGEST_PIXEL:g} arcsec"
        )


def fit_one_star(
    hst: SkyImage, muse: SkyImage, options: FitOptions
) -> tuple[FittedStarPhotometry, StarProfile]:
    """The fit of `fit_star_photometry`; the options hold the star."""
    for image, name in ((muse, "MUSE"), (hst, "HST")):
        check_scale(image, name)
        check_light(image, name)
    if not image_grids_aligned(hst, muse):
        if options.method != "image":
            raise UserError(NOT_ALIGNED)
        hst = on_muse_grid(hst, muse)
    return fit_star(hst, muse, check_star(options.star), options)


def on_muse_grid(hst: ImageLike, muse: SkyImage) -> SkyImage:
    """An HST image on the pixels and in the unit of a MUSE image."""
    image = as_sky_image(hst, "HST", around=muse)
    if image_grids_aligned(image, muse):
        return image
    rescaled = rescale_hst_like_muse(image, muse, inplace=False)
    return as_sky_image(regrid_hst_like_muse(rescaled, muse, inplace=False))


def _leave_image_fit(
    result: FittedImagePhotometry, muse: SkyImage, pictures: FitPictures, outputs: OutputOptions
) -> None:
    if outputs.save:
        fit_files.save_fit(muse, pictures)
    if outputs.wants_plot:
        plot_image_fit(result, muse, pictures, outputs)
    if outputs.apply:
        fit_files.write_aligned(muse, result, outputs.resample)


def _leave_star_fit(
    result: FittedStarPhotometry, muse: SkyImage, profile: StarProfile, outputs: OutputOptions
) -> None:
    if outputs.wants_plot:
        plot_star_fit(result, muse, profile, outputs)
    if outputs.apply:
        fit_files.write_aligned(muse, result, outputs.resample)

# SPDX-License-Identifier: BSD-3-Clause
"""muse_imphot: PSF, pointing, flux scale and background of MUSE images from HST images of the same sky."""

from __future__ import annotations

from muse_core.framework import Input, NumberOrNone, Param, Product, RecipeSpec, Words
from muse_core.framework.spec import OWN_VERSION
from muse_core.manuals.imphot import MANUAL

OFFSETS, SCALES, LEVELS = (-1000.0, 1000.0), (1e-12, 1e12), (-1e12, 1e12)
WIDTHS = (1e-3, 100.0)
"""Limits of offsets [arcsec], flux scales, backgrounds, and PSFs [arcsec], beyond those of any image."""


def open_number(name, default, text, low=None, high=None):
    """Declare a parameter that is a number, or none where it is left open."""
    return Param(name, default, kind=NumberOrNone(), finite=True, help=text, low=low, high=high)


RECIPE = RecipeSpec(
    name="muse_imphot",
    summary=(
        "Determine PSF, pointing offset, flux scale and background of MUSE images by comparison "
        "with HST images."
    ),
    description="""Each MUSE image is compared with an HST image of the same sky, which is
convolved with a Moffat function, moved, scaled and lifted until it matches.
What was needed for this is the width and index of the MUSE PSF (beyond that of
HST), the pointing offset, the flux scale and the background.

The method "image" fits on the MUSE pixels, weighted by their variances, a model
made from the HST image as distributed; "fourier" reproduces the existing imphot
package; "star" compares one star; "both" is "image" and "star".

FLAG of the IMPHOT_TABLE says what the fit has noticed: a PSF that is not the
assumed Moffat function (128; wings are then added to it), images distorted
against each other (256; solved for), sources that differ in flux scale, by
their colours or by variation (512), or in position (1024); the differences
are in the errors. 1 to 64 tell of fits without a sound result.

The OFFSET_LIST can be given to muse_scipost and muse_exp_combine as it is: they
reduce the coordinates of each exposure by its offsets and multiply its fluxes
by FLUX_SCALE. An exposure whose fit cannot be trusted gets no row. The offset
of the background is in the IMPHOT_TABLE and in the aligned images only.

IMAGE_FOV images or DATACUBE_FINAL cubes are accepted; cubes are collapsed with
the curve of the parameter filter from the FILTER_LIST. Among several HST images
the one whose filter fits is taken.""",
    version=OWN_VERSION,
    manual=MANUAL,
    params=(
        Param(
            "method",
            "image",
            choices=("image", "fourier", "star", "both"),
            help="How the images are compared.",
        ),
        Param(
            "filter", "", help="Filter of the reference, and name of the curve that cubes are collapsed with."
        ),
        Param(
            "regions",
            "none",
            choices=("none", "star", "notstar", "points"),
            help="Use only the circle of the star, all but it, or leave out unresolved HST sources.",
        ),
        open_number("star_ra", "none", "Right ascension of a star in degrees."),
        open_number("star_dec", "none", "Declination of the star in degrees."),
        Param("star_radius", 3.0, above=0.0, help="Radius of the pixels around the star in arcsec."),
        open_number("fix_scale", "none", "Value at which the flux scale is held, or none.", *SCALES),
        open_number("fix_bg", "none", "Value at which the background is held, or none.", *LEVELS),
        open_number("fix_dx", "none", "Offset along x in arcsec that is held, or none.", *OFFSETS),
        open_number("fix_dy", "none", "Offset along y in arcsec that is held, or none.", *OFFSETS),
        open_number("fix_fwhm", "none", "Width of the PSF in arcsec that is held, or none.", *WIDTHS),
        open_number("fix_beta", "2.5", "Value at which the Moffat index is held, or none to fit it."),
        Param("min_scale", 0.0, low=0.0, high=SCALES[1], help="Lower limit of the flux scale."),
        open_number("init_dx", "none", "First guess of the offset along x in arcsec, or none.", *OFFSETS),
        open_number("init_dy", "none", "First guess of the offset along y in arcsec, or none.", *OFFSETS),
        Param("hst_fwhm", 0.085, above=0.0, high=100.0, help="Width of the HST PSF in arcsec."),
        Param("hst_beta", 1.6, above=1.0, help="Moffat index of the HST PSF."),
        Param("margin", 2.0, low=0.0, high=100.0, help="Zeros around the image in arcsec (method fourier)."),
        Param(
            "taper",
            9,
            low=0,
            high=1000,
            help="Width of softened borders of masks in pixels (method fourier).",
        ),
        Param("segment", False, help="Leave out pixels without a source."),
        Param("mask_points", False, help="Leave out circles around unresolved HST sources."),
        Param("mask_radius", 1.5, low=0.0, help="Radius of these circles in arcsec."),
        Param("apply", False, help="Write the corrected images."),
        Param(
            "resample",
            False,
            help="Move the pixels of corrected images instead of changing their coordinates.",
        ),
        Param(
            "save",
            "",
            kind=Words(("model", "residual", "fft", "hst", "plot"), nothing=("none",)),
            help="Comma list of what to write besides: model, residual, fft, hst, plot.",
        ),
        Param(
            "psf",
            "auto",
            choices=("auto", "moffat"),
            help="Add wings to the Moffat function where the residuals ask for them (method image); or not.",
        ),
        Param(
            "nproc",
            0,
            help="Worker processes; 0: as many as threads are allowed, negative: all cores but so many.",
        ),
    ),
    inputs=(
        Input("IMAGE_FOV", "RAW", min=0, max=None, help="MUSE images"),
        Input("DATACUBE_FINAL", "RAW", min=0, max=None, help="MUSE cubes, collapsed before the fit"),
        Input("HST_IMAGE", min=0, max=None, aliases=("REFERENCE_IMAGE",), help="HST images as distributed"),
        Input("HST_IMAGE_REGRID", min=0, help="HST image on the pixels and in the unit of the MUSE images"),
        Input("FILTER_LIST", min=0, help="Filter curves, needed for cubes"),
        Input("IMPHOT_REGIONS", min=0, help="ds9 region file"),
        Input("IMPHOT_MASK", min=0, help="Image of pixels to leave out (not zero)"),
        Input("HST_PSF", min=0, help="Image of the HST PSF, used instead of the Moffat"),
    ),
    products=(
        Product("IMPHOT_TABLE", help="Results, one row per image and method", type="TABLE"),
        Product(
            "OFFSET_LIST",
            help="Coordinate offsets and flux scales for muse_scipost and muse_exp_combine",
            type="TABLE",
        ),
        Product("IMAGE_FOV_ALIGNED", help="Corrected image (apply)", series=True),
        Product("IMPHOT_MODEL", help="HST image as MUSE should have seen it (save)", series=True),
        Product("IMPHOT_RESIDUAL", help="MUSE image minus model (save)", series=True),
        Product("IMPHOT_FFT", help="Moduli of the transforms of image and model (save)", series=True),
        Product("HST_IMAGE_REGRID", help="HST image on the MUSE pixels (save)", series=True),
        Product("IMPHOT_PLOT", help="Plot of the fit, red, green and blue as planes (save)", series=True),
    ),
)


def run(frames, p, ctx):
    """Compare every MUSE image with an HST image of the same sky."""
    from muse_core.photometry.exposures import give_references, load_exposures
    from muse_core.photometry.fitting import fit_exposures
    from muse_core.photometry.messages import library_messages_to
    from muse_core.photometry.products import save_images, save_tables
    from muse_core.photometry.settings import read_settings

    with library_messages_to(ctx.log):
        settings = read_settings(frames, p, ctx)
        exposures = load_exposures(frames, settings.curve, p.filter, ctx)
        give_references(frames, exposures, p.filter, ctx)
        fit_exposures(exposures, settings, p.nproc, ctx)
        save_tables(exposures, frames, p, ctx)
        save_images(exposures, frames, p, ctx)
    if ctx.report_requested:
        from muse_core.report.imphot import imphot_page

        ctx.report(lambda: imphot_page(exposures))

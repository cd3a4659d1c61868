# SPDX-License-Identifier: BSD-3-Clause
"""muse_imphot: PSF, pointing, flux scale and background of MUSE images from HST images of the same sky."""

from __future__ import annotations

from muse_core.framework import Input, Param, ParameterError, Product, RecipeError, RecipeSpec

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

The OFFSET_LIST can be given to muse_scipost and muse_exp_combine as it is: they
reduce the coordinates of each exposure by its offsets and multiply its fluxes
by FLUX_SCALE. An exposure whose fit cannot be trusted gets no row. The offset
of the background is in the IMPHOT_TABLE and in the aligned images only.

IMAGE_FOV images or DATACUBE_FINAL cubes are accepted; cubes are collapsed with
the curve of the parameter filter from the FILTER_LIST. Among several HST images
the one whose filter fits is taken.""",
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
        Param("star_ra", "none", help="Right ascension of a star in degrees."),
        Param("star_dec", "none", help="Declination of the star in degrees."),
        Param("star_radius", 3.0, low=0.0, help="Radius of the pixels around the star in arcsec."),
        Param("fix_scale", "none", help="Value at which the flux scale is held, or none."),
        Param("fix_bg", "none", help="Value at which the background is held, or none."),
        Param("fix_dx", "none", help="Value at which the offset along x is held in arcsec, or none."),
        Param("fix_dy", "none", help="Value at which the offset along y is held in arcsec, or none."),
        Param("fix_fwhm", "none", help="Value at which the width of the PSF is held in arcsec, or none."),
        Param("fix_beta", "2.5", help="Value at which the Moffat index is held, or none to fit it."),
        Param("min_scale", 0.0, low=0.0, help="Lower limit of the flux scale."),
        Param("init_dx", "none", help="First guess of the offset along x in arcsec; none: it is searched."),
        Param("init_dy", "none", help="First guess of the offset along y in arcsec; none: it is searched."),
        Param("hst_fwhm", 0.085, low=0.0, help="Width of the HST PSF in arcsec."),
        Param("hst_beta", 1.6, low=1.0, help="Moffat index of the HST PSF."),
        Param("margin", 2.0, low=0.0, help="Zeros around the image in arcsec (method fourier)."),
        Param("taper", 9, low=0, help="Width of the softened borders of masks in pixels (method fourier)."),
        Param("segment", False, help="Leave out pixels without a source."),
        Param("mask_points", False, help="Leave out circles around unresolved HST sources."),
        Param("mask_radius", 1.5, low=0.0, help="Radius of these circles in arcsec."),
        Param("apply", False, help="Write the corrected images."),
        Param(
            "resample",
            False,
            help="Move the pixels of corrected images instead of changing their coordinates.",
        ),
        Param("save", "", help="Comma list of what to write besides: model, residual, fft, hst, plot."),
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
        Product("IMPHOT_TABLE", help="Results, one row per image and method"),
        Product(
            "OFFSET_LIST", help="Coordinate offsets and flux scales for muse_scipost and muse_exp_combine"
        ),
        Product("IMAGE_FOV_ALIGNED", help="Corrected image (apply)", series=True),
        Product("IMPHOT_MODEL", help="HST image as MUSE should have seen it (save)", series=True),
        Product("IMPHOT_RESIDUAL", help="MUSE image minus model (save)", series=True),
        Product("IMPHOT_FFT", help="Moduli of the transforms of image and model (save)", series=True),
        Product("HST_IMAGE_REGRID", help="HST image on the MUSE pixels (save)", series=True),
        Product("IMPHOT_PLOT", help="Plot of the fit, red, green and blue as planes (save)", series=True),
    ),
)

SAVE_WORDS = ("model", "residual", "fft", "hst", "plot")


def run(frames, p, ctx):
    """Compare every MUSE image with its reference."""
    from imphot import UserError, recipe_steps

    try:
        with recipe_steps.messages_to(ctx.log):
            fit_all(frames, p, ctx)
    except UserError as err:
        raise RecipeError(str(err)) from err


def fit_all(frames, p, ctx):
    """Read, match, fit, write."""
    from imphot import recipe_steps

    options = read_options(frames, p, ctx)
    curve = read_curve(frames, p, ctx)
    ctx.problems.raise_if_any()
    exposures = recipe_steps.load_exposures(
        frames["IMAGE_FOV"], frames["DATACUBE_FINAL"], curve, p.filter, ctx.problems, ctx.progress
    )
    match_references(frames, exposures, p, ctx)
    ctx.problems.raise_if_any()
    pictures = bool(options.save - {"hst"}) or ctx.report_requested
    done = recipe_steps.fit_exposures(
        exposures, p.method, options.image, options.star, pictures, p.nproc or ctx.threads
    )
    for exposure in ctx.progress(done, "fitting", total=len(exposures)):
        tell(exposure, ctx.log)
    save(exposures, options, frames, p, ctx)


def read_options(frames, p, ctx):
    """The parameters as keywords of the fitting functions."""
    from types import SimpleNamespace

    from imphot import recipe_steps

    star = None
    ra, dec = (number(p, name) for name in ("star_ra", "star_dec"))
    if ra is not None and dec is not None:
        star = (ra, dec, p.star_radius)
    if star is None and (p.method in ("star", "both") or p.regions in ("star", "notstar")):
        raise ParameterError(
            f"method={p.method} with regions={p.regions} needs the position of a star: set star_ra and "
            "star_dec"
        )
    words = {word.strip().lower() for word in p.save.split(",")} - {"", "none"}
    if words - set(SAVE_WORDS):
        raise ParameterError(
            f"parameter save: unknown {', '.join(sorted(words - set(SAVE_WORDS)))}; known are "
            f"{', '.join(SAVE_WORDS)}"
        )
    regions, mask, psf = (frames.first(tag) for tag in ("IMPHOT_REGIONS", "IMPHOT_MASK", "HST_PSF"))
    image = {
        "regions": recipe_steps.region_list(regions.path if regions else None, p.regions, star),
        "min_scale": p.min_scale,
        "hst_fwhm": p.hst_fwhm,
        "hst_beta": p.hst_beta,
        "margin": p.margin,
        "taper": p.taper,
        "segment": p.segment,
        "extramask": str(mask.path) if mask else None,
        "hst_psf": recipe_steps.read_psf(psf),
        "init_dx": number(p, "init_dx"),
        "init_dy": number(p, "init_dy"),
        "mask_points": p.mask_radius if p.mask_points or p.regions == "points" else None,
    }
    for name in ("fix_scale", "fix_bg", "fix_dx", "fix_dy", "fix_fwhm", "fix_beta"):
        image[name] = number(p, name)
    stars = {"star": star, "fix_fwhm": image["fix_fwhm"], "fix_beta": image["fix_beta"]}
    if p.method == "fourier" and (psf or image["mask_points"]):
        ctx.log.warning("HST_PSF and masked point sources are not used by the method fourier")
    return SimpleNamespace(image=image, star=stars, save=words)


def number(p, name):
    """A parameter that is a number or the word none."""
    text = str(getattr(p, name)).strip()
    if text.lower() in ("none", ""):
        return None
    try:
        return float(text)
    except ValueError:
        raise ParameterError(f"parameter {name}: {text!r} is neither a number nor none") from None


def read_curve(frames, p, ctx):
    """The filter curve for cubes; checks that something to fit and something to compare with were given."""
    from imphot.recipe_steps import read_filter

    cubes = frames["DATACUBE_FINAL"]
    if not frames["IMAGE_FOV"] and not cubes:
        ctx.problems.add("", "IMAGE_FOV", expected="at least one IMAGE_FOV or DATACUBE_FINAL", found="none")
    if not frames["HST_IMAGE"] and not frames["HST_IMAGE_REGRID"]:
        ctx.problems.add(
            "", "HST_IMAGE", expected="at least one HST_IMAGE, or HST_IMAGE_REGRID", found="none"
        )
    if not cubes:
        return None
    filters = frames.first("FILTER_LIST")
    if filters is None or not p.filter:
        ctx.problems.add(
            cubes[0].path,
            "DATACUBE_FINAL",
            expected="a FILTER_LIST and the parameter filter",
            found="no FILTER_LIST" if filters is None else "no filter",
            remedy="Cubes are collapsed with a filter curve.",
        )
        return None
    return read_filter(filters.path, p.filter)


def match_references(frames, exposures, p, ctx):
    """Give each exposure its HST image."""
    from imphot import recipe_steps

    ready = frames.first("HST_IMAGE_REGRID")
    if ready:
        for exposure in exposures:
            exposure.reference = recipe_steps.check_aligned(exposure, ready, ctx.problems)
        return
    references = recipe_steps.reference_filters(frames["HST_IMAGE"], ctx.problems)
    for exposure in exposures if references else ():
        exposure.reference = recipe_steps.choose_reference(
            exposure, references, p.filter, ctx.problems, ctx.log.warning
        )


def tell(exposure, log):
    """Write the results of one image into the log."""
    for fit in exposure.fits:
        log.info(
            "%s %s: fwhm %.4f +- %.4f arcsec, beta %.3f, scale %.4f +- %.4f, bg %.4f +- %.4f, "
            "offset RA %+.4f +- %.4f DEC %+.4f +- %.4f arcsec",
            exposure.name,
            fit.method,
            fit.fwhm.value,
            fit.fwhm.stdev,
            fit.beta.value,
            fit.scale.value,
            fit.scale.stdev,
            fit.bg.value,
            fit.bg.stdev,
            fit.dra.value,
            fit.dra.stdev,
            fit.ddec.value,
            fit.ddec.stdev,
        )


def save(exposures, options, frames, p, ctx):
    """Write all products."""
    from astropy.io import fits

    from imphot import recipe_tables

    first = exposures[0].image.primary_header
    calibrations = [f for f in frames if f.tag not in ("IMAGE_FOV", "DATACUBE_FINAL")]
    used = [*(e.frame for e in exposures), *calibrations]
    qc = recipe_tables.qc_cards([e.best for e in exposures])
    table = fits.HDUList([fits.PrimaryHDU(), recipe_tables.imphot_table(exposures)])
    ctx.save("IMPHOT_TABLE", table, base=first, used=used, qc=qc, keep="standard")
    offsets, good = recipe_tables.offset_rows(exposures, ctx.log.warning)
    if good:
        ctx.save(
            "OFFSET_LIST",
            fits.HDUList([fits.PrimaryHDU(), offsets]),
            base=first,
            used=used,
            qc=qc,
            keep="standard",
        )
    else:
        ctx.log.warning("no fit can be trusted, no OFFSET_LIST is written")
    for index, exposure in enumerate(exposures, start=1):
        save_images(exposure, index, options.save, [exposure.frame, *calibrations], p, ctx)
    if ctx.report_requested:
        ctx.report(report_page(exposures))


def save_images(exposure, index, words, used, p, ctx):
    """Write the images of one exposure."""
    from imphot import apply_corrections, product_images

    common = {
        "base": exposure.image.primary_header,
        "used": used,
        "qc": product_images.qc_of(exposure),
        "index": index,
    }
    if p.apply:
        ctx.save(
            "IMAGE_FOV_ALIGNED",
            apply_corrections(exposure.image, exposure.best, resample=p.resample).to_hdus(),
            **common,
        )
    if "hst" in words:
        ctx.save("HST_IMAGE_REGRID", product_images.regridded(exposure), **common)
    if exposure.pictures is None:
        return
    for word, tag in (
        ("model", "IMPHOT_MODEL"),
        ("residual", "IMPHOT_RESIDUAL"),
        ("fft", "IMPHOT_FFT"),
        ("plot", "IMPHOT_PLOT"),
    ):
        if word in words:
            ctx.save(tag, product_images.picture(exposure, word), **common)


def report_page(exposures):
    """Self-contained page with the results and the plots."""
    from imphot.product_images import html_page

    return html_page(exposures)

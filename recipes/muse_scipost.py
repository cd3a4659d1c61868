# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost: from pixel tables to a sky-subtracted, flux-calibrated cube and its images."""

from muse_core.framework import Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import CUBE, PRODUCTS, ROWS, SKY

RECIPE = RecipeSpec(
    name="muse_scipost",
    summary="Prepare reduced and combined science products.",
    description=(
        "The pixel tables of all IFUs of an exposure are merged. Each exposure is then corrected for "
        "atmospheric refraction, flux calibrated (if a response curve is given), cleaned of Raman lines (AO "
        "modes), slice by slice autocalibrated on request, freed of the sky, taken to the chosen velocity "
        "frame, and put on the sky by the astrometric solution. All exposures are combined with their "
        "offsets and weights and resampled into one cube, which is collapsed to an image for every filter "
        "asked for. The cube is made slab by slab along wavelength, so the memory needed does not depend on "
        "the size of the data (environment variables: OMP_NUM_THREADS, and MUSE_RECIPES_MEMORY in MB). "
        "MUSE_RECIPES_COMPAT=1 restores known defects of the C recipe."
    ),
    params=(
        Param(
            "save",
            "cube,skymodel",
            help=(
                "Products to write, comma separated: cube (with its images), autocal, raman, skymodel, "
                "individual (reduced table of each exposure), positioned (the same in RA and DEC), combined "
                "(all in one table), stacked (2D image of all slices)."
            ),
        ),
        Param(
            "resample",
            "drizzle",
            choices=("nearest", "linear", "quadratic", "renka", "drizzle", "lanczos"),
            help="Resampling method of the final cube.",
        ),
        Param(
            "dx",
            0.0,
            help="Step in x [arcsec, or pixel without astrometry]; 0: 0.2 (WFM), 0.025 (NFM), 1 pixel.",
        ),
        Param(
            "dy",
            0.0,
            help="Step in y [arcsec, or pixel without astrometry]; 0: 0.2 (WFM), 0.025 (NFM), 1 pixel.",
        ),
        Param("dlambda", 0.0, help="Step in wavelength [Angstrom]; 0: 1.25 Angstrom."),
        Param(
            "crtype",
            "median",
            choices=("iraf", "mean", "median"),
            help="Statistics of the cosmic-ray rejection: iraf (variances), mean and median (of the values).",
        ),
        Param(
            "crsigma", 15.0, help="Limit of the cosmic-ray rejection [sigma]; 0 or negative switches it off."
        ),
        Param("rc", 1.25, help="Critical radius of the renka method [voxel diagonals]."),
        Param(
            "pixfrac",
            "0.8,0.8",
            help=(
                "Size of the dropped pixel of the drizzle method: one value, two (spatial, spectral), or "
                "three (x, y, spectral)."
            ),
        ),
        Param("ld", 1, help="Distance in voxels over which rows contribute (all methods but nearest)."),
        Param(
            "format",
            "Cube",
            choices=("Cube", "Euro3D", "xCube", "xEuro3D", "sdpCube"),
            help=(
                "Format of the cube; x: with the images in the same file, sdpCube: with the keywords of "
                "ESO's Phase 3."
            ),
        ),
        Param(
            "weight",
            "exptime",
            choices=("exptime", "fwhm", "none"),
            help=("Weights of exposures: by exposure time, by that and the seeing in the headers, or none."),
        ),
        Param(
            "filter",
            "white",
            help="Filters of the images, comma separated; names are extensions of FILTER_LIST.",
        ),
        Param(
            "autocalib",
            "none",
            choices=("none", "deepfield", "user"),
            help=(
                "Calibration of slices against each other: none, from mostly empty fields, or by "
                "AUTOCAL_FACTORS."
            ),
        ),
        Param(
            "raman_width",
            20.0,
            hidden=True,
            help="Width of the bands in which Raman lines are fitted [Angstrom].",
        ),
        Param(
            "skymethod",
            "model",
            choices=("none", "subtract-model", "model", "simple"),
            help=(
                "Sky subtraction: none; subtract-model (given lines and continuum); model (lines fitted to "
                "the sky of the exposure, subtracted with the line profile of each slice); simple (mean sky "
                "spectrum)."
            ),
        ),
        Param("lambdamin", 4000.0, help="Leave out rows below this wavelength [Angstrom]."),
        Param("lambdamax", 10000.0, help="Leave out rows above this wavelength [Angstrom]."),
        Param(
            "lambdaref",
            7000.0,
            help="Reference wavelength of the refraction correction [Angstrom]; negative: off.",
        ),
        Param(
            "darcheck",
            "none",
            choices=("none", "check", "correct"),
            help="Check the refraction correction by source positions, and correct what is left.",
        ),
        Param(
            "skymodel_fraction",
            0.1,
            help="Fraction of the image (after skymodel_ignore) that is taken as sky.",
        ),
        Param("skymodel_ignore", 0.05, help="Fraction of the image, the darkest part, that is not used."),
        Param("skymodel_sampling", 0.3125, hidden=True, help="Sampling of the sky spectrum [Angstrom]."),
        Param("skymodel_csampling", 0.3125, hidden=True, help="Sampling of the sky continuum [Angstrom]."),
        Param(
            "sky_crsigma",
            "15.,15.",
            hidden=True,
            help="Cosmic-ray limits of the sky step: for the cube and for the spectrum [sigma].",
        ),
        Param(
            "rvcorr",
            "bary",
            choices=("bary", "helio", "geo", "none"),
            help="Velocity frame of the wavelengths: barycentre, Sun, centre of the Earth, or as observed.",
        ),
        Param("astrometry", True, help="Put the data on the sky; false leaves a cube in pixel coordinates."),
    ),
    inputs=(
        Input("PIXTABLE_OBJECT", "RAW", min=1, max=None, help="Pixel tables of the science object"),
        Input("EXTINCT_TABLE", min=0, declared_min=1, help="Atmospheric extinction"),
        Input("STD_RESPONSE", min=0, declared_min=1, help="Response curve from standard stars"),
        Input("STD_TELLURIC", min=0, declared_min=-1, help="Telluric absorption from standard stars"),
        Input("ASTROMETRY_WCS", min=0, declared_min=-1, help="Astrometric solution"),
        Input("OFFSET_LIST", min=0, declared_min=-1, help="Offsets and flux scales of exposures"),
        Input("FILTER_LIST", min=0, declared_min=-1, help="Filter curves for the images"),
        Input("OUTPUT_WCS", min=0, declared_min=-1, help="World coordinates the cube is to have"),
        Input("AUTOCAL_FACTORS", min=0, help="Factors of slices (autocalib=user)"),
        Input("RAMAN_LINES", min=0, help="Raman lines of O2 and N2"),
        Input("SKY_LINES", min=0, help="Sky emission lines"),
        Input("SKY_CONTINUUM", min=0, help="Sky continuum"),
        Input("LSF_PROFILE", min=0, max=None, help="Line spread function of each slice"),
        Input("SKY_MASK", min=0, help="Where the sky is; with world coordinates it is aligned to the data"),
    ),
    products=(
        Product("DATACUBE_FINAL", "Cube of all exposures"),
        Product("IMAGE_FOV", "Image through each filter", series=True),
        Product("OBJECT_RESAMPLED", "All slices side by side (save=stacked)"),
        Product(
            "PIXTABLE_REDUCED",
            "Reduced table of each exposure (save=individual)",
            series=True,
            level="INTERMEDIATE",
        ),
        Product(
            "PIXTABLE_POSITIONED",
            "The same in RA and DEC (save=positioned)",
            series=True,
            level="INTERMEDIATE",
        ),
        Product("PIXTABLE_COMBINED", "All exposures in one table (save=combined)", level="INTERMEDIATE"),
        Product(
            "AUTOCAL_MASK",
            "Sky mask of the autocalibration (save=autocal)",
            series=True,
            level="INTERMEDIATE",
        ),
        Product(
            "AUTOCAL_FACTORS",
            "Factors of the autocalibration (save=autocal)",
            series=True,
            level="INTERMEDIATE",
        ),
        Product("RAMAN_IMAGES", "Images of the Raman step (save=raman)", series=True, level="INTERMEDIATE"),
        Product(
            "SKY_IMAGE",
            "White-light image the sky mask is made from (save=skymodel)",
            series=True,
            level="INTERMEDIATE",
        ),
        Product("SKY_MASK", "Where the sky was found (save=skymodel)", series=True, level="INTERMEDIATE"),
        Product(
            "SKY_SPECTRUM", "Mean spectrum on that mask (save=skymodel)", series=True, level="INTERMEDIATE"
        ),
        Product("SKY_LINES", "Fitted sky lines (save=skymodel)", series=True),
        Product("SKY_CONTINUUM", "Sky continuum (save=skymodel)", series=True),
    ),
    defects=Defects.about(ROWS, SKY, CUBE, PRODUCTS),
)


def run(frames, p, ctx):
    from muse_core.postproc import stages as optional
    from muse_core.postproc.combination.combine import combine
    from muse_core.postproc.cube import make_cube as final
    from muse_core.postproc.exposure import products as steps
    from muse_core.postproc.inputs.calibrations import check_settings, load_calibrations, sort_exposures
    from muse_core.postproc.inputs.slice_calibrations import load_slice_calibrations, warn_without_lasers

    settings = check_settings(p, ctx)
    calib = load_calibrations(frames, p, settings, ctx)
    extra = load_slice_calibrations(frames, p, calib, ctx)
    exposures = sort_exposures(frames["PIXTABLE_OBJECT"], p, ctx)
    ctx.problems.raise_if_any()
    warn_without_lasers(extra, exposures, ctx)

    positions = []
    for exposure in exposures:
        steps.log_exposure(exposure, ctx.log)
        optional.multiply_flat_spectrum(exposure, calib, ctx)
        steps.correct_refraction(exposure, p, ctx)
        optional.check_refraction(exposure, p, ctx)
        steps.calibrate_flux(exposure, calib, ctx)
        optional.subtract_raman(exposure, p, settings, extra, ctx)
        white = optional.autocalibrate(exposure, p, settings, calib, extra, ctx)
        optional.subtract_sky(exposure, p, settings, calib, ctx, white)
        optional.flag_cosmic_rays(exposure, white)
        steps.correct_velocity(exposure, p.rvcorr, ctx)
        if p.astrometry:
            steps.apply_world_coordinates(exposure, calib, ctx)
        steps.save_pending(exposure, calib, ctx)
        steps.save_reduced(exposure, settings, calib, ctx)
        if p.astrometry:
            positions.append(steps.position_on_sky(exposure, calib, ctx))
        steps.save_positioned(exposure, positions, settings, calib, ctx)

    combination = combine(exposures, positions, calib, frames["PIXTABLE_OBJECT"], p, ctx)
    if "cube" in settings.save:
        final.make_cube(combination, calib, settings, p, ctx)
    final.save_combined(combination, settings, ctx)
    final.save_stacked(combination, settings, p, ctx)

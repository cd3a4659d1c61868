# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost: from pixel tables to a sky-subtracted, flux-calibrated cube and its images."""

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import CUBE, PRODUCTS, ROWS, SETUP, SKY
from muse_core.framework.kinds import FloatList, Words
from muse_core.framework.variables import Variable
from muse_core.manuals.scipost import MANUAL

SAVE = ("cube", "autocal", "raman", "skymodel", "individual", "positioned", "combined", "stacked")
REFRACTIVE_INDICES = ("Filippenko", "Owens", "Edlen", "Ciddor")


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
            kind=Words(SAVE),
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
            low=0.0,
        ),
        Param(
            "dy",
            0.0,
            help="Step in y [arcsec, or pixel without astrometry]; 0: 0.2 (WFM), 0.025 (NFM), 1 pixel.",
            low=0.0,
        ),
        Param("dlambda", 0.0, help="Step in wavelength [Angstrom]; 0: 1.25 Angstrom.", low=0.0),
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
            kind=FloatList(1, 3, fallback=(0.6, 0.6, 0.6)),
            above=0.0,
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
            kind=Words(),
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
            kind=FloatList(2, fallback=(15.0, 0.0)),
            low=0.0,
        ),
        Param(
            "rvcorr",
            "bary",
            choices=("bary", "helio", "geo", "none"),
            help="Velocity frame of the wavelengths: barycentre, Sun, centre of the Earth, or as observed.",
        ),
        Param("astrometry", True, help="Put the data on the sky; false leaves a cube in pixel coordinates."),
        Param(
            "dar_method",
            "Filippenko",
            choices=REFRACTIVE_INDICES,
            help="Formula of the refractive index of air.",
            ours=True,
            variable=Variable.choice("MUSE_DAR_CORRECT_METHOD", REFRACTIVE_INDICES),
        ),
        Param(
            "superflat_pos",
            "none",
            help="RA, DEC and derotator angle [deg] in place of those in the headers, for superflats.",
            kind=FloatList(3, 3, nothing=("none",)),
            finite=True,
            ours=True,
            variable=Variable.text("MUSE_SUPERFLAT_POS"),
        ),
        Param(
            "rot_offset",
            False,
            help="Correct the position angles by the column ROT_OFFSET of the OFFSET_LIST.",
            ours=True,
        ),
        Param(
            "table_layout",
            "image",
            choices=("image", "table"),
            help="Pixel tables as one image extension per column, or as one binary table.",
            ours=True,
            variable=Variable("MUSE_PIXTABLE_SAVE_AS_TABLE", lambda _: "table"),
        ),
        Param(
            "collapse_use_variance",
            False,
            help="Weight the planes of an image with the inverse variance.",
            ours=True,
            variable=Variable.whole_number("MUSE_COLLAPSE_USE_VARIANCE"),
        ),
        Param(
            "collapse_pixtable",
            False,
            help="Make the images from the pixel tables instead of the cube.",
            ours=True,
            variable=Variable.whole_number("MUSE_COLLAPSE_PIXTABLE"),
        ),
        Param(
            "autocal_exclude_raman",
            0.0,
            help="Leave out this much on both sides of Raman peaks in the autocalibration [Angstrom].",
            low=0.0,
            finite=True,
            ours=True,
            variable=Variable.positive_number(
                "MUSE_AUTOCAL_EXCLUDE_RAMAN", "is no positive number of Angstrom"
            ),
        ),
        Param(
            "sky_refine",
            False,
            help=(
                "Take out what the sky subtraction leaves in each slice because its throughput, wavelengths "
                "or line profile are not those of the calibrations (skymethod=simple, model)."
            ),
            ours=True,
        ),
        CALIB_MISMATCH,
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
            type="TABLE",
        ),
        Product(
            "PIXTABLE_POSITIONED",
            "The same in RA and DEC (save=positioned)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
        ),
        Product(
            "PIXTABLE_COMBINED",
            "All exposures in one table (save=combined)",
            level="INTERMEDIATE",
            type="TABLE",
        ),
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
            type="TABLE",
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
            "SKY_SPECTRUM",
            "Mean spectrum on that mask (save=skymodel)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
        ),
        Product("SKY_LINES", "Fitted sky lines (save=skymodel)", series=True, type="TABLE"),
        Product("SKY_CONTINUUM", "Sky continuum (save=skymodel)", series=True, type="TABLE"),
        Product(
            "SKY_REFINEMENT",
            "Errors of the slices that were taken out with the sky (sky_refine, save=skymodel)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
        ),
    ),
    kernels=True,
    manual=MANUAL,
    defects=Defects.about(ROWS, SKY, CUBE, PRODUCTS, SETUP),
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.astrometry.offsets import check_offsets
    from muse_core.postproc.combination.agreement import check_agreement
    from muse_core.postproc.combination.checks import check_combination
    from muse_core.postproc.combination.combine import combine
    from muse_core.postproc.combination.pixel_table import save_combined
    from muse_core.postproc.cube.calibrations import load as load_for_cube
    from muse_core.postproc.cube.make_cube import make_cube
    from muse_core.postproc.exposure.pixel_tables import log_exposure, save_positioned, save_reduced
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
    from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
    from muse_core.postproc.settings import check_settings
    from muse_core.postproc.stages import CORRECTIONS, POSITION, Inputs, prepare

    check_settings(p, ctx)
    check_calibrations(frames, ("PIXTABLE_OBJECT",), ctx, p.calib_mismatch)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames["PIXTABLE_OBJECT"], ctx)
    inputs = Inputs(p, calibrations, tables)
    corrections, position = (prepare(stages, inputs, ctx) for stages in (CORRECTIONS, POSITION))
    for_cube = load_for_cube(calibrations, p, ctx)
    exposures = sort_exposures(tables, p, ctx)
    check_combination(exposures, p, ctx)
    check_offsets(exposures, calibrations, p, ctx)

    for exposure in exposures:
        log_exposure(exposure, ctx.log)
        for correction in corrections:
            correction.correct(exposure, p, ctx)
        save_reduced(exposure, calibrations.used.all, p, ctx)
        for correction in position:
            correction.correct(exposure, p, ctx)
        save_positioned(exposure, calibrations.used.all, p, ctx)

    combination = combine(exposures, frames["PIXTABLE_OBJECT"], calibrations.used, p, ctx)
    check_agreement(combination, p, ctx)
    if "cube" in p.save:
        make_cube(combination, for_cube, p, ctx)
    if "combined" in p.save:
        save_combined(combination, p, ctx)
    if "stacked" in p.save:
        from muse_core.postproc.cube.stacked_slices import save_stacked

        save_stacked(combination, p, ctx)

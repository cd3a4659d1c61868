# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost: from pixel tables to a sky-subtracted, flux-calibrated cube and its images."""

from dataclasses import replace

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import CUBE, HEADERS, PRODUCTS, ROWS, SETUP, SKY
from muse_core.framework.kinds import Words
from muse_core.framework.variables import Variable
from muse_core.manuals.scipost import MANUAL
from muse_core.postproc import declarations as shared

SAVE = ("cube", "autocal", "raman", "skymodel", "individual", "positioned", "combined", "stacked")
STEP = "[arcsec, or pixel without astrometry]; 0: 0.2 (WFM), 0.025 (NFM), 1 pixel."

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
        replace(shared.RESAMPLE, help="Resampling method of the final cube."),
        replace(shared.DX, help=f"Step in x {STEP}"),
        replace(shared.DY, help=f"Step in y {STEP}"),
        shared.DLAMBDA,
        shared.CRTYPE,
        shared.CRSIGMA,
        shared.RC,
        shared.PIXFRAC,
        shared.LD,
        shared.FORMAT,
        shared.WEIGHT,
        shared.FILTER,
        Param(
            "autocalib",
            "none",
            choices=("none", "deepfield", "user"),
            help=(
                "Calibration of slices against each other: none, from mostly empty fields, or by "
                "AUTOCAL_FACTORS."
            ),
        ),
        shared.RAMAN_WIDTH,
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
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.LAMBDAREF,
        shared.DARCHECK,
        shared.SKYMODEL_FRACTION,
        shared.SKYMODEL_IGNORE,
        shared.SKYMODEL_SAMPLING,
        shared.SKYMODEL_CSAMPLING,
        shared.SKY_CRSIGMA,
        shared.RVCORR,
        Param("astrometry", True, help="Put the data on the sky; false leaves a cube in pixel coordinates."),
        shared.DAR_METHOD,
        shared.SUPERFLAT_POS,
        shared.ROT_OFFSET,
        shared.TABLE_LAYOUT,
        shared.COLLAPSE_USE_VARIANCE,
        shared.COLLAPSE_PIXTABLE,
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
            "auto",
            choices=("auto", "true", "false"),
            help=(
                "Take out what the sky subtraction leaves in each slice because its throughput, wavelengths "
                "or line profile are not those of the calibrations (skymethod=simple, model). auto does so "
                "but where a nebula or a galaxy fills the field, and in the compatible mode."
            ),
            ours=True,
        ),
        shared.COVARIANCE,
        shared.STAT_APERTURE,
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("PIXTABLE_OBJECT", "RAW", min=1, max=None, help="Pixel tables of the science object"),
        shared.EXTINCT_TABLE,
        shared.STD_RESPONSE,
        shared.STD_TELLURIC,
        shared.ASTROMETRY_WCS,
        shared.OFFSET_LIST,
        shared.FILTER_LIST,
        shared.OUTPUT_WCS,
        Input("AUTOCAL_FACTORS", min=0, help="Factors of slices (autocalib=user)"),
        shared.RAMAN_LINES,
        shared.SKY_LINES,
        shared.SKY_CONTINUUM,
        shared.LSF_PROFILE,
        shared.SKY_MASK,
    ),
    products=(
        Product("DATACUBE_FINAL", "Cube of all exposures", save="cube"),
        Product("IMAGE_FOV", "Image through each filter", series=True, save="cube"),
        Product("OBJECT_RESAMPLED", "All slices side by side (save=stacked)", save="stacked"),
        Product(
            "PIXTABLE_REDUCED",
            "Reduced table of each exposure (save=individual)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
            c_units=True,
            save="individual",
        ),
        Product(
            "PIXTABLE_POSITIONED",
            "The same in RA and DEC (save=positioned)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
            c_units=True,
            save="positioned",
        ),
        Product(
            "PIXTABLE_COMBINED",
            "All exposures in one table (save=combined)",
            level="INTERMEDIATE",
            type="TABLE",
            c_units=True,
            save="combined",
        ),
        Product(
            "AUTOCAL_MASK",
            "Sky mask of the autocalibration (save=autocal)",
            series=True,
            level="INTERMEDIATE",
            save="autocal",
        ),
        Product(
            "AUTOCAL_FACTORS",
            "Factors of the autocalibration (save=autocal)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
            save="autocal",
        ),
        Product(
            "RAMAN_IMAGES",
            "Images of the Raman step (save=raman)",
            series=True,
            level="INTERMEDIATE",
            save="raman",
        ),
        Product(
            "SKY_IMAGE",
            "White-light image the sky mask is made from (save=skymodel)",
            series=True,
            level="INTERMEDIATE",
            save="skymodel",
        ),
        Product(
            "SKY_MASK",
            "Where the sky was found (save=skymodel)",
            series=True,
            level="INTERMEDIATE",
            save="skymodel",
        ),
        Product(
            "SKY_SPECTRUM",
            "Mean spectrum on that mask (save=skymodel)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
            save="skymodel",
        ),
        Product("SKY_LINES", "Fitted sky lines (save=skymodel)", series=True, type="TABLE", save="skymodel"),
        Product("SKY_CONTINUUM", "Sky continuum (save=skymodel)", series=True, type="TABLE", save="skymodel"),
        Product(
            "SKY_REFINEMENT",
            "Errors of the slices that were taken out with the sky (sky_refine, save=skymodel)",
            series=True,
            level="INTERMEDIATE",
            type="TABLE",
            save="skymodel",
        ),
    ),
    kernels=True,
    plans=True,
    manual=MANUAL,
    defects=Defects.about(ROWS, SKY, CUBE, PRODUCTS, SETUP, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.cube.calibrations import load as load_for_cube
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
    from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
    from muse_core.postproc.settings import check_settings
    from muse_core.postproc.stages import CORRECTIONS, POSITION, Inputs, correct, prepare
    from muse_core.postproc.work_plan import plan_of_combination

    check_settings(p, ctx)
    check_calibrations(frames, ("PIXTABLE_OBJECT",), ctx, p.calib_mismatch)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames["PIXTABLE_OBJECT"], ctx)
    inputs = Inputs(p, calibrations, tables)
    corrections, position = (prepare(stages, inputs, ctx) for stages in (CORRECTIONS, POSITION))
    for_cube = load_for_cube(calibrations, p, ctx)
    ctx.problems.raise_if_any()
    ctx.planned(plan_of_combination(tables, for_cube.output_wcs, p, ctx, corrections=True))

    # inputs that are wrong are told before the rest is loaded
    from muse_core.framework.parts import in_turn
    from muse_core.postproc.astrometry.offsets import check_offsets
    from muse_core.postproc.combination.agreement import check_agreement
    from muse_core.postproc.combination.checks import check_combination
    from muse_core.postproc.combination.combine import combine
    from muse_core.postproc.cube.products import save_combination
    from muse_core.postproc.exposure.pixel_tables import log_exposure, save_positioned, save_reduced
    from muse_core.report.asked import page_if_asked

    exposures = sort_exposures(tables, p, ctx)
    check_combination(exposures, p, ctx)
    check_offsets(exposures, calibrations, p, ctx)

    def reduce(exposure, ctx):
        log_exposure(exposure, ctx.log)
        correct(exposure, corrections, p, ctx)
        save_reduced(exposure, calibrations.used.all, p, ctx)
        correct(exposure, position, p, ctx)
        save_positioned(exposure, calibrations.used.all, p, ctx)

    in_turn(reduce, exposures, ctx)
    combination = combine(exposures, frames["PIXTABLE_OBJECT"], calibrations.used, p, ctx)
    check_agreement(combination, p, ctx)
    save_combination(combination, for_cube, p, ctx)
    page_if_asked(ctx)

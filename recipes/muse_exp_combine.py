# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_combine: several reduced exposures in one cube."""

from muse_core.framework import Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import COMBINE, CUBE, PRODUCTS
from muse_core.framework.kinds import FloatList, Words
from muse_core.framework.variables import Variable
from muse_core.manuals.exp_combine import MANUAL

RECIPE = RecipeSpec(
    name="muse_exp_combine",
    summary="Combine several exposures into one datacube.",
    description=(
        "Takes the reduced pixel tables of at least two exposures, as muse_scipost saves them with "
        "save=individual, puts them on the sky with their offsets and flux scales (OFFSET_LIST of "
        "muse_exp_align), weights them, and resamples all of them into one cube, which is collapsed to an "
        "image for every filter asked for. Nothing that was corrected before is corrected again. The cube is "
        "made slab by slab along wavelength, so the memory needed does not grow with the number of exposures."
    ),
    params=(
        Param(
            "save",
            "cube",
            help="Products to write, comma separated: cube (with its images), combined (all in one table).",
            kind=Words(("cube", "combined"), strict=True),
        ),
        Param(
            "resample",
            "drizzle",
            choices=("nearest", "linear", "quadratic", "renka", "drizzle", "lanczos"),
            help="Resampling method of the cube.",
        ),
        Param("dx", 0.0, help="Step in x [arcsec]; 0: 0.2 (WFM), 0.025 (NFM).", low=0.0),
        Param("dy", 0.0, help="Step in y [arcsec]; 0: 0.2 (WFM), 0.025 (NFM).", low=0.0),
        Param("dlambda", 0.0, help="Step in wavelength [Angstrom]; 0: 1.25 Angstrom.", low=0.0),
        Param(
            "crtype",
            "median",
            choices=("iraf", "mean", "median"),
            help="Statistics of the cosmic-ray rejection: iraf (variances), mean and median (of the values).",
        ),
        Param(
            "crsigma", 10.0, help="Limit of the cosmic-ray rejection [sigma]; 0 or negative switches it off."
        ),
        Param("rc", 1.25, help="Critical radius of the renka method [voxel diagonals]."),
        Param(
            "pixfrac",
            "0.6,0.6",
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
            choices=("exptime", "fwhm", "header", "none"),
            help=(
                "Weights of exposures: by exposure time, by that and the seeing in the headers, by that and "
                "ESO DRS MUSE WEIGHT, or none (but a column of weights in the tables)."
            ),
        ),
        Param(
            "filter",
            "white",
            help="Filters of the images, comma separated; names are extensions of FILTER_LIST.",
            kind=Words(),
        ),
        Param("lambdamin", 4000.0, help="Leave out rows below this wavelength [Angstrom]."),
        Param("lambdamax", 10000.0, help="Leave out rows above this wavelength [Angstrom]."),
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
    ),
    inputs=(
        Input("PIXTABLE_REDUCED", "RAW", min=1, max=None, declared_min=2, help="Reduced exposures"),
        Input("OFFSET_LIST", min=0, max=None, declared_max=1, help="Offsets and flux scales of exposures"),
        Input("FILTER_LIST", min=0, help="Filter curves for the images"),
        Input("OUTPUT_WCS", min=0, help="World coordinates the cube is to have"),
    ),
    products=(
        Product("DATACUBE_FINAL", "Cube of all exposures", save="cube"),
        Product("IMAGE_FOV", "Image through each filter", series=True, save="cube"),
        Product(
            "PIXTABLE_COMBINED",
            "All exposures in one table (save=combined)",
            level="INTERMEDIATE",
            save="combined",
            type="TABLE",
        ),
    ),
    kernels=True,
    manual=MANUAL,
    defects=(*Defects.about(COMBINE, CUBE, PRODUCTS), "integer_keywords", "skipped_without_a_word"),
    fixed=(("astrometry", True), ("superflat_pos", None)),
)


def run(frames, p, ctx):
    from muse_core.postproc.astrometry.offsets import check_offsets
    from muse_core.postproc.combination.agreement import check_agreement
    from muse_core.postproc.combination.combine import combine
    from muse_core.postproc.combination.pixel_table import save_combined
    from muse_core.postproc.combination.reduced_tables import check_frames, check_number, check_tables
    from muse_core.postproc.cube.calibrations import load as load_for_cube
    from muse_core.postproc.cube.make_cube import make_cube
    from muse_core.postproc.exposure.pixel_tables import log_exposure
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
    from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
    from muse_core.postproc.settings import check_settings
    from muse_core.postproc.stages import POSITION, Inputs, prepare

    check_settings(p, ctx)
    check_frames(frames, ctx)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames["PIXTABLE_REDUCED"], ctx, needs_mode=False)
    position = prepare(POSITION, Inputs(p, calibrations, tables), ctx)
    for_cube = load_for_cube(calibrations, p, ctx)
    exposures = sort_exposures(check_tables(tables, p, ctx), p, ctx)
    check_number(len(exposures))
    check_offsets(exposures, calibrations, p, ctx)

    for exposure in exposures:
        log_exposure(exposure, ctx.log)
        for correction in position:
            correction.correct(exposure, p, ctx)

    combination = combine(exposures, frames["PIXTABLE_REDUCED"], calibrations.used, p, ctx)
    check_agreement(combination, p, ctx)
    if "cube" in p.save:
        make_cube(combination, for_cube, p, ctx, qc_group="ESO QC EXPCOMB")
    if "combined" in p.save:
        save_combined(combination, p, ctx)

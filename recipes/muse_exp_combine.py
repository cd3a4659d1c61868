# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_combine: several reduced exposures in one cube."""

from dataclasses import replace

from muse_core.framework import Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import COMBINE, CUBE, HEADERS, PRODUCTS
from muse_core.framework.kinds import Words
from muse_core.manuals.exp_combine import MANUAL
from muse_core.postproc import declarations as shared

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
            help=(
                "Products to write, comma separated: cube (with its images), combined (all in one table), "
                "sums (what is behind the cube, to which exposures can be added later; with the cube)."
            ),
            kind=Words(("cube", "combined", "sums"), strict=True),
        ),
        shared.RESAMPLE,
        shared.DX,
        shared.DY,
        shared.DLAMBDA,
        shared.CRTYPE,
        replace(shared.CRSIGMA, default=10.0),
        shared.RC,
        replace(shared.PIXFRAC, default="0.6,0.6"),
        shared.LD,
        shared.FORMAT,
        replace(
            shared.WEIGHT,
            help=(
                "Weights of exposures: by exposure time, by that and the seeing in the headers, by that and "
                "ESO DRS MUSE WEIGHT, by the inverse of the measured variance of their background "
                "(invvar), or none (but a column of weights in the tables)."
            ),
            choices=("exptime", "fwhm", "header", "none", "invvar"),
        ),
        shared.FILTER,
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.ROT_OFFSET,
        shared.TABLE_LAYOUT,
        shared.COLLAPSE_USE_VARIANCE,
        shared.COLLAPSE_PIXTABLE,
        Param(
            "exposure_sigma",
            0.0,
            low=0.0,
            finite=True,
            ours=True,
            help=(
                "Limit of the rejection across exposures: in each voxel, values of single exposures are left "
                "out that differ from the median of the exposures by more than this [sigma]; 0: none."
            ),
        ),
        Param(
            "exposures",
            "none",
            choices=("none", "image", "cube"),
            ours=True,
            help="Add an extension EXPOSURES to the cube: how many there are in each spaxel, or each voxel.",
        ),
        shared.COVARIANCE,
        shared.STAT_APERTURE,
    ),
    inputs=(
        Input("PIXTABLE_REDUCED", "RAW", min=1, max=None, declared_min=2, help="Reduced exposures"),
        replace(shared.OFFSET_LIST, max=None, declared_min=None, declared_max=1),
        replace(shared.FILTER_LIST, declared_min=None),
        replace(shared.OUTPUT_WCS, declared_min=None),
        Input(
            "DATACUBE_SUMS",
            min=0,
            ours=True,
            help="Sums of exposures combined before (save=sums), to which the exposures are added",
        ),
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
            c_units=True,
        ),
        Product(
            "DATACUBE_SUMS",
            "Sums behind the cube, for exposures to come (save=sums)",
            level="INTERMEDIATE",
            save="sums",
        ),
    ),
    kernels=True,
    plans=True,
    manual=MANUAL,
    defects=(
        *Defects.about(COMBINE, CUBE, PRODUCTS, HEADERS),
        "integer_keywords",
        "skipped_without_a_word",
        "absurd_values_used",
    ),
    qc_group="EXPCOMB",
    fixed=(("astrometry", True), ("superflat_pos", None)),
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.astrometry.offsets import check_offsets
    from muse_core.postproc.combination.agreement import check_agreement
    from muse_core.postproc.combination.combine import combine
    from muse_core.postproc.combination.earlier_sums import TAG, check_sums, read_sums
    from muse_core.postproc.combination.reduced_tables import check_frames, check_number, check_tables
    from muse_core.postproc.cube.calibrations import load as load_for_cube
    from muse_core.postproc.cube.exposure_options import ExposureOptions
    from muse_core.postproc.cube.products import save_combination
    from muse_core.postproc.exposure.pixel_tables import log_exposure
    from muse_core.postproc.flatfield.step import keep_table
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
    from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
    from muse_core.postproc.settings import check_settings
    from muse_core.postproc.stages import POSITION, Inputs, correct, prepare
    from muse_core.postproc.work_plan import plan_of_combination
    from muse_core.report.asked import page_if_asked

    check_settings(p, ctx)
    check_calibrations(frames, ("PIXTABLE_REDUCED",), ctx, "warn")  # tables of several modes are told
    check_frames(frames, ctx)
    options = ExposureOptions(p.exposures, p.exposure_sigma, "sums" in p.save)
    options.check(p, ctx)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames["PIXTABLE_REDUCED"], ctx, needs_mode=False)
    position = prepare(POSITION, Inputs(p, calibrations, tables), ctx)
    for_cube = load_for_cube(calibrations, p, ctx)
    earlier = calibrations.read(TAG, read_sums)
    if earlier:
        check_sums(earlier, frames, tables, p, ctx)
    tables = check_tables(tables, p, ctx)
    ctx.problems.raise_if_any()
    ctx.planned(plan_of_combination(tables, for_cube.output_wcs, p, ctx, corrections=False))
    exposures = sort_exposures(tables, p, ctx)
    check_number(len(exposures), earlier.count if earlier else 0)
    check_offsets(exposures, calibrations, p, ctx)

    for exposure in exposures:
        with ctx.part():
            log_exposure(exposure, ctx.log)
            keep_table(exposure)
            correct(exposure, position, p, ctx)

    combination = combine(exposures, frames["PIXTABLE_REDUCED"], calibrations.used, p, ctx, earlier)
    check_agreement(combination, p, ctx, keep_images=p.exposure_sigma > 0.0)
    save_combination(combination, for_cube, p, ctx, options)
    page_if_asked(ctx)

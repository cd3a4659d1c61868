# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_subtract_sky: given lines and continuum of the sky taken out of pixel tables."""

from dataclasses import replace

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import ROWS, SETUP, SKY
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_subtract_sky",
    summary="Subtract night sky model.",
    description=(
        "Subtracts lines, with the line profile of each slice, and a continuum from each flux-calibrated "
        "pixel table, as muse_scipost does with skymethod=subtract-model. The model is that of tables at the "
        "flat-field level of flux_sky or flux_lamp; for tables of other IFUs it is scaled."
    ),
    params=(
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        Param("orig", "", help='Column in which the data before the subtraction are saved; "": none.'),
        Param(
            "flux_sky",
            0.0,
            help="Flat-field flux (ESO DRS MUSE FLAT FLUX SKY) of the sky; 0: that of the first table.",
            finite=True,
        ),
        Param(
            "flux_lamp",
            0.0,
            help="The same of lamp flats (ESO DRS MUSE FLAT FLUX LAMP), where flux_sky is not given.",
            finite=True,
        ),
        shared.TABLE_LAYOUT,
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("PIXTABLE_REDUCED", "RAW", max=None, help="Flux-calibrated pixel tables"),
        replace(shared.SKY_LINES, declared_min=1),
        replace(shared.SKY_CONTINUUM, declared_min=1),
        replace(shared.LSF_PROFILE, declared_min=1),
    ),
    products=(
        Product("PIXTABLE_REDUCED", "Pixel tables without sky", series=True, type="TABLE", c_units=True),
    ),
    kernels=True,
    manual=manual(
        "PIXTABLE_REDUCED",
        "SKY_LINES",
        "SKY_CONTINUUM",
        "LSF_PROFILE",
        values=("table_layout", "calib_mismatch"),
    ),
    defects=(
        *Defects.about(ROWS, SKY, SETUP),
        "skipped_without_a_word",
        "flat_level_of_first_table_ignored",
        "original_without_name",
        "sky_partly_given",
        "run_ends_at_unfit_table",
        "limits_from_header",
    ),
    fixed=shared.SINGLE_STEP,
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.exposure.pixel_tables import KeptData
    from muse_core.postproc.single.checks import with_sky
    from muse_core.postproc.single.tables import correct_tables
    from muse_core.postproc.stages import GIVEN_SKY
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("PIXTABLE_REDUCED",), ctx, p.calib_mismatch)
    kept = KeptData(p.orig) if p.orig or ctx.defects.original_without_name else None
    correct_tables(frames, p, ctx, (GIVEN_SKY,), with_sky, tag="PIXTABLE_REDUCED", of_ifus=False, kept=kept)
    page_if_asked(ctx)

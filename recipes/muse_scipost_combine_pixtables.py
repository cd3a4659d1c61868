# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_combine_pixtables: IFUs of an exposure, or several exposures, in one pixel table."""

from dataclasses import replace

from muse_core.framework import Defects, Input, Product, RecipeSpec
from muse_core.framework.defects import COMBINE, CUBE, ROWS
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_combine_pixtables",
    summary="Combine MUSE pixel tables, either from different IFUs, or from different exposures, or both.",
    description=(
        "Merges the pixel tables of the IFUs of an exposure, scaled to one flat-field level and multiplied "
        "by their flat-field spectrum, as the first step of muse_scipost does. Several exposures, which must "
        "be projected (muse_scipost_apply_astrometry), are put on the sky with their offsets and flux scales "
        "and weighted, as with muse_exp_combine and save=combined."
    ),
    params=(shared.LAMBDAMIN, shared.LAMBDAMAX, shared.WEIGHT, shared.ROT_OFFSET, shared.TABLE_LAYOUT),
    inputs=(
        Input("PIXTABLE_OBJECT", "RAW", max=None, help="Pixel tables of IFUs, or of exposures"),
        replace(shared.OFFSET_LIST, max=None, declared_max=1),
    ),
    products=(
        Product(
            "PIXTABLE_COMBINED", "All rows in one table", level="INTERMEDIATE", type="TABLE", c_units=True
        ),
    ),
    kernels=True,
    manual=manual("PIXTABLE_OBJECT", "OFFSET_LIST", values=("weight", "table_layout")),
    defects=Defects.about(ROWS, COMBINE, CUBE),
    fixed=(*shared.SINGLE_STEP, ("astrometry", True), ("save", ("combined",))),
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.postproc.single.combined import combine_tables
    from muse_core.report.asked import page_if_asked

    combine_tables(frames, p, ctx)
    page_if_asked(ctx)

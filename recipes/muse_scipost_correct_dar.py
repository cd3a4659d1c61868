# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_correct_dar: atmospheric refraction taken out of pixel tables."""

from muse_core.framework import Defects, Input, Product, RecipeSpec
from muse_core.framework.defects import CUBE, ROWS
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_correct_dar",
    summary="Apply DAR correction for MUSE pixel tables.",
    description=(
        "Moves the rows of each pixel table to where they were seen at the reference wavelength, as the "
        "second step of muse_scipost does. Tables of the narrow field, and those that were corrected before, "
        "stay as they are. The limits before the correction, to which the astrometry refers, are noted in "
        "the header."
    ),
    params=(
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.LAMBDAREF,
        shared.DARCHECK,
        shared.DAR_METHOD,
        shared.TABLE_LAYOUT,
    ),
    inputs=(Input("PIXTABLE_OBJECT", "RAW", max=None, help="Pixel tables in pixel coordinates"),),
    products=(
        Product("PIXTABLE_REDUCED", "Corrected pixel tables", series=True, type="TABLE", c_units=True),
    ),
    kernels=True,
    manual=manual("PIXTABLE_OBJECT", values=("darcheck", "dar_method", "table_layout")),
    defects=Defects.about(ROWS, CUBE),
    fixed=shared.SINGLE_STEP,
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.postproc.single.checks import in_pixels
    from muse_core.postproc.single.tables import correct_tables
    from muse_core.postproc.stages import stages
    from muse_core.report.asked import page_if_asked

    steps = stages("atmospheric refraction", "residual refraction")
    correct_tables(frames, p, ctx, steps, in_pixels)
    page_if_asked(ctx)

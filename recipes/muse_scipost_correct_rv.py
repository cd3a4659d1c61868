# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_correct_rv: wavelengths of pixel tables taken to another velocity frame."""

from muse_core.framework import Defects, Input, Product, RecipeSpec
from muse_core.framework.defects import ROWS
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_correct_rv",
    summary="Apply RV correction for MUSE pixel tables.",
    description=(
        "Takes the wavelengths of each pixel table to the barycentre of the Solar System, the centre of the "
        "Sun or that of the Earth, as muse_scipost does. Tables that were corrected before stay as they are."
    ),
    params=(shared.LAMBDAMIN, shared.LAMBDAMAX, shared.RVCORR, shared.TABLE_LAYOUT),
    inputs=(Input("PIXTABLE_OBJECT", "RAW", max=None, help="Pixel tables with observed wavelengths"),),
    products=(
        Product("PIXTABLE_REDUCED", "Corrected pixel tables", series=True, type="TABLE", c_units=True),
    ),
    kernels=True,
    manual=manual("PIXTABLE_OBJECT", values=("rvcorr", "table_layout")),
    defects=(*Defects.about(ROWS), "skipped_without_a_word", "stale_wavelength_limits"),
    fixed=shared.SINGLE_STEP,
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.postproc.single.checks import anything
    from muse_core.postproc.single.tables import correct_tables
    from muse_core.postproc.stages import stages
    from muse_core.report.asked import page_if_asked

    correct_tables(frames, p, ctx, stages("radial velocity"), anything)
    page_if_asked(ctx)

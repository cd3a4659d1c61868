# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_apply_astrometry: pixel tables projected onto the sphere."""

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Product, RecipeSpec
from muse_core.framework.defects import CUBE, ROWS, SETUP
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_apply_astrometry",
    summary="Calibrate astrometry for MUSE pixel tables.",
    description=(
        "Turns the pixel coordinates of each table into angles on the sphere by an astrometric solution and "
        "the position angle of the exposure, as muse_scipost does before it saves PIXTABLE_REDUCED. IFUs of "
        "one exposure are to be merged before (muse_scipost_combine_pixtables): the solution refers to the "
        "middle of the whole field."
    ),
    params=(shared.LAMBDAMIN, shared.LAMBDAMAX, shared.TABLE_LAYOUT, CALIB_MISMATCH),
    inputs=(
        Input("PIXTABLE_OBJECT", "RAW", max=None, help="Pixel tables in pixel coordinates"),
        shared.ASTROMETRY_WCS,
    ),
    products=(
        Product("PIXTABLE_REDUCED", "Projected pixel tables", series=True, type="TABLE", c_units=True),
    ),
    kernels=True,
    manual=manual("PIXTABLE_OBJECT", "ASTROMETRY_WCS", values=("table_layout", "calib_mismatch")),
    defects=(*Defects.about(ROWS, CUBE, SETUP), "history_lost", "limits_from_header"),
    fixed=(*shared.SINGLE_STEP, ("astrometry", True), ("rot_offset", False)),
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.single.checks import in_pixels_with_astrometry
    from muse_core.postproc.single.tables import correct_tables
    from muse_core.postproc.stages import stages
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("PIXTABLE_OBJECT",), ctx, p.calib_mismatch)
    correct_tables(frames, p, ctx, stages("astrometry"), in_pixels_with_astrometry)
    page_if_asked(ctx)

# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_subtract_sky_simple: a given spectrum of the sky taken out of pixel tables."""

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Product, RecipeSpec
from muse_core.framework.defects import ROWS, SETUP, SKY
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_subtract_sky_simple",
    summary="Subtract night sky spectrum.",
    description=(
        "Subtracts one spectrum from all rows of each pixel table, as muse_scipost does with "
        "skymethod=simple. Rows outside of the spectrum are left out."
    ),
    params=(shared.LAMBDAMIN, shared.LAMBDAMAX, shared.TABLE_LAYOUT, CALIB_MISMATCH),
    inputs=(
        Input("PIXTABLE_REDUCED", "RAW", max=None, help="Flux-calibrated pixel tables"),
        Input("SKY_SPECTRUM", min=0, declared_min=1, help="Spectrum of the sky"),
    ),
    products=(
        Product("PIXTABLE_REDUCED", "Pixel tables without sky", series=True, type="TABLE", c_units=True),
    ),
    kernels=True,
    manual=manual("PIXTABLE_REDUCED", "SKY_SPECTRUM", values=("table_layout", "calib_mismatch")),
    defects=(
        *Defects.about(ROWS, SKY, SETUP),
        "skipped_without_a_word",
        "sky_of_any_unit",
        "limits_from_header",
    ),
    fixed=shared.SINGLE_STEP,
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.single.checks import with_sky_in_unit
    from muse_core.postproc.single.tables import correct_tables
    from muse_core.postproc.stages import GIVEN_SPECTRUM
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("PIXTABLE_REDUCED",), ctx, p.calib_mismatch)
    correct_tables(frames, p, ctx, (GIVEN_SPECTRUM,), with_sky_in_unit, tag="PIXTABLE_REDUCED", of_ifus=False)
    page_if_asked(ctx)

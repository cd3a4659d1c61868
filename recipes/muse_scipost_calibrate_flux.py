# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_calibrate_flux: counts of pixel tables become fluxes."""

from dataclasses import replace

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Product, RecipeSpec
from muse_core.framework.defects import ROWS, SETUP
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_calibrate_flux",
    summary="Calibrate flux for MUSE pixel tables.",
    description=(
        "Turns the counts of each pixel table into fluxes (10**-20 erg/s/cm**2/Angstrom) by response, "
        "extinction and telluric absorption, as the fourth step of muse_scipost does. A response that was "
        "made from data multiplied by their flat-field spectrum asks for tables that were, too (by "
        "muse_scipost_combine_pixtables); with an older one the spectrum is taken out of the table again."
    ),
    params=(shared.LAMBDAMIN, shared.LAMBDAMAX, shared.TABLE_LAYOUT, CALIB_MISMATCH),
    inputs=(
        Input("PIXTABLE_OBJECT", "RAW", max=None, help="Pixel tables in counts"),
        shared.EXTINCT_TABLE,
        shared.STD_RESPONSE,
        shared.STD_TELLURIC,
    ),
    products=(
        Product("PIXTABLE_REDUCED", "Flux-calibrated pixel tables", series=True, type="TABLE", c_units=True),
    ),
    kernels=True,
    manual=manual(
        "PIXTABLE_OBJECT",
        "EXTINCT_TABLE",
        "STD_RESPONSE",
        "STD_TELLURIC",
        values=("table_layout", "calib_mismatch"),
    ),
    defects=(*Defects.about(ROWS, SETUP), "skipped_without_a_word"),
    fixed=shared.SINGLE_STEP,
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.single.checks import in_counts
    from muse_core.postproc.single.tables import correct_tables
    from muse_core.postproc.stages import stages
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("PIXTABLE_OBJECT",), ctx, p.calib_mismatch)
    flat, flux = stages("flat-field spectrum", "flux calibration")
    correct_tables(frames, p, ctx, (replace(flat, function="revert"), flux), in_counts)
    page_if_asked(ctx)

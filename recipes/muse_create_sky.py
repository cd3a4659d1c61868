# SPDX-License-Identifier: BSD-3-Clause
"""muse_create_sky: lines and continuum of the night sky from an exposure of empty sky."""

from dataclasses import replace

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import CREATE_SKY, SETUP
from muse_core.manuals.create_sky import MANUAL
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_create_sky",
    summary="Create night sky model from selected pixels of an exposure of empty sky.",
    description=(
        "The pixel tables of all IFUs of a sky exposure are merged, flux calibrated, and corrected for "
        "atmospheric refraction. The white-light image tells which spaxels are sky (SKY_MASK); from their "
        "mean spectrum the fluxes of the groups of SKY_LINES are fitted with the line profiles of the "
        "instrument, and the continuum is what is left. muse_scipost subtracts both from object exposures "
        "with skymethod=subtract-model. MUSE_RECIPES_COMPAT=1 restores known defects of the C recipe."
    ),
    params=(
        Param("fraction", 0.75, help="Fraction of the image (after ignore) that is taken as sky."),
        Param("ignore", 0.05, help="Fraction of the image, the darkest part, that is not used."),
        replace(shared.SKYMODEL_SAMPLING, name="sampling"),
        replace(shared.SKYMODEL_CSAMPLING, name="csampling"),
        replace(shared.SKY_CRSIGMA, name="crsigma"),
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.LAMBDAREF,
        shared.DAR_METHOD,
        shared.COLLAPSE_USE_VARIANCE,
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("PIXTABLE_SKY", "RAW", min=1, max=None, help="Pixel tables of one exposure of empty sky"),
        shared.EXTINCT_TABLE,
        shared.STD_RESPONSE,
        shared.STD_TELLURIC,
        replace(shared.SKY_LINES, declared_min=1),
        replace(shared.SKY_CONTINUUM, declared_min=0),
        replace(shared.LSF_PROFILE, declared_min=1, declared_max=1),
        replace(shared.SKY_MASK, declared_min=0),
    ),
    products=(
        Product("SKY_MASK", "Where the sky was found", level="INTERMEDIATE"),
        Product("SKY_IMAGE", "White-light image the mask is made from", level="INTERMEDIATE"),
        Product("SKY_SPECTRUM", "Mean spectrum on that mask", level="INTERMEDIATE", type="TABLE"),
        Product("SKY_LINES", "Sky lines with fitted fluxes", type="TABLE"),
        Product("SKY_CONTINUUM", "Sky continuum", type="TABLE"),
    ),
    kernels=True,
    manual=MANUAL,
    defects=(
        *Defects.about(CREATE_SKY, SETUP),
        "darkest_spaxels_as_sky", "slices_keep_residuals", "single_line_fit", "lsf_gaps_leave_lines",
        "continuum_extension_optional", "mask_misses_field", "sky_lines_out_of_range",
        "integer_keywords", "predar_limits_rounded", "zero_outside_response", "water_vapour_tenfold",
        "lab_air_without_latitude", "absurd_values_used", "rejection_by_bare_statistics",
        "zero_outside_flat_spectrum", "flat_spectrum_first_node_lost", "middle_of_the_rows",
        "first_ifu_only_without_flux", "skipped_without_a_word", "unreadable_units",
    ),
    fixed=(
        *shared.SINGLE_STEP,
        ("astrometry", True),
        ("autocalib", "none"),
        ("rot_offset", False),
        ("save", ("skymodel",)),
        ("skymethod", "model"),
        ("sky_refine", "false"),
    ),
    qc_group="SKY",
)  # fmt: skip


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.single.create_sky import create_sky
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("PIXTABLE_SKY",), ctx, p.calib_mismatch)
    named = {
        "skymodel_fraction": p.fraction, "skymodel_ignore": p.ignore, "skymodel_sampling": p.sampling,
        "skymodel_csampling": p.csampling, "sky_crsigma": p.crsigma,
    }  # fmt: skip
    create_sky(frames, p.also(**named), ctx)
    page_if_asked(ctx)

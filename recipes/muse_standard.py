# SPDX-License-Identifier: BSD-3-Clause
"""muse_standard: response curve and telluric absorption from an exposure of a standard star."""

from dataclasses import replace

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import SETUP, STANDARD
from muse_core.manuals.standard import MANUAL
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_standard",
    summary="Create a flux response curve from a standard star exposure.",
    description=(
        "The pixel tables of all IFUs of an exposure are merged, freed of the atmospheric refraction, and "
        "resampled into a cube. Stars are searched in its middle plane and measured in every plane; the "
        "nearest (or brightest) one is compared with its true flux. Bands of telluric absorption are "
        "bridged, and what is missing there becomes STD_TELLURIC; the rest, extrapolated and smoothed, "
        "STD_RESPONSE. "
        "MUSE_RECIPES_COMPAT=1 restores known defects of the C recipe."
    ),
    params=(
        Param(
            "profile",
            "auto",
            choices=("gaussian", "moffat", "smoffat", "circle", "square", "auto"),
            help="How the flux of the star is measured in each plane.",
        ),
        Param(
            "select",
            "distance",
            choices=("flux", "distance"),
            help="Which star is the standard star: the brightest, or the one nearest to the pointing.",
        ),
        Param(
            "smooth",
            "ppoly",
            choices=("none", "median", "ppoly"),
            help="How the response curve is smoothed.",
        ),
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.LAMBDAREF,
        shared.DARCHECK,
        shared.FILTER,
        shared.DAR_METHOD,
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("PIXTABLE_STD", "RAW", min=1, max=None, help="Pixel tables of exposures of a standard star"),
        shared.EXTINCT_TABLE,
        Input("STD_FLUX_TABLE", min=1, max=None, help="Fluxes of standard stars"),
        Input("TELLURIC_REGIONS", min=0, declared_min=-1, help="Bands of telluric absorption"),
        replace(shared.FILTER_LIST, help="Filter curves for images and zeropoints"),
    ),
    products=(
        Product("DATACUBE_STD", "Cube of the exposure, with its images", series=True),
        Product("STD_FLUXES", "Counts of the stars in each plane", series=True, level="INTERMEDIATE"),
        Product("STD_RESPONSE", "Response curve", series=True, type="TABLE"),
        Product("STD_TELLURIC", "Telluric absorption", series=True, type="TABLE"),
    ),
    science=False,
    kernels=True,
    manual=MANUAL,
    defects=(
        *Defects.about(STANDARD, SETUP),
        "integer_keywords", "predar_limits_rounded", "water_vapour_tenfold", "lab_air_without_latitude",
        "absurd_values_used", "rejection_by_bare_statistics", "flagged_rows_in_rejection",
        "first_ifu_only_without_flux", "skipped_without_a_word", "zero_outside_flat_spectrum",
        "flat_spectrum_first_node_lost", "blanks_in_filter_names", "unreadable_units",
    ),
    fixed=shared.CUBE_OF_STARS,
)  # fmt: skip


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.report.asked import page_if_asked
    from muse_core.standard.steps import make_responses

    check_calibrations(frames, ("PIXTABLE_STD",), ctx, p.calib_mismatch)
    make_responses(frames, p, ctx)
    page_if_asked(ctx)

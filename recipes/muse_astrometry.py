# SPDX-License-Identifier: BSD-3-Clause
"""muse_astrometry: plate scale and orientation from an exposure of a field with a catalogue."""

from dataclasses import replace

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import ASTROMETRY, SETUP
from muse_core.framework.kinds import FloatList
from muse_core.manuals.astrometry import MANUAL
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_astrometry",
    summary="Compute an astrometric solution.",
    description=(
        "The pixel tables of all IFUs of an exposure are merged, freed of the atmospheric refraction, and "
        "resampled into a cube with planes of 50 Angstrom. Stars are searched in the median of its middle "
        "planes, measured, and found in the catalogue, whatever the rotation of the field. The linear "
        "solution from pixels to the tangent plane, without the position angle of the field, is what "
        "muse_scipost takes as ASTROMETRY_WCS. MUSE_RECIPES_COMPAT=1 restores known defects of the C recipe."
    ),
    params=(
        Param(
            "centroid",
            "moffat",
            choices=("gaussian", "moffat", "box"),
            help="How the positions of the stars are measured.",
        ),
        Param(
            "detsigma",
            1.5,
            low=-100.0,
            high=1e6,
            help=(
                "Detection threshold [mean absolute deviations]; negative: all thresholds from there down to "
                "1 are tried, and the best solution is taken."
            ),
        ),
        Param("radius", 3.0, above=0.0, finite=True, help="Largest distance of partners [pixel]."),
        Param(
            "faccuracy",
            0.0,
            low=0.0,
            finite=True,
            help="Accuracy of another way to match in the C recipe; here it only goes into the header.",
        ),
        Param(
            "niter", 2, low=1, high=1000, help="Number of fits; before each but the first stars are rejected."
        ),
        Param("rejsigma", 3.0, above=0.0, help="Limit of the rejection [sigma]."),
        Param(
            "rotcenter",
            "-0.01,-1.20",
            kind=FloatList(2, fallback=(-0.01, -1.20)),
            finite=True,
            help="Centre of rotation of the instrument, from the middle of the field [pixel].",
        ),
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.LAMBDAREF,
        shared.DARCHECK,
        shared.DAR_METHOD,
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("PIXTABLE_ASTROMETRY", "RAW", min=1, max=None, help="Pixel tables of exposures of a field"),
        Input("ASTROMETRY_REFERENCE", min=1, max=1, help="Catalogues of fields"),
        replace(shared.EXTINCT_TABLE, declared_min=-1),
        replace(shared.STD_RESPONSE, declared_min=-1),
        shared.STD_TELLURIC,
    ),
    products=(
        Product("DATACUBE_ASTROMETRY", "Cube of the exposure, with the image of the detection", series=True),
        Product("ASTROMETRY_WCS", "Astrometric solution, and its stars", series=True, type="TABLE"),
    ),
    science=False,
    kernels=True,
    manual=MANUAL,
    defects=(
        *Defects.about(ASTROMETRY, SETUP),
        "integer_keywords", "predar_limits_rounded", "water_vapour_tenfold", "lab_air_without_latitude",
        "absurd_values_used", "rejection_by_bare_statistics", "flagged_rows_in_rejection",
        "zero_outside_response", "first_ifu_only_without_flux", "skipped_without_a_word",
        "zero_outside_flat_spectrum", "flat_spectrum_first_node_lost", "unreadable_units",
    ),
    fixed=shared.CUBE_OF_STARS,
    qc_group="ASTRO",
)  # fmt: skip


def run(frames, p, ctx):
    from muse_core.astrometry.steps import make_solutions
    from muse_core.calib.check import check_calibrations
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("PIXTABLE_ASTROMETRY",), ctx, p.calib_mismatch)
    make_solutions(frames, p, ctx)
    page_if_asked(ctx)

# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_align: offsets between exposures, from their point sources."""

from __future__ import annotations

from muse_core.framework import Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import ALIGN, HEADERS
from muse_core.framework.kinds import FloatList
from muse_core.manuals.exp_align import MANUAL

RECIPE = RecipeSpec(
    name="muse_exp_align",
    summary="Create a coordinate offset table to be used to align exposures during exposure combination.",
    description="""Point sources are searched in every field-of-view image, their sky
positions are compared between all pairs of exposures, and the coordinate
offset of each exposure relative to the first one is solved for from all
pairs together.

The search of each image starts at a threshold and steps it until the
number of sources lies within srcmin and srcmax. Sources near bad pixels
are discarded. The first search radius takes the peak of a two-dimensional
histogram of all coordinate differences, each following one the medians of
what lies within it.

RA_OFFSET and DEC_OFFSET are header coordinates minus those that fit to
the first exposure, or to a REFERENCE_IMAGE or REFERENCE_CATALOG;
muse_exp_combine subtracts them. Their errors, the number of matches, the
rotation and scale that the headers do not tell, and whether an offset can
be trusted at all, are written as QC keywords of the OFFSET_LIST. An offset
that cannot be trusted is 0 (keep_untrusted=true: as found), and an
exposure without a source is left out with a warning.

With MUSE_RECIPES_COMPAT=1 in the environment known faults of MUSE 2.8.7
are reproduced: positions one pixel off (rotated exposures), no match
across right ascension 0, the search into the noise, and others.""",
    params=(
        Param(
            "rsearch",
            "30.,4.,2.,0.8",
            help="Search radii in arcsec, one for each iteration of the solution.",
            kind=FloatList(needs_digits=True),
            above=0.0,
            high=1e5,
            finite=True,
        ),
        Param("nbins", 60, low=2, high=2000, help="Bins of the offset histogram along each axis."),
        Param("weight", True, help="Weight the pairs of exposures."),
        Param("fwhm", 5.0, low=0.5, high=1e4, help="FWHM of the detection kernel in pixels."),
        Param(
            "threshold",
            15.0,
            finite=True,
            help="First detection threshold; if not positive, in MAD above the background median.",
        ),
        Param(
            "bkgignore", 0.05, low=0.0, help="Fraction of the faintest pixels not used for the background."
        ),
        Param(
            "bkgfraction", 0.1, above=0.0, help="Fraction of the remaining pixels used for the background."
        ),
        Param("step", 0.5, low=0.0, finite=True, help="Change of the threshold between searches."),
        Param("iterations", 100000, help="Largest number of searches for each image."),
        Param("srcmin", 5, help="Smallest number of sources wanted."),
        Param("srcmax", 80, help="Largest number of sources wanted."),
        Param("roundmin", -1.0, help="Lower limit of the roundness."),
        Param("roundmax", 1.0, help="Upper limit of the roundness."),
        Param("sharpmin", 0.2, above=0.0, help="Lower limit of the sharpness."),
        Param("sharpmax", 1.0, help="Upper limit of the sharpness."),
        Param("expmap", False, help="Make an exposure map of the preview.", hidden=True),
        Param(
            "bpixdistance",
            5.0,
            low=0.0,
            high=1e4,
            finite=True,
            help="Smallest distance of a source from a bad pixel in pixels.",
        ),
        Param(
            "override_detection",
            False,
            help="Use the given source lists instead of the detection.",
            hidden=True,
        ),
        Param(
            "keep_untrusted",
            False,
            ours=True,
            help="Write offsets that are not trustworthy, as the C recipe does (default: 0 in their place).",
        ),
        Param(
            "rotation",
            False,
            ours=True,
            help="Write the rotations that the headers do not tell into a column ROT_OFFSET.",
        ),
        Param(
            "flux_scale",
            False,
            ours=True,
            help="Measure FLUX_SCALE, the factors that bring the exposures to one level, from their sources.",
        ),
    ),
    inputs=(
        Input("IMAGE_FOV", "RAW", min=1, max=None, declared_min=2, help="Field-of-view images of exposures"),
        Input(
            "SOURCE_LIST", "CALIB", min=0, max=None, help="Source lists, one per image (override_detection)"
        ),
        Input(
            "REFERENCE_IMAGE",
            "CALIB",
            min=0,
            ours=True,
            help="Image with right coordinates (a deep MUSE image, one of HST regridded to MUSE)",
        ),
        Input(
            "REFERENCE_CATALOG",
            "CALIB",
            min=0,
            ours=True,
            help="Table of sky positions (RA, DEC in degrees; of Gaia with its proper motions)",
        ),
    ),
    products=(
        Product("EXPOSURE_MAP", help="Exposure time of the preview (expmap)"),
        Product("PREVIEW_FOV", help="Sum of the aligned images"),
        Product("SOURCE_LIST", help="Sources of one exposure", series=True, type="TABLE"),
        Product("OFFSET_LIST", help="Coordinate offset of each exposure", type="TABLE"),
    ),
    manual=MANUAL,
    defects=(*Defects.about(ALIGN, HEADERS), "absurd_values_used"),
)


def run(frames, p, ctx):
    """Align the exposures."""
    from muse_core.alignment.images.checks import inspect_fields
    from muse_core.alignment.log import log_offsets, warn_of_levels
    from muse_core.alignment.offsets.align import align
    from muse_core.alignment.parameters import check_parameters
    from muse_core.alignment.preview.grid import check_memory
    from muse_core.alignment.preview.mosaic import make_mosaic
    from muse_core.alignment.products import AlignedExposures, save_products
    from muse_core.alignment.references import check_number, load_reference, reference_frames
    from muse_core.alignment.results import collect_results, exposures_to_align
    from muse_core.alignment.sources.find import find_sources

    check_parameters(p)
    images, lists = frames["IMAGE_FOV"], frames["SOURCE_LIST"] if p.override_detection else ()
    fields = inspect_fields([image.path for image in images], p, ctx)
    check_memory(fields, ctx)
    reference = load_reference(frames, fields, p, ctx)
    check_number(images, reference, ctx)
    sources = find_sources(fields, [source_list.path for source_list in lists], p, ctx, reference)
    warn_of_levels(fields, sources, ctx)
    group = exposures_to_align(fields, sources, reference)
    alignment, verdict = align(group, p, ctx.defects)
    results = collect_results(sources, alignment, verdict, ctx)
    log_offsets(fields, results, alignment.solution.empty_radii, ctx)
    mosaic = make_mosaic(fields, results, p, ctx)
    found = AlignedExposures(fields, sources, results, alignment, mosaic)
    save_products(found, images, (*lists, *reference_frames(frames)), ctx)
    if ctx.report_requested:
        from muse_core.report.exp_align import align_page

        ctx.report(lambda: align_page(found, p.rsearch, p.nbins))

# SPDX-License-Identifier: BSD-3-Clause
"""muse_flat: lamp flats to a master flat field and the traces of the slices."""

from dataclasses import replace

from muse_core.detector.declarations import (
    BADPIX_TABLE,
    COMBINE,
    MASTER_BIAS,
    MASTER_DARK,
    MERGE,
    NIFU,
    OVERSCAN,
    SCALE,
    clipping,
)
from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import FLAT, HEADERS, SETUP
from muse_core.manuals.masters import FLAT_MANUAL

DESCRIPTION = """\
Each raw lamp flat is reduced on its own, IFU by IFU: known bad and saturated pixels are flagged, the \
overscan is measured and removed, the frame is trimmed, bias and dark are subtracted, counts converted to \
electrons. The exposures are combined pixel by pixel and divided by the mean of all pixels. In the combined \
image the 48 slices are found in the middle rows, then the edges of each one in bands of rows, and \
polynomials are fitted to them. Inside of the slices dark and bright pixels are flagged.

All IFUs that can be processed are; a summary tells which could not and why."""

RECIPE = RecipeSpec(
    name="muse_flat",
    summary=(
        "Combine several separate flat images into one master flat file, trace slice locations, and locate "
        "dark pixels."
    ),
    description=DESCRIPTION,
    params=(
        NIFU,
        *OVERSCAN,
        COMBINE,
        *clipping(),
        replace(SCALE, hidden=True),
        Param("normalize", True, hidden=True, help="Divide the master flat by the mean of all its pixels."),
        Param("trace", True, help="Trace the slices on the master flat."),
        Param("nsum", 32, low=2, high=2000, help="Rows over which the light is averaged to find edges."),
        Param("order", 5, low=0, high=15, help="Order of the polynomials of the traces."),
        Param(
            "edgefrac", 0.5, above=0, high=0.99, help="Fraction of the median light of a slice at its edges."
        ),
        Param(
            "losigmabadpix",
            5.0,
            above=0,
            help="Limit of dark pixels, in mean deviations from the median of a slice in a row.",
        ),
        Param(
            "hisigmabadpix",
            5.0,
            above=0,
            help="Limit of bright pixels, in mean deviations from the median of a slice in a row.",
        ),
        Param("samples", False, help="Save the edges that were found in each band of rows."),
        MERGE,
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("FLAT", "RAW", min=3, max=None, help="Raw lamp flats"),
        MASTER_BIAS,
        MASTER_DARK,
        BADPIX_TABLE,
    ),
    products=(
        Product("MASTER_FLAT", "Master flat of an IFU, or of all of them (merge)", by_ifu=True),
        Product("TRACE_TABLE", "Edges of the slices (trace)", by_ifu=True, type="TABLE"),
        Product("TRACE_SAMPLES", "What they were fitted to (samples)", by_ifu=True, type="TABLE"),
    ),
    science=False,
    kernels=True,
    manual=FLAT_MANUAL,
    defects=Defects.about(FLAT, SETUP, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.masters.steps import FlatMaker, open_masters, process

    check_calibrations(frames, ("FLAT",), ctx, p.calib_mismatch)
    found = open_masters("FLAT", frames, ("MASTER_BIAS",), p, ctx)
    run = process(FlatMaker(found, frames, p), ctx)
    if ctx.report_requested:
        from muse_core.report.flat import flat_page

        ctx.report(lambda: flat_page(run, found.absent))

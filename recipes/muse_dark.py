# SPDX-License-Identifier: BSD-3-Clause
"""muse_dark: darks to a master dark with its hot pixels."""

from dataclasses import replace

from muse_core.detector.declarations import (
    BADPIX_TABLE,
    COMBINE,
    MASTER_BIAS,
    MERGE,
    NIFU,
    OVERSCAN,
    SCALE,
    clipping,
)
from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import DARK, HEADERS, SETUP
from muse_core.manuals.masters import DARK_MANUAL

DESCRIPTION = """\
Each raw dark is reduced on its own, IFU by IFU: known bad and saturated pixels are flagged, the overscan is \
measured and removed, the frame is trimmed, the bias is subtracted, counts are converted to electrons. The \
exposures are brought to the exposure time of the first one and combined pixel by pixel. Hot pixels are \
flagged, and the master is brought to one hour.

All IFUs that can be processed are; a summary tells which could not and why."""

RECIPE = RecipeSpec(
    name="muse_dark",
    summary="Combine several separate dark images into one master dark file and locate hot pixels.",
    description=DESCRIPTION,
    params=(
        NIFU,
        *OVERSCAN,
        COMBINE,
        *clipping(),
        replace(SCALE, hidden=True),
        Param(
            "normalize",
            3600.0,
            hidden=True,
            high=1e9,
            finite=True,
            help="Exposure time of the master dark in seconds; below 0 that of the first exposure.",
        ),
        Param("hotsigma", 5.0, above=0, help="Limit of hot pixels, in mean deviations from the median."),
        Param("model", False, help="Model the dark; not available here, only FALSE is taken."),
        MERGE,
        CALIB_MISMATCH,
    ),
    inputs=(Input("DARK", "RAW", min=3, max=None, help="Raw darks"), MASTER_BIAS, BADPIX_TABLE),
    products=(
        Product("MASTER_DARK", "Master dark of an IFU, or of all of them (merge)", by_ifu=True),
        Product("MODEL_DARK", "Not made", by_ifu=True),
    ),
    science=False,
    kernels=True,
    manual=DARK_MANUAL,
    defects=Defects.about(DARK, SETUP, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.masters.dark import check_model
    from muse_core.masters.steps import DarkMaker, open_masters, process

    check_model(p)
    check_calibrations(frames, ("DARK",), ctx, p.calib_mismatch)
    found = open_masters("DARK", frames, ("MASTER_BIAS",), p, ctx)
    run = process(DarkMaker(found, frames, p), ctx)
    if ctx.report_requested:
        from muse_core.report.dark import dark_page

        ctx.report(lambda: dark_page(run, found.absent))

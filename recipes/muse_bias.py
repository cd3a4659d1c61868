# SPDX-License-Identifier: BSD-3-Clause
"""muse_bias: several bias frames to a master bias."""

from muse_core.detector.declarations import BADPIX_TABLE, COMBINE, MERGE, NIFU, OVERSCAN, clipping
from muse_core.framework import Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import BIAS, HEADERS
from muse_core.manuals.masters import BIAS_MANUAL

DESCRIPTION = """\
Each raw bias frame is reduced on its own, IFU by IFU: known bad and saturated pixels are flagged, the \
overscan is measured and removed, the frame is trimmed. The read-out noise of each quadrant is measured in \
the differences of two frames that follow each other, in 100 windows spread over the quadrant; it is the \
variance of all values. The frames are combined pixel by pixel, and bad columns are looked for in what comes \
of it.

All IFUs that can be processed are; a summary tells which could not and why."""

RECIPE = RecipeSpec(
    name="muse_bias",
    summary="Combine several separate bias images into one master bias file.",
    description=DESCRIPTION,
    params=(
        NIFU,
        *OVERSCAN,
        COMBINE,
        *clipping(),
        Param(
            "losigmabadpix",
            30.0,
            above=0,
            help="Limit below which columns are dark, in mean deviations of all columns of the quadrant.",
        ),
        Param(
            "hisigmabadpix",
            3.0,
            above=0,
            help="Limit above which columns are hot, in mean deviations of all columns of the quadrant.",
        ),
        MERGE,
    ),
    inputs=(Input("BIAS", "RAW", min=3, max=None, help="Raw bias frames"), BADPIX_TABLE),
    products=(Product("MASTER_BIAS", "Master bias of an IFU, or of all of them (merge)", by_ifu=True),),
    science=False,
    kernels=True,
    manual=BIAS_MANUAL,
    defects=Defects.about(BIAS, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.masters.steps import BiasMaker, open_masters, process

    check_calibrations(frames, ("BIAS",), ctx)
    found = open_masters("BIAS", frames, (), p, ctx)
    run = process(BiasMaker(found, frames, p), ctx)
    if ctx.report_requested:
        from muse_core.report.bias import bias_page

        ctx.report(lambda: bias_page(run, found.absent))

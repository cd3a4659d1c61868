# SPDX-License-Identifier: BSD-3-Clause
"""muse_scibasic: from raw science frames to pixel tables."""

from dataclasses import replace

from muse_core.detector.declarations import CALIBRATIONS, NIFU, OVERSCAN, clipping
from muse_core.framework import (
    CALIB_MISMATCH,
    Defects,
    FloatList,
    Input,
    Param,
    Product,
    RecipeSpec,
)
from muse_core.framework.defects import BASIC, HEADERS, SETUP
from muse_core.manuals.scibasic import MANUAL
from muse_core.postproc.declarations import TABLE_LAYOUT

DESCRIPTION = """\
Each raw exposure is reduced on its own, IFU by IFU: known bad and saturated pixels are flagged, the \
overscan is measured and removed, the frame is trimmed, bias and dark are subtracted, counts are \
converted to electrons, cosmic rays are flagged on request, and the image is divided by the flat field. \
Trace, wavelength and geometry tables then tell where in the field and at which wavelength each pixel saw \
light: the image becomes a pixel table. Bright sky lines refine its wavelengths, it is cut to the useful \
range of the instrument mode, an ILLUM exposure evens out its slices, and TWILIGHT_CUBEs even out the field.

All IFUs that can be processed are; a summary tells which could not and why."""

TAGS = ("OBJECT", "STD", "SKY", "ASTROMETRY", "REDUCED")

RECIPE = RecipeSpec(
    name="muse_scibasic",
    summary=(
        "Remove the instrumental signature from the data of each CCD and convert them from an image into a "
        "pixel table."
    ),
    description=DESCRIPTION,
    params=(
        NIFU,
        *OVERSCAN,
        Param("crop", True, help="Cut the pixel table to the useful wavelengths of the instrument mode."),
        Param("cr", "none", choices=("none", "dcr"), help="How cosmic rays are found in the image."),
        Param("xbox", 15, low=2, help="Size in x of the boxes in which dcr looks for cosmic rays."),
        Param("ybox", 40, low=2, help="Size in y of the boxes in which dcr looks for cosmic rays."),
        Param("passes", 2, low=1, help="Passes of dcr."),
        Param(
            "thres",
            5.8,
            above=0,
            finite=True,
            help="Gap in the histogram that tells cosmic rays, in deviations.",
        ),
        Param(
            "combine",
            "none",
            choices=("none", "average", "median", "minmax", "sigclip"),
            hidden=True,
            help="How exposures of one kind are combined; none keeps them apart.",
        ),
        *clipping(hidden=True),
        Param(
            "scale",
            True,
            hidden=True,
            help="Scale exposures to the exposure time of the first one (combine).",
        ),
        Param("saveimage", True, help="Save the reduced image of each IFU."),
        Param(
            "skylines",
            "5577.339,6300.304",
            kind=FloatList(nothing=("none", "")),
            help="Sky lines that refine the wavelengths, comma separated, in Angstrom; none: no refinement.",
        ),
        Param(
            "skyhalfwidth",
            5.0,
            low=0.05,
            high=1000.0,
            help="Half the width of the window of a sky line, in Angstrom.",
        ),
        Param(
            "skybinsize", 0.1, low=0.001, finite=True, help="Size of the bins of that window, in Angstrom."
        ),
        Param(
            "skyreject",
            "15.,15.,1",
            kind=FloatList(1, 3),
            finite=True,
            help="Rejection of outliers in that window: high and low limit in sigma, number of passes.",
        ),
        Param("resample", False, help="Save an image of all slices, position by wavelength."),
        Param("dlambda", 1.25, low=0, finite=True, help="Wavelength step of that image, in Angstrom."),
        Param("merge", False, help="Save the images of all IFUs in one file."),
        Param(
            "slicelines",
            False,
            ours=True,
            help="Refine the wavelengths of each slice, too, by the sky lines.",
        ),
        Param(
            "lacosmic",
            False,
            ours=True,
            help="Flag cosmic rays by L.A.Cosmic (beside cr); needs the package astroscrappy.",
        ),
        Param("lacosmic_sigma", 10.0, above=0, ours=True, help="Its limit of a hit, in deviations."),
        Param(
            "lacosmic_contrast",
            50.0,
            above=0,
            ours=True,
            help="Its least contrast of a hit to real structure.",
        ),
        TABLE_LAYOUT,
        CALIB_MISMATCH,
    ),
    inputs=(
        *(
            Input(tag, "RAW", min=0, max=None, declared_min=-1, help=f"Raw {what}")
            for tag, what in (
                ("OBJECT", "exposures of a science object"),
                ("STD", "exposures of a standard star"),
                ("SKY", "exposures of empty sky"),
                ("ASTROMETRY", "exposures of an astrometric field"),
            )
        ),
        Input(
            "REDUCED", "RAW", min=0, max=None, declared_min=-1, help="Reduced images in place of raw frames"
        ),
        Input("ILLUM", "RAW", min=0, max=1, declared_min=-1, help="Raw lamp flat attached to the exposures"),
        # of images that were reduced before they are not asked for
        *(replace(known, min=0, declared_min=known.host_min) for known in CALIBRATIONS),
        Input(
            "TWILIGHT_CUBE", min=0, max=None, declared_min=-1, help="Illumination corrections, all applied"
        ),
    ),
    products=tuple(
        product
        for tag in TAGS
        for product in (
            Product(f"{tag}_RED", "Reduced image of an IFU (saveimage)", series=True, level="INTERMEDIATE"),
            Product(f"{tag}_RESAMPLED", "Image of the slices of an IFU (resample)", series=True),
            Product(
                f"PIXTABLE_{tag}",
                "Pixel table of an IFU",
                series=True,
                level="INTERMEDIATE",
                type="TABLE",
            ),
        )
    ),
    kernels=True,
    manual=MANUAL,
    defects=Defects.about(BASIC, SETUP, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.basic.inputs import open_inputs
    from muse_core.basic.reduced import open_reduced, process_reduced
    from muse_core.basic.steps import process
    from muse_core.calib.check import check_calibrations
    from muse_core.detector.left_out import tell_of_corrections

    check_calibrations(frames, TAGS, ctx, p.calib_mismatch)
    if frames["REDUCED"]:
        inputs = open_reduced(frames, p, ctx)
        tell_of_corrections(("TWILIGHT_CUBE",), frames, ctx)
        results = process_reduced(inputs, frames, p, ctx)
    else:
        inputs = open_inputs(frames, p, ctx)
        tell_of_corrections(("MASTER_DARK", "ILLUM", "TWILIGHT_CUBE"), frames, ctx)
        results = process(inputs, frames, p, ctx)
    if ctx.report_requested:
        from muse_core.report.basic import basic_page

        ctx.report(lambda: basic_page(results, inputs))

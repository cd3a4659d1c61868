# SPDX-License-Identifier: BSD-3-Clause
"""muse_wavecal: from raw arc exposures to the wavelength solution of each slice."""

from muse_core.detector.declarations import OVERSCAN, UNTOLD_NIFU, per_ifu
from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import HEADERS, SETUP, WAVECAL
from muse_core.manuals.wavecal import MANUAL

DESCRIPTION = """\
Each raw exposure is reduced on its own: known bad and saturated pixels are flagged, the overscan is \
measured and removed, the frame is trimmed, bias and dark are subtracted, counts are converted to \
electrons (and divided by a flat field, if one is given). The exposures of each arc lamp are combined.

In each slice the lines are detected along its middle, in the image of each lamp, and identified: all lamps \
together vote for dispersion and offset, and polynomials of rising order are followed with falling \
tolerance. The lines of the LINE_CATALOG are then fitted by Gaussians in every column of the slice (lines \
of quality 2 together with their neighbours), columns that are off the smooth course of a line are dropped, \
and a polynomial in both directions through all places is the wavelength solution (WAVECAL_TABLE).

All IFUs that can be processed are; a summary tells which could not and why, and which slices have no \
solution."""

RECIPE = RecipeSpec(
    name="muse_wavecal",
    summary="Detect arc emission lines and determine the wavelength solution for each slice.",
    description=DESCRIPTION,
    params=(
        UNTOLD_NIFU,
        *OVERSCAN,
        Param(
            "combine",
            "sigclip",
            choices=("average", "median", "minmax", "sigclip"),
            help="How the exposures of a lamp are combined.",
        ),
        Param(
            "lampwise",
            True,
            hidden=True,
            help="Detect and fit lines in the image of each lamp, not in that of all lamps together.",
        ),
        Param("sigma", 1.0, above=0, high=1e4, help="Limit of the detection, in mean deviations."),
        Param(
            "dres",
            0.05,
            above=0,
            high=0.5,
            help="Range of the sampling that is tried, relative to 1.25 Angstrom per pixel.",
        ),
        Param("tolerance", 0.1, above=0, high=10.0, help="Tolerance of the identification."),
        Param("xorder", 2, low=1, high=9, help="Order of the solution along the columns (across the slice)."),
        Param("yorder", 6, low=1, high=9, help="Order of the solution along the rows (dispersion)."),
        Param(
            "linesigma",
            -1.0,
            help="Limit of the rejection of columns of a line, in rms; negative: 2.5.",
        ),
        Param("residuals", False, help="Save the residuals of all fits."),
        Param("fitsigma", -1.0, help="Limit of the rejection in the final fit, in rms; negative: 3."),
        Param(
            "fitweighting",
            "cerrscatter",
            choices=("uniform", "cerr", "scatter", "cerrscatter"),
            help="Weights of the final fit: none, errors of the places, scatter along the line, or both.",
        ),
        Param("saveimages", False, help="Save the combined image of each lamp."),
        Param(
            "resample",
            False,
            hidden=True,
            help="Save an image of all lamps with the slices side by side, column by wavelength.",
        ),
        Param("wavemap", False, hidden=True, help="Save an image of the wavelength of each pixel."),
        Param("merge", False, help="Save the products of all IFUs in one file."),
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("ARC", "RAW", max=None, help="Raw exposures of arc lamps, one lamp each"),
        per_ifu("MASTER_BIAS", "Master bias"),
        per_ifu("MASTER_DARK", "Master dark", required=False),
        per_ifu("MASTER_FLAT", "Master flat", required=False),
        per_ifu("TRACE_TABLE", "Edges of the slices on the CCD"),
        Input("LINE_CATALOG", help="Wavelengths and quality of the arc lines"),
        Input("BADPIX_TABLE", min=0, max=None, declared_min=-1, help="Known bad pixels"),
    ),
    products=(
        Product("WAVECAL_TABLE", "Wavelength solutions of the slices", by_ifu=True, type="TABLE"),
        Product("WAVECAL_RESIDUALS", "Residuals of all fits (residuals)", by_ifu=True, type="TABLE"),
        Product("ARC_RED_LAMP", "Combined image of a lamp (saveimages)", series=True),
        Product("ARC_RED", "Sum of the images of all lamps (saveimages)", series=True),
        Product("ARC_RESAMPLED", "Image of all lamps, column by wavelength (resample)", series=True),
        Product("WAVE_MAP", "Wavelength of each pixel (wavemap)", series=True),
    ),
    science=False,
    kernels=True,
    manual=MANUAL,
    defects=Defects.about(WAVECAL, SETUP, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.arcs.inputs import open_arcs
    from muse_core.arcs.steps import process
    from muse_core.calib.check import check_calibrations
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("ARC",), ctx, p.calib_mismatch)
    inputs = open_arcs(frames, ("ARC",), ("MASTER_BIAS", "TRACE_TABLE"), p, ctx)
    process(inputs, frames, p, ctx)
    page_if_asked(ctx)

# SPDX-License-Identifier: BSD-3-Clause
"""muse_lsf: from raw arc exposures to the line profile of each slice."""

from muse_core.detector.declarations import OVERSCAN, UNTOLD_NIFU, per_ifu
from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import HEADERS, LSF, SETUP
from muse_core.manuals.lsf import MANUAL

DESCRIPTION = """\
Raw exposures of arc lamps are reduced and combined for each lamp as in muse_wavecal. In each slice the \
pixels within lsf_range of a good line of the LINE_CATALOG are collected; a Gaussian on a constant \
background gives wavelength and flux of the line. Offset from the line and normalised value of the pixels \
of all lines make the profile: each of its samples is the value of a local polynomial, quadratic in the \
offset and cubic in the wavelength. The result is an image of the profile for each slice (LSF_PROFILE), \
offset by wavelength, with area 1 at each wavelength, as muse_scipost reads it.

All IFUs that can be processed are; a summary tells which could not and why, and which slices have no \
profile."""

RECIPE = RecipeSpec(
    name="muse_lsf",
    summary="Compute the LSF",
    description=DESCRIPTION,
    params=(
        UNTOLD_NIFU,
        *OVERSCAN,
        Param("save_subtracted", False, help="Save the pixels of the lines without their lines."),
        Param("line_quality", 3, low=1, high=5, help="Least quality of the lines that are used."),
        Param("lsf_range", 7.5, above=0, high=50.0, help="Half the range of offsets, in Angstrom."),
        Param("lsf_size", 150, low=8, high=2000, help="Number of offsets."),
        Param("lambda_size", 30, low=2, high=2000, help="Number of wavelengths."),
        Param(
            "lsf_regression_window",
            0.7,
            low=0.01,
            finite=True,
            help="Half the width of the window of a sample, in Angstrom.",
        ),
        Param("merge", False, help="Save the profiles of all IFUs in one file."),
        Param(
            "combine",
            "sigclip",
            choices=("average", "median", "minmax", "sigclip"),
            help="How the exposures of a lamp are combined.",
        ),
        Param(
            "method",
            "interpolate",
            choices=("interpolate", "hermit"),
            help="How the profile is described; only interpolate is possible.",
        ),
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("ARC", "RAW", min=0, max=None, declared_min=-1, help="Raw exposures of arc lamps"),
        Input("ARC_LSF", "RAW", min=0, max=None, declared_min=-1, help="Raw exposures of the LSF sequence"),
        per_ifu("MASTER_BIAS", "Master bias"),
        per_ifu("MASTER_DARK", "Master dark", required=False),
        per_ifu("MASTER_FLAT", "Master flat", required=False),
        per_ifu("TRACE_TABLE", "Edges of the slices on the CCD"),
        per_ifu("WAVECAL_TABLE", "Wavelength solutions"),
        Input("BADPIX_TABLE", min=0, max=None, declared_min=-1, help="Known bad pixels"),
        Input("LINE_CATALOG", help="Wavelengths and quality of the arc lines"),
    ),
    products=(
        Product("LSF_PROFILE", "Images of the line profiles of the slices", by_ifu=True),
        Product(
            "PIXTABLE_SUBTRACTED",
            "Pixels of the lines without their lines (save_subtracted)",
            by_ifu=True,
            type="TABLE",
        ),
    ),
    science=False,
    kernels=True,
    manual=MANUAL,
    defects=Defects.about(LSF, SETUP, HEADERS),
)


def run(frames, p, ctx):
    from muse_core.arcs.inputs import open_arcs
    from muse_core.arcs.profile_steps import process, refuse
    from muse_core.calib.check import check_calibrations
    from muse_core.report.asked import page_if_asked

    refuse(p)
    check_calibrations(frames, ("ARC", "ARC_LSF"), ctx, p.calib_mismatch)
    inputs = open_arcs(frames, ("ARC", "ARC_LSF"), ("MASTER_BIAS", "TRACE_TABLE", "WAVECAL_TABLE"), p, ctx)
    process(inputs, frames, p, ctx)
    page_if_asked(ctx)

# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_make_cube: one pixel table becomes a cube."""

from dataclasses import replace

from muse_core.framework import Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import CUBE, HEADERS, PRODUCTS, ROWS
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_make_cube",
    summary="Make a MUSE cube from a MUSE pixel table.",
    description=(
        "Resamples one pixel table to a cube, as muse_scipost and muse_exp_combine do in the end: in pixels, "
        "on the sky (a projected table is put there by the pointing in its header), or several exposures "
        "with their weights (PIXTABLE_COMBINED); an image is made for every filter asked for."
    ),
    params=(
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.RESAMPLE,
        shared.DX,
        shared.DY,
        shared.DLAMBDA,
        shared.CRTYPE,
        shared.CRSIGMA,
        shared.RC,
        shared.PIXFRAC,
        shared.LD,
        replace(
            shared.FORMAT,
            choices=("Cube", "Euro3D", "xCube", "xEuro3D"),
            help="Format of the cube; x: with the images in the same file.",
        ),
        Param("stacked", False, help="Save the image of all slices side by side, too."),
        shared.FILTER,
        shared.COLLAPSE_USE_VARIANCE,
        shared.COLLAPSE_PIXTABLE,
        shared.COVARIANCE,
        shared.STAT_APERTURE,
    ),
    inputs=(
        Input("PIXTABLE_OBJECT", "RAW", max=None, help="Pixel table"),
        shared.FILTER_LIST,
        shared.OUTPUT_WCS,
    ),
    products=(
        Product("DATACUBE_FINAL", "Cube"),
        Product("IMAGE_FOV", "Image through each filter", series=True),
        Product("OBJECT_RESAMPLED", "All slices side by side (stacked=true)"),
    ),
    kernels=True,
    manual=manual("PIXTABLE_OBJECT", "FILTER_LIST", "OUTPUT_WCS", values=("resample", "crtype", "format")),
    defects=(
        *Defects.about(ROWS, CUBE, PRODUCTS, HEADERS),
        "cube_without_qc",
        "first_table_only",
        "limits_from_header",
    ),
    fixed=(
        ("astrometry", True),
        ("rot_offset", False),
        ("save", ("cube",)),
        ("superflat_pos", None),
        ("weight", "none"),
    ),
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.postproc.single.cube import save_cube
    from muse_core.report.asked import page_if_asked

    save_cube(frames, p.also(save=("cube", "stacked") if p.stacked else ("cube",)), ctx)
    page_if_asked(ctx)

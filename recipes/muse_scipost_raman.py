# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost_raman: Raman light of the lasers taken out of one exposure."""

from dataclasses import replace

from muse_core.framework import CALIB_MISMATCH, Defects, Input, Param, Product, RecipeSpec
from muse_core.framework.defects import CUBE, HEADERS, ROWS, SETUP, SKY
from muse_core.manuals.single import manual
from muse_core.postproc import declarations as shared

RECIPE = RecipeSpec(
    name="muse_scipost_raman",
    summary="Remove of 4GLSF Raman emission.",
    description=(
        "Merges the pixel tables of all IFUs of one exposure, takes out the atmospheric refraction, fits the "
        "light that nitrogen and oxygen scatter from the lasers to the sky of the exposure, and subtracts "
        "it, as muse_scipost does in AO modes before the sky subtraction."
    ),
    params=(
        shared.LAMBDAMIN,
        shared.LAMBDAMAX,
        shared.LAMBDAREF,
        replace(shared.RAMAN_WIDTH, name="width"),
        Param(
            "crsigma", 15.0, hidden=True, help="Cosmic-ray limit of the images of the bands [sigma].", low=0.0
        ),
        Param("fraction", 0.75, help="Fraction of the image (after ignore) that is taken as sky."),
        Param("ignore", 0.05, help="Fraction of the image, the darkest part, that is not used."),
        shared.DAR_METHOD,
        shared.TABLE_LAYOUT,
        shared.COLLAPSE_USE_VARIANCE,
        CALIB_MISMATCH,
    ),
    inputs=(
        Input("PIXTABLE_OBJECT", "RAW", max=None, declared_max=1, help="Pixel tables of one exposure"),
        replace(shared.RAMAN_LINES, declared_min=1),
        replace(shared.LSF_PROFILE, declared_min=1),
        replace(shared.SKY_MASK, declared_min=1),
    ),
    products=(
        Product("RAMAN_IMAGES", "Images of the light and of its bands", series=True, level="INTERMEDIATE"),
        Product("PIXTABLE_REDUCED", "Pixel table without Raman light", type="TABLE", c_units=True),
    ),
    kernels=True,
    manual=manual(
        "PIXTABLE_OBJECT",
        "RAMAN_LINES",
        "LSF_PROFILE",
        "SKY_MASK",
        values=("dar_method", "table_layout", "calib_mismatch"),
    ),
    defects=(*Defects.about(ROWS, SKY, CUBE, HEADERS, SETUP), "flagged_rows_lost"),
    fixed=(
        *shared.SINGLE_STEP,
        ("astrometry", True),
        ("autocalib", "none"),
        ("rot_offset", False),
        ("save", ("raman",)),
        ("skymethod", "simple"),
    ),
    qc_group="SCIPOST",
)


def run(frames, p, ctx):
    from muse_core.calib.check import check_calibrations
    from muse_core.postproc.single.raman import correct_exposure
    from muse_core.report.asked import page_if_asked

    check_calibrations(frames, ("PIXTABLE_OBJECT",), ctx, p.calib_mismatch)
    named = {"raman_width": p.width, "skymodel_fraction": p.fraction, "skymodel_ignore": p.ignore}
    correct_exposure(frames, p.also(**named, sky_crsigma=(p.crsigma,)), ctx)
    page_if_asked(ctx)

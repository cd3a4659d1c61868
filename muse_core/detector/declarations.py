# SPDX-License-Identifier: BSD-3-Clause
"""Parameters and inputs that all recipes for raw frames share; to be read without numpy."""

from __future__ import annotations

from dataclasses import replace

from muse_core.framework.kinds import Method
from muse_core.framework.spec import Input, Param

OVERSCAN = (
    Param(
        "overscan",
        "vpoly",
        kind=Method({"none": (), "offset": (), "vpoly": (15, 1.00001, 1.00001)}, otherwise="none"),
        help='Overscan correction: "none", "offset" (shift to the level of the bias) or "vpoly" '
        "(polynomial along the vertical overscan).",
    ),
    Param(
        "ovscreject",
        "dcr",
        kind=Method({"none": (), "dcr": (128, 32, 3, 2.5), "fit": (5.0,)}),
        help='Rejection in the overscan: "none", "dcr" or "fit".',
    ),
    Param(
        "ovscsigma", 30.0, help="Rejection limit of the overscan polynomial, or of the level check, in sigma."
    ),
    Param("ovscignore", 3, low=0, help="Overscan pixels next to the data that are left out."),
)
"""How the overscan is measured and removed."""

OVERSCAN_NAMES = tuple(param.name for param in OVERSCAN)


def clipping(hidden: bool = False) -> tuple[Param, ...]:
    """Return the parameters of the combination of exposures that reject values."""
    return (
        Param("nlow", 1, low=0, hidden=hidden, help="Lowest values that minmax drops."),
        Param("nhigh", 1, low=0, hidden=hidden, help="Highest values that minmax drops."),
        Param("nkeep", 1, low=1, hidden=hidden, help="Values that minmax keeps at least."),
        Param("lsigma", 3.0, above=0, hidden=hidden, help="Lower limit of sigclip."),
        Param("hsigma", 3.0, above=0, hidden=hidden, help="Upper limit of sigclip."),
    )


def per_ifu(tag: str, help: str, *, required: bool = True) -> Input:  # noqa: A002
    """Return a calibration that comes as one merged file or as one file per IFU."""
    if required:
        return Input(tag, max=None, declared_max=1, help=f"{help}, merged or one file per IFU")
    return Input(
        tag,
        min=0,
        max=None,
        declared_min=-1,
        declared_max=1,
        help=f"{help}, merged or one file per IFU",
    )


NIFU = Param(
    "nifu",
    0,
    low=-1,
    high=24,
    ranged=True,
    help="IFU to process; 0 or -1: all of them.",
    picks=r"CHAN(\d\d)(?:\.\w+)?",
)
UNTOLD_NIFU = replace(NIFU, ranged=False)
"""For recipes whose C twin tells hosts no limits."""
COMBINE = Param(
    "combine",
    "sigclip",
    choices=("average", "median", "minmax", "sigclip"),
    help="How exposures are combined.",
)
MERGE = Param("merge", False, help="Save the products of all IFUs in one file each.")
SCALE = Param("scale", True, help="Scale exposures to the exposure time of the first one.")
MASTER_BIAS = per_ifu("MASTER_BIAS", "Master bias")
MASTER_DARK = per_ifu("MASTER_DARK", "Master dark", required=False)
BADPIX_TABLE = Input("BADPIX_TABLE", min=0, max=None, declared_min=-1, help="Known bad pixels")

CALIBRATIONS = (
    MASTER_BIAS,
    MASTER_DARK,
    per_ifu("MASTER_FLAT", "Master flat"),
    BADPIX_TABLE,
    per_ifu("TRACE_TABLE", "Edges of the slices on the CCD"),
    per_ifu("WAVECAL_TABLE", "Wavelength solutions"),
    Input("GEOMETRY_TABLE", help="Places of the slices in the field of view"),
)
"""What takes a raw frame to pixel-table rows."""

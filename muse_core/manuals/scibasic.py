# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_scibasic says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import shared
from muse_core.manuals.detector import CALIBRATIONS

MANUAL = Manual(
    {
        "OBJECT": "Frames of at least one of the raw tags are required.",
        "STD": "Needed for muse_standard, which makes the response curve.",
        "SKY": "Needed for muse_create_sky, which makes a model of the sky.",
        "ASTROMETRY": "Needed for muse_astrometry, which makes the astrometric solution.",
        "REDUCED": "Images saved with saveimage=true, or changed by other programs: the steps up to them are "
        "left out.",
        **CALIBRATIONS,
        "TWILIGHT_CUBE": (
            "From muse_twilight: evens out the illumination of the field; without it the levels of slices "
            "and IFUs are those of the lamp."
        ),
    },
    {
        **{name: shared.VALUES[name] for name in ("table_layout", "calib_mismatch")},
        "cr": (
            ("none", "Cosmic rays stay; muse_scipost finds them when the cube is made."),
            ("dcr", "Each frame is searched by histograms of small boxes (xbox, ybox, passes, thres)."),
        ),
        "combine": (
            ("none", "Each exposure is reduced for itself."),
            ("average", "Mean of the exposures."),
            ("median", "Median of the exposures."),
            ("minmax", "Mean without the nlow lowest and nhigh highest values."),
            ("sigclip", "Mean of the values between lsigma and hsigma about the median."),
        ),
    },
)

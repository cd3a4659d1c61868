# SPDX-License-Identifier: BSD-3-Clause
"""What the manual pages of muse_bias, muse_dark and muse_flat say of inputs and values."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import shared

COMBINE = (
    ("average", "Mean of the exposures."),
    ("median", "Median of the exposures."),
    ("minmax", "Mean without the nlow lowest and nhigh highest values."),
    ("sigclip", "Mean of the values between lsigma and hsigma about the median."),
)
VALUES = {"combine": COMBINE, "calib_mismatch": shared.VALUES["calib_mismatch"]}
BADPIX = "Pixels that are left out, besides those that are found; needed for no others."

BIAS_MANUAL = Manual(
    {
        "BIAS": "Required, at least three; those of another read-out mode or binning are left out.",
        "BADPIX_TABLE": BADPIX,
    },
    {"combine": COMBINE},
)

FLAT_MANUAL = Manual(
    {
        "FLAT": "Required, at least three; those of another read-out mode or binning are left out.",
        "MASTER_BIAS": "Required, from muse_bias.",
        "MASTER_DARK": "Subtracted if given, scaled to the exposure time; rarely needed.",
        "BADPIX_TABLE": BADPIX,
    },
    VALUES,
)

DARK_MANUAL = Manual(
    {
        "DARK": "Required, at least three; those of another read-out mode or binning are left out.",
        "MASTER_BIAS": "Required, from muse_bias.",
        "BADPIX_TABLE": BADPIX,
    },
    VALUES,
)

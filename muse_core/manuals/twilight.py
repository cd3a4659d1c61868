# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_twilight says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import scipost
from muse_core.manuals.detector import CALIBRATIONS

MANUAL = Manual(
    {
        "SKYFLAT": "Required, three or more of one night and mode.",
        **CALIBRATIONS,
        "VIGNETTING_MASK": (
            "Wide field: the corner that the telescope vignettes is corrected where it says so; without it "
            "that is not done."
        ),
    },
    {
        "combine": (
            ("average", "Mean of the exposures."),
            ("median", "Median of the exposures."),
            ("minmax", "Mean without the nlow lowest and nhigh highest values."),
            ("sigclip", "Mean of the values between lsigma and hsigma about the median."),
        ),
        **{name: scipost.VALUES[name] for name in ("resample", "crtype", "calib_mismatch")},
        "vignsmooth": (
            ("polyfit", "Polynomial of orders vignxpar and vignypar."),
            ("gaussian", "Gaussian of widths vignxpar and vignypar."),
            ("median", "Median filter of sizes vignxpar and vignypar."),
        ),
    },
)

# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_twilight says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual

MANUAL = Manual(
    {
        "SKYFLAT": "Required, three or more of one night and mode.",
        "ILLUM": "Evens out the slices of an IFU; without it their relative levels are those of the flat.",
        "MASTER_BIAS": "Required, from muse_bias.",
        "MASTER_DARK": "Subtracted if given; rarely needed.",
        "MASTER_FLAT": "Required, from muse_flat.",
        "BADPIX_TABLE": "Pixels to leave out besides those that the masters flag.",
        "TRACE_TABLE": "Required, from muse_flat.",
        "WAVECAL_TABLE": "Required, from muse_wavecal.",
        "GEOMETRY_TABLE": "Required, from muse_geometry or the static calibrations.",
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
        "vignsmooth": (
            ("polyfit", "Polynomial of orders vignxpar and vignypar."),
            ("gaussian", "Gaussian of widths vignxpar and vignypar."),
            ("median", "Median filter of sizes vignxpar and vignypar."),
        ),
    },
)

# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_lsf says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import shared
from muse_core.manuals.detector import CALIBRATIONS
from muse_core.manuals.wavecal import CATALOG, COMBINE, LAMPS

MASTERS = ("MASTER_BIAS", "MASTER_DARK", "BADPIX_TABLE", "TRACE_TABLE", "WAVECAL_TABLE")
MANUAL = Manual(
    {
        "ARC": f"At least one frame of ARC or ARC_LSF is needed. {LAMPS}",
        "ARC_LSF": "Like ARC, or in place of it: the long sequence that makes profiles of little noise.",
        **{tag: CALIBRATIONS[tag] for tag in MASTERS},
        "MASTER_FLAT": "Divided by if given; not needed.",
        "LINE_CATALOG": CATALOG,
    },
    {
        "calib_mismatch": shared.VALUES["calib_mismatch"],
        "combine": COMBINE,
        "method": (
            ("interpolate", "An image of the profile for each slice."),
            ("hermit", "Refused: parameters of a Gauss-Hermite profile, which are degenerate."),
        ),
    },
)

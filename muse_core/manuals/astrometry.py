# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_astrometry says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import scipost

MANUAL = Manual(
    {
        "PIXTABLE_ASTROMETRY": (
            "Required: one per IFU and exposure, from muse_scibasic. Each exposure makes its own solution."
        ),
        "ASTROMETRY_REFERENCE": (
            "Required: catalogues of fields, one table for each (RA, DEC, mag); the one nearest to the "
            "pointing is taken, within an arc minute."
        ),
        "STD_RESPONSE": "If given, the data are flux calibrated; the solution does not need that.",
        "EXTINCT_TABLE": "For the flux calibration; not needed, the solution is the same without it.",
        "STD_TELLURIC": "For the flux calibration, in place of that of muse_standard; not needed.",
    },
    {
        "centroid": (
            ("gaussian", "Fit of a two-dimensional Gaussian with background."),
            ("moffat", "Fit of a Moffat profile of exponent 2.5."),
            ("box", "Centre of the light in a box."),
        ),
        "darcheck": scipost.VALUES["darcheck"],
        "dar_method": scipost.VALUES["dar_method"],
        "calib_mismatch": scipost.VALUES["calib_mismatch"],
    },
    scipost.MANUAL.environment,
)

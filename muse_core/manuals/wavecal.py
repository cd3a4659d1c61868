# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_wavecal says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import shared
from muse_core.manuals.detector import CALIBRATIONS

LAMPS = (
    "Which lamps were on is read from ESO INS LAMPi ST and SHUTi ST; exposures of the same lamps are "
    "combined, those without a lamp left out."
)
ARCS = f"Required. {LAMPS}"
CATALOG = (
    "Required. Table of lambda, flux, ion, quality, with VERSION = 3, from the static calibrations. Quality "
    "0: never used; 1: for the identification alone; 2: member of a multiplet; 3: good; 5: good, and a "
    "reference of the line width."
)
COMBINE = (
    ("average", "Mean of the exposures."),
    ("median", "Median of the exposures; needs two."),
    ("minmax", "Mean without the lowest and the highest value; needs three exposures."),
    ("sigclip", "Mean of the values within 3 deviations of the median; needs three exposures."),
)

MANUAL = Manual(
    {
        "ARC": ARCS,
        **{tag: CALIBRATIONS[tag] for tag in ("MASTER_BIAS", "MASTER_DARK", "BADPIX_TABLE", "TRACE_TABLE")},
        "MASTER_FLAT": "Divided by if given; not needed.",
        "LINE_CATALOG": CATALOG,
    },
    {
        "calib_mismatch": shared.VALUES["calib_mismatch"],
        "combine": COMBINE,
        "fitweighting": (
            ("uniform", "All places count alike."),
            ("cerr", "Each place counts by the error of its fit."),
            ("scatter", "Each line counts by the scatter of its places about a smooth curve."),
            ("cerrscatter", "Both are added in quadrature."),
        ),
        "lampwise": (
            ("true", "Lines are detected and identified in the image of each lamp."),
            ("false", "All images are added; the lines found in the sum are fitted in it."),
        ),
    },
)

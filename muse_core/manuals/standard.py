# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_standard says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import scipost

MANUAL = Manual(
    {
        "PIXTABLE_STD": (
            "Required: one per IFU and exposure, from muse_scibasic. Each exposure makes products of its own."
        ),
        "EXTINCT_TABLE": (
            "Without it the extinction at the airmass of the star stays in the response (a warning)."
        ),
        "STD_FLUX_TABLE": (
            "Required: fluxes of standard stars, one table for each, in the format of MUSE or of CALSPEC; "
            "the one nearest to the pointing is taken, within an arc minute."
        ),
        "TELLURIC_REGIONS": "Bands of absorption, and the ranges around them, in place of the built-in ones.",
        "FILTER_LIST": "Needed for all filters but white, and for the zeropoints in V, R and I.",
    },
    {
        "profile": (
            ("gaussian", "Fit of a two-dimensional Gaussian in each plane: too little flux for real stars."),
            ("moffat", "Fit of a Moffat profile in each plane."),
            (
                "smoffat",
                "The same, then the shape is made a smooth function of wavelength, and the fluxes are fitted "
                "again.",
            ),
            ("circle", "Sum in a circle of 4 times the width of the star, without what lies outside."),
            ("square", "Sum in a square of 6 times the width of the star."),
            ("auto", "smoffat in the wide field, circle in the narrow field."),
        ),
        "select": (
            ("flux", "The brightest star of the field."),
            ("distance", "The one nearest to the pointing."),
        ),
        "smooth": (
            ("none", "The response of each plane."),
            ("median", "Medians over 30 Angstrom."),
            ("ppoly", "Cubic polynomials over 300 Angstrom, then means over 30 Angstrom."),
        ),
        "darcheck": scipost.VALUES["darcheck"],
        "dar_method": scipost.VALUES["dar_method"],
        "calib_mismatch": scipost.VALUES["calib_mismatch"],
    },
    scipost.MANUAL.environment,
)

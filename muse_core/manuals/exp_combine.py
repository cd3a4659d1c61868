# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_exp_combine says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import scipost

MANUAL = Manual(
    {
        "PIXTABLE_REDUCED": "Required, of two exposures or more, from muse_scipost with save=individual.",
        **{tag: scipost.INPUTS[tag] for tag in ("OFFSET_LIST", "FILTER_LIST", "OUTPUT_WCS")},
        "DATACUBE_SUMS": (
            "What save=sums has written before: the exposures given are added to those in it, on its grid, "
            "with its weights and resampling. At least one exposure is needed then."
        ),
    },
    {
        "save": (
            ("cube", "DATACUBE_FINAL, and an IMAGE_FOV for every filter."),
            ("combined", "PIXTABLE_COMBINED: all exposures in one table."),
            ("sums", "DATACUBE_SUMS, to which exposures can be added later; the cube is made with it."),
        ),
        **{name: scipost.VALUES[name] for name in ("resample", "crtype", "format", "table_layout")},
        "weight": (
            *scipost.VALUES["weight"][:2],
            ("header", "By the keyword for weights in the headers of the pixel tables."),
            *scipost.VALUES["weight"][2:],
            ("invvar", "By the inverse of the variance of the background, measured along wavelength."),
        ),
        "exposures": (
            ("none", "No extension."),
            ("image", "The mean number of exposures of each spaxel, along wavelength."),
            ("cube", "The number of exposures in each voxel, after the rejection."),
        ),
    },
    scipost.MANUAL.environment,
)

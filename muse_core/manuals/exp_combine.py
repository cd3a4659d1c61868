# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_exp_combine says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import scipost

MANUAL = Manual(
    {
        "PIXTABLE_REDUCED": "Required, of two exposures or more, from muse_scipost with save=individual.",
        **{tag: scipost.INPUTS[tag] for tag in ("OFFSET_LIST", "FILTER_LIST", "OUTPUT_WCS")},
    },
    {
        **{name: scipost.VALUES[name] for name in ("resample", "crtype", "format")},
        "weight": (
            *scipost.VALUES["weight"][:2],
            ("header", "By the keyword for weights in the headers of the pixel tables."),
            *scipost.VALUES["weight"][2:],
        ),
    },
    scipost.MANUAL.environment,
)

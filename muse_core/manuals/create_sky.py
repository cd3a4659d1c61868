# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_create_sky says of its inputs."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import scipost

MANUAL = Manual(
    {
        **{tag: scipost.INPUTS[tag] for tag in ("EXTINCT_TABLE", "STD_TELLURIC")},
        "PIXTABLE_SKY": "Required: one per IFU of one exposure, from muse_scibasic, or a merged one.",
        "STD_RESPONSE": "Required (unless the tables are flux calibrated already), from muse_standard.",
        "SKY_LINES": "Required: lines in groups; their fluxes are first guesses.",
        "SKY_CONTINUUM": "If given, it is saved as the product; without it the recipe makes one.",
        "LSF_PROFILE": "Required, from muse_lsf, one per IFU or merged.",
        "SKY_MASK": (
            "Where to look for sky: only this part of the field makes the image of which the darkest spaxels "
            "are taken. Needed where objects fill much of the field."
        ),
    },
    {"dar_method": scipost.VALUES["dar_method"], "calib_mismatch": scipost.VALUES["calib_mismatch"]},
    scipost.MANUAL.environment,
)

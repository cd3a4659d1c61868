# SPDX-License-Identifier: BSD-3-Clause
"""What the manual pages of the single steps (muse_scipost_*) say of their inputs, and of parameter values."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import scipost

INPUTS = {
    **scipost.INPUTS,
    "PIXTABLE_OBJECT": (
        "Required: tables of muse_scibasic, or what another step has made of them (PIXTABLE_REDUCED, "
        "PIXTABLE_COMBINED), under this tag."
    ),
    "PIXTABLE_REDUCED": "Required: flux-calibrated tables, each of which is corrected for itself.",
    "STD_RESPONSE": "Required, from muse_standard.",
    "ASTROMETRY_WCS": "Required, from muse_astrometry.",
    "OFFSET_LIST": (
        "For several exposures, from muse_exp_align or muse_imphot: without it the pointings in the headers "
        "are believed. A single exposure is not moved."
    ),
    "RAMAN_LINES": "Required: wavelengths and relative strengths of the lines.",
    "LSF_PROFILE": "Required, from muse_lsf, one per IFU or merged.",
    "SKY_LINES": "Required: lines with the fluxes to subtract, of muse_create_sky or muse_scipost.",
    "SKY_CONTINUUM": "Required, of muse_create_sky or muse_scipost.",
    "SKY_SPECTRUM": "Required, of muse_create_sky or muse_scipost with skymethod=simple.",
    "SKY_MASK": "Where sky is; without it all of the field is looked at.",
}

VALUES = {"format": tuple(told for told in scipost.VALUES["format"] if told[0] != "sdpCube")}


def manual(*inputs: str, values: tuple[str, ...] = ()) -> Manual:
    """Return the manual of a recipe with these inputs, and parameters whose values are told."""
    told = {name: VALUES.get(name, scipost.VALUES[name]) for name in values}
    return Manual({tag: INPUTS[tag] for tag in inputs}, told, scipost.MANUAL.environment)

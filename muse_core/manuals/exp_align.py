# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_exp_align says of its inputs."""

from __future__ import annotations

from muse_core.framework.spec import Manual

MANUAL = Manual(
    {
        "IMAGE_FOV": (
            "Required, two or more: one per exposure, from muse_scipost. The offsets are relative to the "
            "first one."
        ),
        "SOURCE_LIST": (
            "Used with override_detection=true only, one per image in the same order: positions that you "
            "trust more than those the recipe finds."
        ),
        "REFERENCE_IMAGE": (
            "Aligns all exposures to right coordinates in place of those of the first exposure. An input of "
            "ours; the C recipe has none."
        ),
        "REFERENCE_CATALOG": (
            "The same, from a catalogue of positions, in place of REFERENCE_IMAGE. Without it the exposures "
            "are right relative to the first one only. An input of ours."
        ),
    },
)

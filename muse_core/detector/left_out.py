# SPDX-License-Identifier: BSD-3-Clause
"""What recipes for raw frames leave out because a calibration is not there: a QC flag each, and warnings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_core.framework.context import RunContext
    from muse_core.framework.frames import Frames
    from muse_core.framework.products import Card

CORRECTIONS = {
    "MASTER_DARK": ("CORRECTED DARK", "MASTER_DARK was subtracted", ""),
    "ILLUM": (
        "CORRECTED ILLUM",
        "ILLUM evened out the slices",
        "no ILLUM: the relative levels of the slices are those of the MASTER_FLAT",
    ),
    "TWILIGHT_CUBE": (
        "CORRECTED TWILIGHT",
        "TWILIGHT_CUBE evened out the field",
        "no TWILIGHT_CUBE: the illumination of the field is not corrected (muse_twilight makes one)",
    ),
    "VIGNETTING_MASK": ("CORRECTED VIGNETTING", "VIGNETTING_MASK tells the vignetted corner", ""),
}
"""Input -> end of the keyword, its comment, and the warning where it is missing.

There is no warning where most nights do without: the dark current of MUSE is small against its noise, and the
corner of the field has not been vignetted since March 2017.
"""

OF_TABLES = ("ILLUM", "TWILIGHT_CUBE")
"""Inputs of muse_scibasic that correct the rows of its pixel tables, not its images."""


def tell_of_corrections(tags: Iterable[str], frames: Frames, ctx: RunContext) -> None:
    """Flag what is corrected, and what is not because the input is missing; call it before the products."""
    for tag in tags:
        flag, comment, text = CORRECTIONS[tag]
        if not frames[tag] and text:
            ctx.undone(flag, text, comment)
        else:
            ctx.flag(flag, bool(frames[tag]), comment)


def cards_without(tags: Iterable[str], ctx: RunContext) -> tuple[Card, ...]:
    """Flags of a product for which an input, although given, was of no use; they count for it alone."""
    if ctx.defects:
        return ()
    claims = (CORRECTIONS[tag] for tag in tags)
    return tuple((f"{ctx.spec.qc_prefix} {flag}", False, comment) for flag, comment, _ in claims)


def flag_as_missing(tag: str, ctx: RunContext) -> None:
    """Take the claim of a run back: an input, although given, was of no use for all of it."""
    flag, comment, _ = CORRECTIONS[tag]
    ctx.flag(flag, False, comment)

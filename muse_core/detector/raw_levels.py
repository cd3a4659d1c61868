# SPDX-License-Identifier: BSD-3-Clause
"""Whether the counts of raw frames can be true: beside the other frames of their kind, and below saturation.

A few rows of each channel are enough; what they say is compared by the rules of the tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.input_rules import rules_of
from muse_core.data.rules import LEVELS, check
from muse_core.detector.rawframe import RawFile
from muse_core.framework.errors import InputError

if TYPE_CHECKING:
    from muse_core.framework import RunContext

SATURATED = 65500
"""Counts (adu) from which a pixel is full: the converter ends at 65535."""
_ROWS, _EVERY = 8, 4
"""Rows of a channel that are looked at, and every how manyth pixel of them."""


def check_levels(raws: Sequence[RawFile], tag: str, ifus: Sequence[int], ctx: RunContext) -> None:
    """Warn of frames whose counts differ from those of the others, or that are saturated.

    Parameters
    ----------
    raws : sequence of RawFile
        Exposures that should be alike: of one tag, of the same lamps.
    tag : str
    ifus : sequence of int
        Channels that are processed; those that a file lacks are left out.
    ctx : RunContext
    """
    rules = [rule for rule in rules_of(ctx.spec.name, tag) if rule.about == LEVELS]
    if not rules:
        return
    for ifu in ifus:
        found: dict[Path, dict[str, float]] = {}
        for raw in raws:
            if ifu in raw.headers and (sample := _sample(raw, ifu)) is not None:
                found[raw.path] = {
                    "LEVEL": float(np.median(sample)),
                    "SATURATED": float(np.mean(sample >= SATURATED)),
                    "EMPTY": float(np.mean(sample == 0)),
                }
        for path, values in found.items():
            others = [other["LEVEL"] for name, other in found.items() if name != path]
            compared = {"OTHERS": float(np.median(others))} if others else {}
            check(f"{path} (CHAN{ifu:02d})", rules, values | compared, ctx, about=LEVELS)


def _sample(raw: RawFile, ifu: int) -> npt.NDArray[np.uint16] | None:
    """Some pixels of a channel; None where they cannot be read, which is told by who reads all of them."""
    height, width = raw.quadrants[ifu][0].frame_shape
    chosen = np.unique(np.linspace(0, height - 1, _ROWS + 2).astype(np.int64)[1:-1])
    try:
        if ifu not in raw.offsets:
            return raw.read(ifu)[chosen, ::_EVERY]
        rows = np.empty((chosen.size, width), np.uint16)
        for y, row in zip(chosen.tolist(), rows, strict=True):
            raw.rows(ifu, y, y + 1, row[None])
        return rows[:, ::_EVERY]
    except (InputError, OSError):
        return None

# SPDX-License-Identifier: BSD-3-Clause
"""Whether calibrations of the detector say what can be true (the rules of their tags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.input_rules import rules_of
from muse_core.data.pixel_rules import check_pixels
from muse_core.data.rules import check
from muse_core.detector.tables import NSLICE, SliceGeometry

if TYPE_CHECKING:
    from muse_core.framework import RunContext

MASTERS = ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT")


def check_masters(paths: Mapping[str, Sequence[Path]], ctx: RunContext) -> None:
    """Look at a sample of the pixels of all master images of a run."""
    for tag in MASTERS:
        for path in paths.get(tag, ()):
            check_pixels(path, tag, ctx)


def check_geometry(path: Path, geometry: Mapping[int, SliceGeometry], ctx: RunContext) -> None:
    """Look at the places of the slices of all IFUs."""
    if not geometry:
        return
    columns = {
        "SubField": np.repeat(list(geometry), NSLICE),
        "x": np.concatenate([own.x for own in geometry.values()]),
        "y": np.concatenate([own.y for own in geometry.values()]),
        "angle": np.rad2deg(np.concatenate([own.angle for own in geometry.values()])),
        "width": np.concatenate([own.width for own in geometry.values()]),
    }
    check(path, rules_of(ctx.spec.name, "GEOMETRY_TABLE"), columns, ctx)

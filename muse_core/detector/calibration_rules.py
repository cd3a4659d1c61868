# SPDX-License-Identifier: BSD-3-Clause
"""Whether calibrations of the detector say what can be true (the rules of their tags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.input_rules import rules_of
from muse_core.data.pixel_rules import check_pixels
from muse_core.data.rules import check
from muse_core.detector.tables import NSLICE, SliceGeometry, file_of

if TYPE_CHECKING:
    from muse_core.detector.calibrations import CalibrationFiles
    from muse_core.framework import RunContext

MASTERS = ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT")


def check_calibrations(paths: Mapping[str, Sequence[Path]], files: CalibrationFiles, ctx: RunContext) -> None:
    """Look at a sample of the pixels of all master images of a run, at the traces and the bad pixels."""
    for tag in MASTERS:
        for path in paths.get(tag, ()):
            check_pixels(path, tag, ctx)
    check_traces_apart(files.found["TRACE_TABLE"], paths.get("TRACE_TABLE", ()), ctx)
    for ifu, lists in files.found["BADPIX_TABLE"].items():
        columns = {
            "xpos": np.concatenate([each.x for each in lists]),
            "ypos": np.concatenate([each.y for each in lists]),
        }
        check(
            _named("BADPIX_TABLE", paths.get("BADPIX_TABLE", ()), ifu),
            rules_of(ctx.spec.name, "BADPIX_TABLE"),
            columns,
            ctx,
        )


def _named(tag: str, paths: Sequence[Path], ifu: int) -> str:
    """Return the file that a table of an IFU is in, and its extension, for a message."""
    return f"{file_of(tag, paths, ifu)}: CHAN{ifu:02d}"


def check_traces_apart(
    traces: Mapping[int, npt.NDArray[np.float64]], paths: Sequence[Path], ctx: RunContext
) -> None:
    """Look at the places of the slices of all IFUs on their detectors, in the first row.

    Parameters
    ----------
    traces : mapping of int to float64[48, lines, n]
        Edge polynomials by IFU.
    paths : sequence of Path
        The files that they come from.
    """
    for ifu, polynomials in traces.items():
        places = {"PLACES": polynomials.sum(axis=2).mean(axis=1)}
        check(_named("TRACE_TABLE", paths, ifu), rules_of(ctx.spec.name, "TRACE_TABLE"), places, ctx)


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

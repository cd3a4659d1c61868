# SPDX-License-Identifier: BSD-3-Clause
"""Open and check what muse_wavecal and muse_lsf need, before the first pixel is processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from muse_core.arcs.catalog import LineCatalog, read_line_catalog
from muse_core.arcs.lamps import Lamps, by_lamps, lamps_of
from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import check
from muse_core.detector.calibrations import attempt
from muse_core.detector.raw_levels import check_levels
from muse_core.detector.raw_sets import RawSet, open_raw_set
from muse_core.detector.rawframe import RawFile
from muse_core.detector.tables import NSLICE, read_trace_polynomials
from muse_core.framework.errors import InputError
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues

LEAST_WIDTH, MOST_WIDTH = 1.0, 120.0  # pixels of a slice
MOST_OUTSIDE = 20.0  # pixels that a slice may leave the detector by


@dataclass(frozen=True)
class ArcInputs:
    """Checked inputs.

    Attributes
    ----------
    found : RawSet
    groups : list of (Lamps, list of RawFile)
        Exposures of the same lamps, in the order of first appearance.
    catalog : LineCatalog
    traces : dict of int to float64[48, 3, n]
        Middle, left and right edge of each slice, by IFU.
    mode : str
        ``ESO INS MODE``.
    """

    found: RawSet
    groups: list[tuple[Lamps, list[RawFile]]]
    catalog: LineCatalog
    traces: dict[int, npt.NDArray[np.float64]]
    mode: str


@dataclass(frozen=True)
class SliceTraces:
    """Slices of one IFU on the rows of its detector.

    Attributes
    ----------
    middle, left, right : float64[48, ny]
        1-based pixels.
    usable : bool[48]
        Slices whose polynomials are there.
    """

    middle: npt.NDArray[np.float64]
    left: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]
    usable: npt.NDArray[np.bool_]


def open_arcs(
    frames: Frames, tags: Sequence[str], required: Sequence[str], p: ParamValues, ctx: RunContext
) -> ArcInputs:
    """Open all files, read all headers and tables.

    Raises
    ------
    InputError
        With all faults that concern the whole run.
    """
    problems = ctx.problems
    catalog = None
    if frames["LINE_CATALOG"]:
        catalog = attempt(problems, read_line_catalog, frames["LINE_CATALOG"][0].path, default=None)
    for tag in tags:
        frames[tag]  # of all raw tags some may be missing: these are the ones that are read
    found = open_raw_set(frames, tags, required, p, ctx)
    groups = _groups(found, catalog, ctx)
    for _, raws in groups:
        check_levels(raws, "ARC", found.ifus, ctx)
    paths = [frame.path for frame in frames["TRACE_TABLE"]]
    traces = read_trace_polynomials(paths, {}, (0, 1, 2)) if paths else {}
    if catalog is not None:
        check(
            frames["LINE_CATALOG"][0].path,
            INPUT_RULES["LINE_CATALOG"],
            {"lambda": catalog.lam, "flux": catalog.flux},
            ctx,
        )
    problems.raise_if_any()
    if catalog is None:
        raise InputError("", "input LINE_CATALOG", expected="one frame with this tag", found="none")
    mode = str(found.raws[0].primary.get("ESO INS MODE", ""))
    return ArcInputs(found, groups, catalog, traces, mode)


def _groups(found: RawSet, catalog: LineCatalog | None, ctx: RunContext) -> list[tuple[Lamps, list[RawFile]]]:
    """Exposures by their lamps; those without one are left out."""
    if not found.raws:
        ctx.problems.add(
            "",
            "raw frames",
            expected=f"at least one frame with the tag {' or '.join(found.tags)}",
            found="none",
            remedy="Check the tags in the set-of-frames file.",
        )
        return []
    groups = by_lamps([(raw, lamps_of(raw.primary)) for raw in found.raws])
    lit = [(lamps, raws) for lamps, raws in groups if lamps]
    dark = [raw.path.name for lamps, raws in groups if not lamps for raw in raws]
    if not lit:
        ctx.problems.add(
            found.raws[0].path,
            "ESO INS LAMPi ST, SHUTi ST",
            expected="an arc lamp that is switched on, with its shutter open",
            found=f"none in {len(found.raws)} exposures",
            remedy="Use exposures of arc lamps (DPR TYPE = WAVE).",
        )
        return []
    if dark:
        ctx.log.warning("no arc lamp switched on, exposure left out: %s", ", ".join(dark))
    if catalog is not None:
        without = [lamps for lamps, _ in lit if not catalog.shown_by(lamps).any()]
        for lamps in without:
            ctx.log.warning("the LINE_CATALOG has no line of %s: its exposures are of no use", lamps)
        if len(without) == len(lit):
            ctx.problems.add(
                "", "LINE_CATALOG column ion", expected="lines of the lamps that were on", found="none"
            )
    return lit


def slice_traces(
    polynomials: npt.NDArray[np.float64], shape: tuple[int, int], file: Path | str, ifu: int
) -> SliceTraces:
    """Evaluate the traces of an IFU, and compare them with its detector.

    Parameters
    ----------
    polynomials : float64[48, 3, n]
    shape : tuple of int
        ``(ny, nx)``.
    file : path-like
        Of the polynomials, for a message.
    ifu : int

    Raises
    ------
    InputError
        If table and detector do not belong together, or no slice has polynomials.
    """
    ny, nx = shape
    rows = np.arange(1, ny + 1, dtype=np.float64)
    lines = np.einsum("sek,rk->esr", polynomials, rows[:, None] ** np.arange(polynomials.shape[2]))
    middle, left, right = lines
    usable = np.asarray(np.isfinite(polynomials).all(axis=(1, 2)), bool)
    width = right - left
    with np.errstate(invalid="ignore"):
        odd = (width < LEAST_WIDTH) | (width > MOST_WIDTH)
        odd |= ~((left <= middle) & (middle <= right))
        odd |= (right < 1 - MOST_OUTSIDE) | (left > nx + MOST_OUTSIDE)
    bad = usable & odd.any(axis=1)
    if bad.any() or not usable.any():
        number = int(np.flatnonzero(bad if bad.any() else ~usable)[0]) + 1
        raise InputError(
            file,
            f"CHAN{ifu:02d} slice {number}",
            expected=f"edges between 1 and {nx}, left < right",
            found=f"others in {int(bad.sum())} of {NSLICE} slices" if bad.any() else "no slice with a trace",
            remedy="Trace table and detector must belong together.",
        )
    return SliceTraces(middle, left, right, usable)

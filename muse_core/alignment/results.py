# SPDX-License-Identifier: BSD-3-Clause
"""What was found for each of the exposures, those that were left out included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Rows
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.offsets.alignment import EXTERNAL, Alignment, Group
from muse_core.alignment.offsets.confidence import Confidence
from muse_core.alignment.offsets.flux_scale import measure_flux_scales
from muse_core.alignment.references import Reference
from muse_core.alignment.sources.source_list import SourceList
from muse_core.framework.context import RunContext


@dataclass(frozen=True)
class Results:
    """Offsets as they are written, one row for each exposure.

    Parameters
    ----------
    offsets : float64[n, 2]
        Degrees of coordinate; 0 where no offset can be trusted.
    turn_deg : float64[n]
        Rotation that the header does not tell, to be added to the position angle; 0 if within its error.
    used : bool[n]
        The exposures that belong together: in the preview.
    matches : int64[n]
        Median number of matches with the other exposures.
    confidence : Confidence
        Of each exposure.
    corrected : list of (float64[sources], float64[sources])
        Right ascension and declination of the sources with the offset.
    flux_scale, flux_scale_error : float64[n]
        Factor on the data that brings them to the level of the reference; NaN if it was not measured.
    """

    offsets: Floats
    turn_deg: Floats
    used: Flags
    matches: Rows
    confidence: Confidence
    corrected: list[tuple[Floats, Floats]]
    flux_scale: Floats
    flux_scale_error: Floats


def exposures_to_align(
    fields: Sequence[FieldInfo],
    sources: Sequence[SourceList],
    reference: Reference | None = None,
) -> Group:
    """Join the exposures that have sources, behind the reference if there is one."""
    members = [n for n, own in enumerate(sources) if len(own)]
    group = Group([fields[n] for n in members], [sources[n] for n in members], members)
    if reference is None:
        return group
    sources = [reference.sources, *group.sources]
    return Group([reference.info, *group.fields], sources, [EXTERNAL, *group.members])


def collect_results(
    sources: Sequence[SourceList], alignment: Alignment, verdict: Confidence, ctx: RunContext
) -> Results:
    """Bring what was found for the members of the group to all exposures.

    An offset that cannot be trusted becomes 0, unless the parameter ``keep_untrusted`` or the compatible mode
    keeps it.
    """
    keep_untrusted = ctx.params.keep_untrusted or ctx.defects.untrusted_offsets_written
    count = len(sources)
    offsets, turn, matches = np.zeros((count, 2)), np.zeros(count), np.zeros(count, dtype=np.int64)
    used = np.zeros(count, dtype=bool)
    corrected = [(own.ra, own.dec) for own in sources]
    row = np.full(count, -1)
    for k, n in enumerate(alignment.group.members):
        if n == EXTERNAL:
            continue
        row[n] = k
        matches[n] = alignment.solution.matches[k]
        used[n] = keep_untrusted or verdict.trusted[k]
        if used[n]:
            offsets[n] = alignment.solution.offsets[k]
            turn[n] = alignment.turn_deg[k]
            corrected[n] = alignment.corrected[k]
    if not used.any():  # what is left is the reference, whose offset is 0
        used[np.flatnonzero(row >= 0)[0]] = True
    elif not alignment.group.external:
        used[alignment.group.members[0]] = True
    scale, scale_error = np.full(count, np.nan), np.full(count, np.nan)
    if ctx.params.flux_scale:
        scales = measure_flux_scales(alignment, verdict)
        inside = row >= 0
        scale[inside], scale_error[inside] = (values[row[inside]] for values in scales)
    return Results(
        offsets, turn, used, matches, _for_all(verdict, row, sources), corrected, scale, scale_error
    )


def _for_all(verdict: Confidence, row: Rows, sources: Sequence[SourceList]) -> Confidence:
    """Return the verdict on all exposures; ``row`` is the place of each in the group, -1 for none."""
    inside = row >= 0
    values: dict[str, Any] = {}
    for entry in fields(Confidence):
        old = getattr(verdict, entry.name)
        if not isinstance(old, np.ndarray):
            continue
        new = np.full(row.size, np.nan) if old.dtype.kind == "f" else np.zeros(row.size, dtype=old.dtype)
        new[inside] = old[row[inside]]
        values[entry.name] = new
    reasons = tuple(
        verdict.reasons[k] if k >= 0 else f"left out, {own.left_out}"
        for k, own in zip(row, sources, strict=True)
    )
    return replace(verdict, reasons=reasons, **values)

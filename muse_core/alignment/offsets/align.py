# SPDX-License-Identifier: BSD-3-Clause
"""From the sources of all exposures to their offsets, in the coordinates that suit the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muse_core.alignment.arrays import Floats
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.offsets.matching import SourceTable
from muse_core.alignment.offsets.pole_frame import PoleFrame, needs_pole_frame
from muse_core.alignment.offsets.solution import OffsetSolution, solve_offsets
from muse_core.alignment.sources.source_list import SourceList
from muse_core.framework.defects import Defects


@dataclass(frozen=True)
class Alignment:
    """The offsets, the positions they were found from, and the positions after them.

    ``table`` minus ``solution.shifts`` are the aligned positions; ``corrected`` has right ascension and
    declination of the sources of each exposure.
    """

    table: SourceTable
    solution: OffsetSolution
    corrected: list[tuple[Floats, Floats]]


def align(
    fields: Sequence[FieldInfo],
    sources: Sequence[SourceList],
    radii_arcsec: Sequence[float],
    nbins: int,
    *,
    weighted: bool,
    defects: Defects,
) -> Alignment:
    """Find the offsets, from differences of coordinates or, near the poles, on the sky.

    Parameters
    ----------
    fields : sequence of FieldInfo
    sources : sequence of SourceList
    radii_arcsec, nbins, weighted, defects
        As for `solve_offsets`.
    """
    if needs_pole_frame(fields) and not defects.coordinates_near_poles:
        frame = PoleFrame(fields, sources)
        solved = solve_offsets(
            frame.table, radii_arcsec, nbins, weighted=weighted, defects=defects, frame=frame
        )
        return Alignment(frame.table, solved, [frame.sky(n) for n in range(len(sources))])
    table = SourceTable.from_lists([(s.ra, s.dec) for s in sources])
    solved = solve_offsets(table, radii_arcsec, nbins, weighted=weighted, defects=defects)
    corrected = [(s.ra - o[0], s.dec - o[1]) for s, o in zip(sources, solved.offsets, strict=True)]
    return Alignment(table, solved, corrected)

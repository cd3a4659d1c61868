# SPDX-License-Identifier: BSD-3-Clause
"""From the sources of all exposures to their offsets, in the coordinates that suit the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .exposure import source_table
from .local import LocalFrame, needs_local_frame
from .matching import SourceTable
from .solution import OffsetSolution, solve_offsets


@dataclass(frozen=True)
class Alignment:
    """The offsets, the positions they were found from, and the positions after them.

    ``table`` minus ``solution.shifts`` are the aligned positions; ``corrected`` has right ascension and
    declination of the sources of each exposure.
    """

    table: SourceTable
    solution: OffsetSolution
    corrected: list[tuple[np.ndarray, np.ndarray]]


def align(fields, sources, radii_arcsec, nbins: int, *, weighted: bool, compat: bool) -> Alignment:
    """Find the offsets, from differences of coordinates or (near the poles, unless ``compat``) on the sky.

    Parameters
    ----------
    fields : sequence of FieldInfo
    sources : sequence of SourceList
    radii_arcsec, nbins, weighted, compat
        As for `solve_offsets`.
    """
    if needs_local_frame(fields) and not compat:
        frame = LocalFrame(fields, sources)
        solved = solve_offsets(frame.table, radii_arcsec, nbins, weighted=weighted, compat=False, frame=frame)
        return Alignment(frame.table, solved, [frame.sky(n) for n in range(len(sources))])
    table = source_table(sources)
    solved = solve_offsets(table, radii_arcsec, nbins, weighted=weighted, compat=compat)
    corrected = [(s.ra - o[0], s.dec - o[1]) for s, o in zip(sources, solved.offsets, strict=True)]
    return Alignment(table, solved, corrected)

# SPDX-License-Identifier: BSD-3-Clause
"""The offsets of a group of exposures, in the coordinates that suit the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from muse_core.alignment.arrays import Flags, Floats
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.offsets.matching import SourceTable
from muse_core.alignment.offsets.pole_frame import PoleFrame, needs_pole_frame
from muse_core.alignment.offsets.solution import OffsetSolution, solve_offsets
from muse_core.alignment.sources.source_list import SourceList, sky_positions
from muse_core.data.tangent_plane import TanWcs
from muse_core.framework.defects import Defects

EXTERNAL = -1


@dataclass(frozen=True)
class Group:
    """Exposures that are aligned with each other; the first one is the reference.

    Parameters
    ----------
    fields, sources : sequences of FieldInfo and SourceList
    members : sequence of int
        Their numbers among all exposures; `EXTERNAL` for a reference that is none of them.
    """

    fields: Sequence[FieldInfo]
    sources: Sequence[SourceList]
    members: Sequence[int]

    @property
    def external(self) -> bool:
        """Tell whether the reference is an image or a catalogue that was given."""
        return self.members[0] == EXTERNAL

    def in_order(self, order: Sequence[int]) -> Group:
        """Return the group with its exposures in another order."""
        return Group(
            [self.fields[n] for n in order],
            [self.sources[n] for n in order],
            [self.members[n] for n in order],
        )

    def near_pole(self, defects: Defects) -> bool:
        """Tell whether offsets are found on the sky, not in differences of coordinates."""
        return needs_pole_frame(self.fields) and not defects.coordinates_near_poles

    def cosine(self, defects: Defects) -> float:
        """Scale of right ascension in the shifts of a solution."""
        dec = self.fields[0].centre[1]
        return 1.0 if self.near_pole(defects) else float(np.cos(np.radians(dec)))

    def turned(self, turn_deg: Floats) -> Group:
        """Return the group with the projections turned by angles (north towards east) about their CRPIX."""
        fields, sources = list(self.fields), list(self.sources)
        for n in np.flatnonzero(turn_deg):
            wcs = turned_wcs(fields[n].wcs, float(turn_deg[n]))
            fields[n] = replace(fields[n], wcs=wcs)
            ra, dec = sky_positions(wcs, sources[n].x, sources[n].y, positions_one_pixel_low=False)
            sources[n] = replace(sources[n], ra=ra, dec=dec)
        return replace(self, fields=fields, sources=sources)


def turned_wcs(wcs: TanWcs, angle_deg: float) -> TanWcs:
    """Return the projection with another position angle, larger by ``angle_deg``."""
    if angle_deg == 0.0:
        return wcs
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    cd = np.array([[cosine, sine], [-sine, cosine]]) @ np.array(wcs.cd)
    (a, b), (c, d) = cd.tolist()
    return replace(wcs, cd=((a, b), (c, d)))


@dataclass(frozen=True)
class Alignment:
    """The offsets, the positions they were found from, and the positions after them.

    ``table`` minus ``solution.shifts`` are the aligned positions; ``corrected`` has right ascension and
    declination of the sources of each exposure. ``turn_deg`` are rotations that were applied before, as in
    `Group.turned`; ``searched_turns`` tells for which exposures many were tried.
    """

    group: Group
    table: SourceTable
    solution: OffsetSolution
    corrected: list[tuple[Floats, Floats]]
    turn_deg: Floats
    searched_turns: Flags

    @property
    def fields(self) -> Sequence[FieldInfo]:
        """The exposures of the group, turned."""
        return self.group.fields

    @property
    def sources(self) -> Sequence[SourceList]:
        """Their sources, turned."""
        return self.group.sources

    @property
    def first_image(self) -> FieldInfo:
        """The first exposure proper."""
        return self.group.fields[1 if self.group.external else 0]


def solve_group(
    group: Group,
    radii_arcsec: Sequence[float],
    nbins: int,
    *,
    weighted: bool,
    defects: Defects,
    start: Floats | None = None,
    turn_deg: Floats | None = None,
    searched_turns: Flags | None = None,
) -> Alignment:
    """Find the offsets, from differences of coordinates or, near the poles, on the sky.

    Parameters
    ----------
    group : Group
    radii_arcsec, nbins, weighted, defects
        As for `solve_offsets`.
    start : float64[n, 2], optional
        Shifts on the sky (degrees) that are known already, in place of the first search.
    turn_deg : float64[n], optional
        Rotations to be applied to the exposures.
    searched_turns : bool[n], optional
    """
    count = len(group.fields)
    if turn_deg is None:
        turn_deg = np.zeros(count)
    if searched_turns is None:
        searched_turns = np.zeros(count, dtype=bool)
    group = group.turned(turn_deg)
    if group.near_pole(defects):
        frame = PoleFrame(group.fields, group.sources)
        solved = solve_offsets(
            frame.table, radii_arcsec, nbins, weighted=weighted, defects=defects, frame=frame, start=start
        )
        corrected = [frame.sky(n) for n in range(count)]
        return Alignment(group, frame.table, solved, corrected, turn_deg, searched_turns)
    table = SourceTable.from_lists([(s.ra, s.dec) for s in group.sources])
    if start is not None:
        start = start / [group.cosine(defects), 1.0]
    solved = solve_offsets(table, radii_arcsec, nbins, weighted=weighted, defects=defects, start=start)
    corrected = [(s.ra - o[0], s.dec - o[1]) for s, o in zip(group.sources, solved.offsets, strict=True)]
    return Alignment(group, table, solved, corrected, turn_deg, searched_turns)

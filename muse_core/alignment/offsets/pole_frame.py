# SPDX-License-Identifier: BSD-3-Clause
"""Positions in a frame of their own, for fields near a celestial pole.

An offset is a change of the reference coordinates of a header: consumers subtract it from RA and DEC of the
pointing, and position angles count from north at the new place. Far from the poles that moves all sources
by nearly the same coordinates, so differences of coordinates tell the offset. Near a pole it does not: a
search radius in degrees of right ascension shrinks to nothing, and the field turns with the meridian.
Here the sources are placed on the sky by their headers with the present offsets, in longitudes and latitudes
of a sphere whose equator runs through the field; there the same search and the same medians work as for a
field on the equator. Shifts in that frame become offsets by their derivatives, and what is left of the turn
is found in the next pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muse_core.alignment.arrays import Floats
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.offsets.matching import SourceTable
from muse_core.alignment.sources.source_list import SourceList
from muse_core.alignment.sphere import unit_vectors

LEAST_DEC = 60.0  # nearer to the equator the search of 2.8.7 reaches more than half of its radius
STEP_DEG = 1e-4  # of the derivatives, on the sky


def needs_pole_frame(fields: Sequence[FieldInfo]) -> bool:
    """Tell whether differences of coordinates are no good for these exposures."""
    return max(abs(info.wcs.crval[1]) for info in fields) > LEAST_DEC


class PoleFrame:
    """Sources of all exposures on the sky, for the offsets found so far.

    Parameters
    ----------
    fields : sequence of FieldInfo
    lists : sequence of SourceList

    Attributes
    ----------
    offsets : float64[n, 2]
        Present offsets in degrees of coordinate.
    shifts : float64[n, 2]
        What they do to the exposures in the frame, degrees.
    table : SourceTable
        Positions in the frame without the shifts: minus ``shifts`` they are those on the sky.
    """

    def __init__(self, fields: Sequence[FieldInfo], lists: Sequence[SourceList]) -> None:
        self._projections = [info.wcs for info in fields]
        self._pixels = [(s.x + 1.0, s.y + 1.0) for s in lists]
        ra, dec = np.radians(fields[0].centre)
        self._axes = np.array(
            [
                [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)],
                [-np.sin(ra), np.cos(ra), 0.0],
                [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)],
            ]
        )
        self.offsets = np.zeros((len(fields), 2))
        self.shifts = np.zeros((len(fields), 2))
        self.table = self._make_table()

    def sky(self, n: int) -> tuple[Floats, Floats]:
        """Right ascension and declination of the sources of an exposure with its offset, degrees."""
        return self._sky(n, self.offsets[n])

    def _sky(self, n: int, offset: Floats) -> tuple[Floats, Floats]:
        return self._projections[n].moved(-offset[0], -offset[1]).sky(*self._pixels[n])

    def _positions(self, n: int, offset: Floats) -> Floats:
        """Longitude and latitude in the frame, degrees, float64[2, sources]."""
        towards, east, north = self._axes @ unit_vectors(*self._sky(n, offset))
        return np.degrees([np.arctan2(east, towards), np.arctan2(north, np.hypot(east, towards))])

    def _make_table(self) -> SourceTable:
        return SourceTable.from_lists(
            [self._positions(n, self.offsets[n]) + self.shifts[n][:, None] for n in range(len(self.offsets))]
        )

    def move(self, shifts: Floats) -> None:
        """Change the offsets so that the mean source position of each exposure moves to ``shifts``."""
        for n, change in enumerate(shifts - self.shifts):
            if len(self._pixels[n][0]) and change.any():
                self.offsets[n] -= self._offset_of(n, change)
        self.shifts = np.array(shifts)
        self.table = self._make_table()

    def _offset_of(self, n: int, change: Floats) -> Floats:
        """Change of the offset that moves the exposure by ``change`` in the frame."""
        declination = np.radians(self._projections[n].crval[1] - self.offsets[n, 1])
        steps = STEP_DEG / max(np.cos(declination), STEP_DEG), STEP_DEG
        columns = []
        for axis, step in enumerate(steps):
            ends = []
            for sign in (0.5, -0.5):
                offset = self.offsets[n].copy()
                offset[axis] += sign * step
                ends.append(self._positions(n, offset).mean(axis=1))
            columns.append((ends[0] - ends[1]) / STEP_DEG)
        # at the pole itself right ascension only turns: then the declination alone is changed
        on_sky = np.linalg.lstsq(np.array(columns).T, change, rcond=1e-3)[0]
        return on_sky * np.array(steps) / STEP_DEG

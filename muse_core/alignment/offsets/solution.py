# SPDX-License-Identifier: BSD-3-Clause
"""One offset for each exposure from the relative offsets of all pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Rows
from muse_core.alignment.offsets.matching import PairValues, SourceTable, histogram_values, median_values
from muse_core.alignment.offsets.network import connected_groups, solve_network
from muse_core.alignment.offsets.pole_frame import PoleFrame
from muse_core.framework.defects import Defects

FRAME_PASSES = 6  # of one radius near a pole, at most
FRAME_TOLERANCE = 1e-6 / 3600.0  # degrees


@dataclass(frozen=True)
class OffsetSolution:
    """Offsets (degrees of coordinate, right ascension not scaled) relative to the first exposure.

    ``shifts`` are the same in the coordinates of the source table, which differ near the poles only.
    ``matches`` is the median number of matches of an exposure with the others, 0 if it has none; ``linked``
    tells whether it hangs together with the first exposure.
    """

    offsets: Floats
    shifts: Floats
    matches: Rows
    linked: Flags
    pairs: PairValues
    radius: float
    by_histogram: bool
    empty_radii: tuple[float, ...] = field(default=())


def median_matches(count: int, pairs: PairValues) -> Rows:
    """Median of the numbers of matches that each exposure has with others, truncated; 0 without any."""
    matches = np.zeros(count, dtype=np.int64)
    exposure = np.concatenate([pairs.i, pairs.j])
    number = np.concatenate([pairs.number, pairs.number])
    order = np.argsort(exposure, kind="stable")
    number = number[order]
    which, start = np.unique(exposure[order], return_index=True)
    for n, low, high in zip(which, start, np.append(start, number.size)[1:], strict=True):
        matches[n] = int(np.median(number[low:high]))
    return matches


def solve_offsets(
    table: SourceTable,
    radii_arcsec: Sequence[float],
    nbins: int,
    *,
    weighted: bool,
    defects: Defects,
    frame: PoleFrame | None = None,
    start: Floats | None = None,
) -> OffsetSolution:
    """Find the offsets of all exposures with a sequence of search radii.

    The first radius uses the peak of a histogram, the later ones medians; each solves for the total offsets
    from its own pairs only. There is no clipping and no use of the fluxes.

    Parameters
    ----------
    table : SourceTable
    radii_arcsec : sequence of float
    nbins : int
    weighted : bool
    defects : Defects
        ``unconnected_shifted``: the minimum-norm solution minus its first value, of which an exposure that
        matches nothing inherits the negative. Otherwise groups without connection to the first exposure keep
        the mean of their headers, which for a single exposure is its header.
    frame : PoleFrame, optional
        Its table is used in place of ``table`` and follows the offsets; the medians are then repeated until
        nothing moves any more.
    start : float64[nexp, 2], optional
        Shifts that are known from elsewhere; medians follow, repeated for each radius until nothing moves.
    """
    count = table.nexp
    shifts = np.zeros((count, 2)) if start is None else start.copy()
    if frame and start is not None:
        frame.move(shifts)
        table = frame.table
    first = 0 if start is None else -1  # number of the radius that takes a histogram
    empty = []
    nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
    pairs, radius = PairValues(none, none, none, nothing, nothing, nothing), 0.0
    label = np.arange(count)
    for k, arcsec in enumerate(radii_arcsec):
        radius = arcsec / 3600.0
        for _ in range(FRAME_PASSES if k > first and (frame or start is not None) else 1):
            before = shifts
            if k == first:
                pairs = histogram_values(table, shifts, radius, nbins, weighted=weighted)
            else:
                pairs = median_values(table, shifts, radius, weighted=weighted)
            values = np.column_stack([pairs.ra, pairs.dec])
            shifts = solve_network(count, pairs.i, pairs.j, values, pairs.weight)
            label = connected_groups(count, pairs.i, pairs.j)
            if defects.unconnected_shifted:
                shifts -= shifts[0].copy()
            else:
                shifts[label == label[0]] -= shifts[0].copy()
            if frame:
                frame.move(shifts)
                table = frame.table
            if np.abs(shifts - before).max() < FRAME_TOLERANCE:
                break
        if pairs.i.size == 0:
            empty.append(arcsec)
    return OffsetSolution(
        offsets=frame.offsets if frame else shifts,
        shifts=shifts,
        matches=median_matches(count, pairs),
        linked=label == label[0],
        pairs=pairs,
        radius=radius,
        by_histogram=len(radii_arcsec) == 1 and start is None,
        empty_radii=tuple(empty),
    )

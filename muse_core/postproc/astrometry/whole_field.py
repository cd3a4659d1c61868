# SPDX-License-Identifier: BSD-3-Clause
"""The field of the whole instrument, of which the pixel tables of an exposure may be a part.

The astrometric solution counts from the middle of the field. Where the outermost IFUs are missing the middle
of the data is another place, by half the height of an IFU (1.23 arcsec) for each of them, and exposures of
different position angle do not lie on each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from muse_core.data.exposure import Exposure
from muse_core.data.slices import N_IFU
from muse_core.postproc.exposure.row_limits import RowLimits

IFU_HEIGHT = 12.35
"""Pixels from one IFU to the next, in all modes (12 slices; the IFUs leave no gaps)."""


def whole_field(limits: RowLimits, heights: Mapping[int, float]) -> RowLimits:
    """Return the limits that an exposure has with all IFUs.

    Parameters
    ----------
    limits : RowLimits
        of the rows that there are [pix]
    heights : IFU -> mean of the highest and lowest y of its rows [pix]

    Examples
    --------
    >>> limits = RowLimits((-150.0, 150.0), (-148.0, 135.8), (4750.0, 9350.0), (1, 23), (1, 48))
    >>> whole_field(limits, {1: -142.0, 23: 129.7}).y
    (-148.0, 148.15)
    """
    direction = _direction(heights)
    below, above = (min(heights) - 1, N_IFU - max(heights)) if direction else (0, 0)
    if below == above:  # the middle is the same, to the last bit
        return limits
    if direction < 0:
        below, above = above, below
    low, high = limits.y
    return replace(limits, y=(low - IFU_HEIGHT * below, high + IFU_HEIGHT * above))


def _direction(heights: Mapping[int, float]) -> int:
    """Return +1 if the numbers of the IFUs rise with y, -1 if they fall, 0 if it cannot be told.

    A single IFU is where it would be in one of both cases: pixels count from about the middle of the field.
    """
    if len(heights) > 1:
        rise = heights[max(heights)] - heights[min(heights)]
        return int(np.sign(rise)) if np.isfinite(rise) else 0
    for number, height in heights.items():
        nominal = IFU_HEIGHT * (number - (N_IFU + 1) / 2)
        off = abs(height - nominal), abs(height + nominal)
        if min(off) < IFU_HEIGHT / 2:
            return 1 if off[0] < off[1] else -1
    return 0


def ifu_heights(exposure: Exposure) -> dict[int, float]:
    """Return the middle of each IFU in the pixel tables [pix], where boxes of rows have but one IFU."""
    low, high = np.full(N_IFU + 1, np.inf), np.full(N_IFU + 1, -np.inf)
    for zone in exposure.zones:
        number = zone.numbers[:, 0]
        single = (zone.found > 0) & (number == zone.numbers[:, 1]) & (number >= 1) & (number <= N_IFU)
        np.minimum.at(low, number[single], zone.limits[single, 2])
        np.maximum.at(high, number[single], zone.limits[single, 3])
    return {int(n): float(0.5 * (low[n] + high[n])) for n in np.flatnonzero(low <= high)}

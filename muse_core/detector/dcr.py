# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray hits by gaps in local histograms (the "DCR" method, Pych 2004, PASP 116, 148)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

DQ_COSMIC = 0x20
MOST_BINS = 1 << 24  # a frame with a wider range of values is left alone


@dataclass(frozen=True)
class CosmicPlan:
    """Size of the frames that share one histogram, number of passes, length of the gap in deviations."""

    xbox: int = 15
    ybox: int = 40
    passes: int = 2
    threshold: float = 5.8


@njit(cache=True, nogil=True)
def _frame_hits(
    values: np.ndarray, dq: np.ndarray, y0: int, y1: int, x0: int, x1: int, threshold: float
) -> int:
    """Flag what lies above the first long gap of the histogram of one frame; returns how many."""
    n = 0
    total = 0.0
    low = np.inf
    high = -np.inf
    for y in range(y0, y1):
        for x in range(x0, x1):
            if dq[y, x] == 0:
                v = np.float64(values[y, x])
                n += 1
                total += v
                low = min(low, v)
                high = max(high, v)
    if n < 3:
        return 0
    mean = total / n
    square = 0.0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if dq[y, x] == 0:
                square += (np.float64(values[y, x]) - mean) ** 2
    stdev = np.sqrt(square / (n - 1))
    kept = 0
    total = 0.0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if dq[y, x] == 0 and abs(np.float64(values[y, x]) - mean) <= threshold * stdev:
                kept += 1
                total += np.float64(values[y, x])
    if kept > 1:
        mean2 = total / kept
        square = 0.0
        for y in range(y0, y1):
            for x in range(x0, x1):
                v = np.float64(values[y, x])
                if dq[y, x] == 0 and abs(v - mean) <= threshold * stdev:
                    square += (v - mean2) ** 2
        stdev = np.sqrt(square / (kept - 1))
    base = np.floor(low + 0.5)
    if not np.floor(high + 0.5) - base < MOST_BINS:
        return 0
    nbin = int(np.floor(high + 0.5) - base) + 1
    if nbin <= threshold * stdev + 1:
        return 0  # no room for a gap
    histogram = np.zeros(nbin, np.int32)
    for y in range(y0, y1):
        for x in range(x0, x1):
            if dq[y, x] == 0:
                histogram[int(np.floor(np.float64(values[y, x]) + 0.5) - base)] += 1
    best = 0
    for i in range(nbin):
        if histogram[i] > histogram[best]:
            best = i
    gap = 0
    limit = -1
    for i in range(best + 1, nbin):
        if histogram[i] == 0:
            gap += 1
            if gap > threshold * stdev:
                limit = i
                break
        else:
            gap = 0
    if limit < 0:
        return 0
    hits = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if dq[y, x] == 0 and np.floor(np.float64(values[y, x]) + 0.5) - base > limit:
                dq[y, x] |= DQ_COSMIC
                hits += 1
    return hits


@njit(cache=True, nogil=True)
def _flag_passes(
    values: np.ndarray, dq: np.ndarray, xbox: int, ybox: int, passes: int, threshold: float
) -> int:
    """Flag hits of all frames, pass by pass.

    Measured against 2.8.7: a frame sees the flags of the frames before it; frames overlap by half, include
    both ends of the box, and follow each other in columns; then come those flush with the right and the
    upper edge and the corner, which is ``xbox`` high when the width is no multiple of ``xbox``.
    """
    ny, nx = values.shape
    if nx < xbox or ny < ybox or xbox < 2 or ybox < 2:
        return 0
    total = 0
    for _ in range(passes):
        hits = 0
        xstart = 0
        while xstart + xbox < nx:
            ystart = 0
            while ystart + ybox < ny:
                hits += _frame_hits(
                    values, dq, ystart, ystart + ybox + 1, xstart, xstart + xbox + 1, threshold
                )
                ystart += ybox // 2
            xstart += xbox // 2
        ystart = 0
        while ystart + ybox < ny:
            hits += _frame_hits(values, dq, ystart, ystart + ybox + 1, nx - xbox, nx, threshold)
            ystart += ybox // 2
        xstart = 0
        while xstart + xbox < nx:
            hits += _frame_hits(values, dq, ny - ybox, ny, xstart, xstart + xbox + 1, threshold)
            xstart += xbox // 2
        height = ybox if nx % xbox == 0 else xbox
        hits += _frame_hits(values, dq, max(ny - height, 0), ny, nx - xbox, nx, threshold)
        total += hits
        if hits == 0:
            break
    return total


def flag_hits(
    values: npt.NDArray[np.float32] | npt.NDArray[np.float64], dq: npt.NDArray[np.int32], plan: CosmicPlan
) -> int:
    """Flag hits (DQ 0x20) above the first long gap of local histograms.

    Parameters
    ----------
    values : float32 or float64[ny, nx]
        Image or overscan window, in units in which one is a sensible width of a bin (adu, count).
    dq : int32[ny, nx]
        Flags, updated in place; flagged values take no part.
    plan : CosmicPlan

    Returns
    -------
    int
        Number of values flagged; 0 if the box is larger than the image.
    """
    return int(_flag_passes(values, dq, plan.xbox, plan.ybox, plan.passes, plan.threshold))

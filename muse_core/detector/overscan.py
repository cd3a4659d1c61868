# SPDX-License-Identifier: BSD-3-Clause
"""Overscan statistics and correction of one raw quadrant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from muse_core.framework.errors import InputError

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.int32]

DQ_COSMIC = 0x20
LEVEL_CHECK_SIGMA = 100.0  # fixed limit of the level check after a polynomial correction


@dataclass(frozen=True)
class RejectPlan:
    """How overscan values are rejected: ``none``, ``dcr`` or ``fit`` and its numbers."""

    method: str
    xbox: int = 128
    ybox: int = 32
    passes: int = 3
    threshold: float = 2.5
    sigma: float = 5.0


@dataclass(frozen=True)
class CorrectPlan:
    """How the overscan level is removed: ``none``, ``offset`` or ``vpoly`` and its numbers."""

    method: str
    order: int = 15
    frms: float = 1.00001
    fchisq: float = 1.00001


@dataclass(frozen=True)
class OverscanStats:
    """Mean and scatter (adu, float32 as stored in headers) and the number of pixels used."""

    mean: float
    stdev: float
    count: int


@dataclass(frozen=True)
class VerticalModel:
    """Polynomial along the vertical overscan: ``level[i]`` belongs to row ``first + i`` of the raw frame."""

    order: int
    rms: float
    first: int
    level: Values


@njit(cache=True, nogil=True)
def _frame_hits(values, bad, y0, y1, x0, x1, threshold, new):
    """Mark in ``new`` (bool[ny, nx]) what lies above the first long gap of the histogram of one frame."""
    n = 0
    total = 0.0
    low = np.inf
    high = -np.inf
    for y in range(y0, y1):
        for x in range(x0, x1):
            if bad[y, x] == 0:
                v = values[y, x]
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
            if bad[y, x] == 0:
                square += (values[y, x] - mean) ** 2
    stdev = np.sqrt(square / (n - 1))
    kept = 0
    total = 0.0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if bad[y, x] == 0 and abs(values[y, x] - mean) <= threshold * stdev:
                kept += 1
                total += values[y, x]
    if kept > 1:
        mean2 = total / kept
        square = 0.0
        for y in range(y0, y1):
            for x in range(x0, x1):
                if bad[y, x] == 0 and abs(values[y, x] - mean) <= threshold * stdev:
                    square += (values[y, x] - mean2) ** 2
        stdev = np.sqrt(square / (kept - 1))
    base = np.floor(low + 0.5)
    nbin = int(np.floor(high + 0.5) - base) + 1
    histogram = np.zeros(nbin, np.int32)
    for y in range(y0, y1):
        for x in range(x0, x1):
            if bad[y, x] == 0:
                histogram[int(np.floor(values[y, x] + 0.5) - base)] += 1
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
            if bad[y, x] == 0 and np.floor(values[y, x] + 0.5) - base > limit:
                if not new[y, x]:
                    hits += 1
                new[y, x] = True
    return hits


@njit(cache=True, nogil=True)
def _dcr_passes(values, bad, xbox, ybox, passes, threshold):
    """Flag cosmic-ray hits in ``bad`` (int32[ny, nx], in place) by the histogram-gap method."""
    ny, nx = values.shape
    if nx < xbox or ny < ybox or xbox < 2 or ybox < 2:
        return 0
    new = np.zeros((ny, nx), np.bool_)
    total = 0
    for _ in range(passes):
        hits = 0
        ystart = 0
        while ystart + ybox < ny:
            xstart = 0
            while xstart + xbox < nx:
                hits += _frame_hits(
                    values, bad, ystart, ystart + ybox + 1, xstart, xstart + xbox + 1, threshold, new
                )
                xstart += xbox // 2
            hits += _frame_hits(values, bad, ystart, ystart + ybox + 1, nx - xbox, nx, threshold, new)
            ystart += ybox // 2
        xstart = 0
        while xstart + xbox < nx:
            hits += _frame_hits(values, bad, ny - ybox, ny, xstart, xstart + xbox + 1, threshold, new)
            xstart += xbox // 2
        # measured against 2.8.7: the corner frame is xbox high when nx is no multiple of xbox
        height = ybox if nx % xbox == 0 else xbox
        hits += _frame_hits(values, bad, max(ny - height, 0), ny, nx - xbox, nx, threshold, new)
        if hits == 0:
            break
        total += hits
        for y in range(ny):
            for x in range(nx):
                if new[y, x]:
                    bad[y, x] |= 0x20
                    new[y, x] = False
    return total


def flag_hits(values: Values, dq: Flags, xbox: int, ybox: int, passes: int, threshold: float) -> int:
    """Flag hits (DQ 0x20) above the first long gap of local histograms ("DCR" method, Pych 2004).

    Parameters
    ----------
    values : float64[ny, nx]
        Overscan window.
    dq : int32[ny, nx]
        Flags, updated in place; flagged values take no part.
    xbox, ybox : int
        Size of the frames that share one histogram.
    passes : int
        Largest number of passes.
    threshold : float
        Length of the gap in standard deviations.

    Returns
    -------
    int
        Number of values flagged.
    """
    return int(_dcr_passes(values, dq, xbox, ybox, passes, threshold))


def overscan_stats(
    horizontal: Values, horizontal_dq: Flags, vertical: Values, vertical_dq: Flags, plan: RejectPlan
) -> OverscanStats:
    """Level and scatter of both overscan windows of one quadrant together.

    Parameters
    ----------
    horizontal, vertical : float64[ny, nx]
        The two windows in adu.
    horizontal_dq, vertical_dq : int32[ny, nx]
        Their flags; the method ``dcr`` adds 0x20 in place.
    plan : RejectPlan
        Kind of rejection.

    Returns
    -------
    OverscanStats
        Mean and standard deviation (n-1; population for ``fit``) rounded to float32.
    """
    if plan.method == "dcr":
        short = min(plan.ybox, horizontal.shape[0] if horizontal.size else plan.ybox)
        flag_hits(horizontal, horizontal_dq, plan.xbox, short, plan.passes, plan.threshold)
        short = min(plan.ybox, vertical.shape[1] if vertical.size else plan.ybox)
        flag_hits(vertical, vertical_dq, short, plan.xbox, plan.passes, plan.threshold)
    values = np.concatenate([horizontal[horizontal_dq == 0], vertical[vertical_dq == 0]]).astype(np.float64)
    if values.size < 2:
        raise InputError("", "overscan", expected="unflagged pixels", found="none")
    ddof = 1
    if plan.method == "fit":
        ddof = 0
        while True:
            mean, rms = values.mean(), values.std()
            keep = np.abs(values - mean) <= plan.sigma * rms
            if keep.all() or keep.sum() < 2:
                break
            values = values[keep]
    return OverscanStats(
        float(np.float32(values.mean())), float(np.float32(values.std(ddof=ddof))), values.size
    )


@njit(cache=True, nogil=True)
def _row_sums(values, use, count, total):
    for y in range(values.shape[0]):
        n = 0
        s = 0.0
        for x in range(values.shape[1]):
            if use[y, x]:
                n += 1
                s += values[y, x]
        count[y] = n
        total[y] = s


@njit(cache=True, nogil=True)
def _residual_square(values, use, level):
    s = 0.0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if use[y, x]:
                s += (values[y, x] - level[y]) ** 2
    return s


@njit(cache=True, nogil=True)
def _clip(values, use, level, limit):
    removed = 0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if use[y, x] and abs(values[y, x] - level[y]) > limit:
                use[y, x] = False
                removed += 1
    return removed


def _fit_rows(basis: Values, count: Values, total: Values) -> Values:
    rows = count > 0
    weight = np.sqrt(count[rows].astype(np.float64))
    coefficients = np.linalg.lstsq(basis[rows] * weight[:, None], total[rows] / weight, rcond=None)[0]
    return basis @ coefficients


def fit_vertical(values: Values, dq: Flags, first_row: int, plan: CorrectPlan, sigma: float) -> VerticalModel:
    """Polynomial along y through the single pixels of the vertical overscan.

    The order grows until neither the rms nor the reduced chi square gains more than the given factors; then
    values beyond ``sigma`` times the rms are removed until none is left. All pixels of a row share one
    abscissa, so the fit uses sums per row in a Legendre basis, which gives the same least-squares answer
    without the loss of digits of high powers.

    Parameters
    ----------
    values : float64[ny, nx]
        Vertical overscan window (adu).
    dq : int32[ny, nx]
        Flags; only 0 is used.
    first_row : int
        Row of the raw frame of ``values[0]``.
    plan : CorrectPlan
        Largest order and the two factors.
    sigma : float
        Rejection limit.

    Returns
    -------
    VerticalModel
        Level of every row of the window.
    """
    ny = values.shape[0]
    use = dq == 0
    count, total = np.zeros(ny), np.zeros(ny)
    _row_sums(values, use, count, total)
    n = count.sum()
    orders = max(plan.order, 0)
    if (count > 0).sum() <= orders or n < 2:
        orders = max(min(int((count > 0).sum()) - 1, orders), 0)
    if n < 2:
        raise InputError("", "vertical overscan", expected="unflagged pixels", found="none")
    basis = np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, ny), orders)
    previous = None
    for order in range(orders + 1):
        level = _fit_rows(basis[:, : order + 1], count, total)
        square = _residual_square(values, use, level)
        rms, chi = np.sqrt(square / n), square / max(n - order - 1, 1)
        if previous is not None and rms > 0 and chi > 0:
            if previous[0] / rms < plan.frms and previous[1] / chi < plan.fchisq:
                break
        previous = (rms, chi)
    while sigma > 0 and _clip(values, use, level, sigma * rms):
        _row_sums(values, use, count, total)
        if count.sum() <= order + 1:
            raise InputError("", f"ovscsigma={sigma:g}", found="a rejection that leaves no overscan pixels")
        level = _fit_rows(basis[:, : order + 1], count, total)
        rms = np.sqrt(_residual_square(values, use, level) / count.sum())
    return VerticalModel(order, float(rms), first_row, level)

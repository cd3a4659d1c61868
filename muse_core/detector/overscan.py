# SPDX-License-Identifier: BSD-3-Clause
"""Overscan statistics and correction of one raw quadrant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.detector.dcr import CosmicPlan, flag_hits
from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.int32]

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
    """Polynomial along the vertical overscan: ``level[i]`` belongs to row ``first + i`` of the raw frame.

    ``powers`` are its coefficients for powers of the 1-based row, for headers only: with them an order of 12
    and more loses digits.
    """

    order: int
    rms: float
    first: int
    level: Values
    powers: Values


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
        flag_hits(horizontal, horizontal_dq, CosmicPlan(plan.xbox, short, plan.passes, plan.threshold))
        short = min(plan.ybox, vertical.shape[1] if vertical.size else plan.ybox)
        flag_hits(vertical, vertical_dq, CosmicPlan(short, plan.xbox, plan.passes, plan.threshold))
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
def _row_sums(values: np.ndarray, use: np.ndarray, count: np.ndarray, total: np.ndarray) -> None:
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
def _residual_square(values: np.ndarray, use: np.ndarray, level: np.ndarray) -> float:
    s = 0.0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if use[y, x]:
                s += (values[y, x] - level[y]) ** 2
    return s


@njit(cache=True, nogil=True)
def _clip(values: np.ndarray, use: np.ndarray, level: np.ndarray, limit: float) -> int:
    removed = 0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if use[y, x] and abs(values[y, x] - level[y]) > limit:
                use[y, x] = False
                removed += 1
    return removed


def _fit_rows(basis: Values, count: Values, total: Values) -> tuple[Values, Values]:
    """Level of each row, and the coefficients of the basis."""
    rows = count > 0
    weight = np.sqrt(count[rows].astype(np.float64))
    coefficients = np.linalg.lstsq(basis[rows] * weight[:, None], total[rows] / weight, rcond=None)[0]
    return np.asarray(basis @ coefficients, np.float64), np.asarray(coefficients, np.float64)


def _powers_of_row(coefficients: Values, first: int, ny: int) -> Values:
    """Legendre coefficients on -1..1 over ``ny`` rows, as coefficients of powers of the 1-based row."""
    line = np.polynomial.Polynomial([-1.0 - 2.0 * (first + 1) / max(ny - 1, 1), 2.0 / max(ny - 1, 1)])
    plain = np.polynomial.Polynomial(np.polynomial.legendre.leg2poly(coefficients))
    return np.asarray(plain(line).coef, np.float64)


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
    basis = np.asarray(np.polynomial.legendre.legvander(np.linspace(-1.0, 1.0, ny), orders), np.float64)
    previous = None
    for order in range(orders + 1):
        level, coefficients = _fit_rows(basis[:, : order + 1], count, total)
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
        level, coefficients = _fit_rows(basis[:, : order + 1], count, total)
        rms = np.sqrt(_residual_square(values, use, level) / count.sum())
    powers = _powers_of_row(coefficients, first_row, ny)
    return VerticalModel(order, float(rms), first_row, level, powers)

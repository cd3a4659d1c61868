# SPDX-License-Identifier: BSD-3-Clause
"""What is left between pairs of exposures after the solution: matches, scatter, rotation, scale, chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muse_core.alignment.arrays import Floats, Rows
from muse_core.alignment.offsets.matching import SourceTable, group_median, matched_pairs
from muse_core.alignment.offsets.probability import chance_of_matches
from muse_core.alignment.offsets.solution import OffsetSolution

FIT_MATCHES = 6  # before a rotation and a scale are taken out


@dataclass(frozen=True)
class PairChecks:
    """Residuals of pairs of exposures after the solution, one row per pair with a match in degrees."""

    i: Rows
    j: Rows
    number: Rows  # within the last search radius
    core: Rows  # within CORE_PIX
    close: Rows  # within CLOSE_PIX
    scatter: Floats  # of the core, robust, per coordinate
    quiet: Floats  # the same after rotation and scale are taken out
    chance: Floats  # probability that so many matches arise somewhere by chance
    turn: Floats  # radians, exposure i against j
    turn_error: Floats
    stretch: Floats
    stretch_error: Floats


def check_pairs(
    table: SourceTable,
    solution: OffsetSolution,
    radius: float,
    core: float,
    close: float,
    searched: float,
    areas: Floats,
    trials: Floats,
) -> PairChecks:
    """Look at the residuals of every pair of exposures.

    Parameters
    ----------
    table : SourceTable
    solution : OffsetSolution
    radius, core, close : float
        Last search radius and the two smaller ones of `PairChecks`; degrees.
    searched : float
        First search radius.
    areas : float64[nexp]
        Solid angle of each exposure, square degrees.
    trials : float64[nexp]
        Number of rotations that were tried for each exposure.
    """
    centre_dec = float(np.median(table.dec)) if table.dec.size else 0.0
    centre_ra = float(np.median(table.ra)) if table.ra.size else 0.0
    exposure = table.exposure
    eta = table.dec - solution.shifts[exposure, 1]
    xi = (table.ra - solution.shifts[exposure, 0] - centre_ra) * np.cos(np.radians(eta))
    eta -= centre_dec
    counts = np.diff(table.first)
    rows = []
    for i, j, a, b in matched_pairs(table, solution.shifts, radius):
        if j.size == 0:
            continue
        distance = np.hypot(xi[a] - xi[b], eta[a] - eta[b])
        others, inverse, matched = np.unique(j, return_inverse=True, return_counts=True)
        near = np.bincount(inverse[distance < close], minlength=others.size)
        inside = distance < core
        mine, start, number = np.unique(j[inside], return_index=True, return_counts=True)
        measured = _residuals(xi, eta, a[inside], b[inside], j[inside], start, number)
        place = np.full(table.nexp, -1)
        place[mine] = np.arange(mine.size)
        for k, other in enumerate(others):
            area = max(min(areas[i], areas[other]), 1e-12)
            chance = chance_of_matches(near[k], counts[i], counts[other], area, close, searched)
            chance = min(1.0, chance * max(trials[i], trials[other]))
            m = place[other]
            if m < 0:
                rows.append((i, other, matched[k], 0, near[k], chance, *(np.nan,) * 6))
            else:
                rows.append((i, other, matched[k], number[m], near[k], chance, *(v[m] for v in measured)))
    columns = np.array(rows, dtype=np.float64).reshape(-1, 12).T
    i, j, matched, number, near = (c.astype(np.int64) for c in columns[:5])
    chance, scatter, quiet, *turn = columns[5:]
    return PairChecks(i, j, matched, number, near, scatter, quiet, chance, *turn)


def _residuals(
    xi: Floats, eta: Floats, a: Rows, b: Rows, j: Rows, start: Rows, number: Rows
) -> tuple[Floats, ...]:
    """Scatter, rotation and scale of each run of pairs."""
    if j.size == 0:
        return ()
    dx, dy = xi[a] - xi[b], eta[a] - eta[b]
    rx = dx - np.repeat(group_median(dx, j, start, number), number)
    ry = dy - np.repeat(group_median(dy, j, start, number), number)
    scatter = _robust_scatter(rx, ry, j, start, number) * np.sqrt(number / np.maximum(number - 1, 1))
    left_x, left_y, *fitted = _similarity(xi[b], eta[b], rx, ry, np.repeat(scatter, number), start)
    left = _robust_scatter(left_x, left_y, j, start, number) * np.sqrt(number / np.maximum(number - 2, 1))
    quiet = np.where(number >= FIT_MATCHES, np.fmin(left, scatter), scatter)
    return scatter, quiet, *fitted


def _robust_scatter(rx: Floats, ry: Floats, j: Rows, start: Rows, number: Rows) -> Floats:
    """Scatter per coordinate of each run, from the median absolute residuals."""
    spread = group_median(np.abs(rx), j, start, number) + group_median(np.abs(ry), j, start, number)
    return 1.4826 * spread / 2.0


def _similarity(
    x: Floats, y: Floats, rx: Floats, ry: Floats, scatter: Floats, start: Rows
) -> tuple[Floats, ...]:
    """Rotation and scale of residuals against positions, for each run, without the outlying pairs.

    Solves rx = tx - s x - t y, ry = ty - s y + t x by least squares: t is what the header's position angle
    (north towards east) lacks and s what its pixel scale lacks, both relative to the other exposure. Returns
    the residuals of the fit, t, its error, s and its error.
    """
    good = ((np.abs(rx) <= 4.0 * scatter) & (np.abs(ry) <= 4.0 * scatter)).astype(np.float64)

    def total(v: Floats) -> Floats:
        return np.add.reduceat(v * good, start)

    n = np.maximum(total(np.ones_like(x)), 1.0)
    runs = np.diff(np.append(start, x.size))
    x = x - np.repeat(total(x) / n, runs)
    y = y - np.repeat(total(y) / n, runs)
    rx = rx - np.repeat(total(rx) / n, runs)
    ry = ry - np.repeat(total(ry) / n, runs)
    moment = total(x * x + y * y)
    with np.errstate(divide="ignore", invalid="ignore"):
        stretch = -total(x * rx + y * ry) / moment
        turn = total(x * ry - y * rx) / moment
        left_x = rx + np.repeat(stretch, runs) * x + np.repeat(turn, runs) * y
        left_y = ry + np.repeat(stretch, runs) * y - np.repeat(turn, runs) * x
        variance = total(left_x**2 + left_y**2) / np.maximum(2.0 * n - 4.0, 1.0)
        error = np.sqrt(variance / moment)
    unusable = (n < 3) | (moment <= 0)
    for value in (turn, stretch, error):
        value[unusable] = np.nan
    return left_x, left_y, turn, error, stretch, error.copy()

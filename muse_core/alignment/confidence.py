# SPDX-License-Identifier: BSD-3-Clause
"""How far an alignment can be trusted: errors of the offsets, chance matches, residual rotation and scale.

The C recipe gives none of this. Nothing here changes an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, lgamma, log, pi, sqrt

import numpy as np

from .matching import SourceTable, group_median, matched_pairs
from .solution import OffsetSolution, connected_groups, solve_network

MEDIAN_EFFICIENCY = 1.2533  # scatter of a median relative to that of a mean, for a normal distribution
MIN_MATCHES = 3  # two stars fit any pattern
CHANCE_LIMIT = 1e-3  # for the whole set of exposures
SCATTER_FACTOR = 5.0  # residual scatter in units of the centroid errors
SCATTER_FLOOR_PIX = 0.15  # blends and pixel sampling: below this no scatter is suspicious
FIT_MATCHES = 6  # before a rotation and a scale are taken out
CLOSE_PIX = 1.5  # residuals of a true match
CORE_PIX = 5.0  # residuals that the scatter is measured from: more would be chance matches in a small field


@dataclass(frozen=True)
class PairChecks:
    """Residuals of pairs of exposures after the solution, one row per pair with a match in degrees."""

    i: np.ndarray
    j: np.ndarray
    number: np.ndarray  # within the last search radius
    core: np.ndarray  # within CORE_PIX
    close: np.ndarray  # within CLOSE_PIX
    scatter: np.ndarray  # of the core, robust, per coordinate
    quiet: np.ndarray  # the same after rotation and scale are taken out
    chance: np.ndarray  # probability that so many matches arise somewhere by chance
    turn: np.ndarray  # radians, exposure i against j
    turn_error: np.ndarray
    stretch: np.ndarray
    stretch_error: np.ndarray


@dataclass(frozen=True)
class Confidence:
    """Verdict on each exposure; arrays of one value per exposure.

    Offset errors are 1 sigma in arcsec on the sky, relative to the first exposure; NaN without a measurement.
    """

    error_ra: np.ndarray
    error_dec: np.ndarray
    scatter: np.ndarray  # arcsec per coordinate and source
    centroid_error: np.ndarray  # arcsec, what the noise lets expect
    chance: np.ndarray  # of the best pair of the exposure
    trusted: np.ndarray
    reasons: tuple[str, ...]
    turn_deg: np.ndarray
    turn_error_deg: np.ndarray
    stretch: np.ndarray
    stretch_error: np.ndarray

    @property
    def untrusted(self) -> int:
        """Number of exposures whose offset is not to be trusted."""
        return int(np.count_nonzero(~self.trusted))


def poisson_tail(expected: float, count: int) -> float:
    """Probability of ``count`` or more events where ``expected`` are expected.

    >>> round(poisson_tail(1.0, 1), 6)
    0.632121
    """
    if count <= 0:
        return 1.0
    if expected <= 0:
        return 0.0
    if count <= expected:
        if expected > 1000:
            return 0.5 * erfc((count - 0.5 - expected) / sqrt(2.0 * expected))
        below = sum(exp(k * log(expected) - expected - lgamma(k + 1)) for k in range(count))
        return max(0.0, 1.0 - below)
    term = exp(count * log(expected) - expected - lgamma(count + 1))
    total, k = 0.0, count
    while term > total * 1e-16:
        total += term
        k += 1
        term *= expected / k
    return min(1.0, total)


def chance_of_matches(number, sources_i, sources_j, area, radius, searched):
    """Probability that unrelated sources give ``number`` matches or more at some offset of the searched
    field.

    Parameters
    ----------
    number : int
        Matches found within ``radius`` of the solution.
    sources_i, sources_j : int
    area : float
        Solid angle that holds the sources of either exposure, square degrees.
    radius, searched : float
        Largest residual of a match, and first search radius; degrees.
    """
    expected = sources_i * sources_j * pi * radius**2 / area
    trials = max(1.0, min((2.0 * searched) ** 2, 4.0 * area) / (pi * radius**2))
    return min(1.0, trials * poisson_tail(expected, int(number)))


def check_pairs(
    table: SourceTable, solution: OffsetSolution, radius, core, close, searched, areas
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
            m = place[other]
            if m < 0:
                rows.append((i, other, matched[k], 0, near[k], chance, *(np.nan,) * 6))
            else:
                rows.append((i, other, matched[k], number[m], near[k], chance, *(v[m] for v in measured)))
    columns = np.array(rows, dtype=np.float64).reshape(-1, 12).T
    i, j, matched, number, near = (c.astype(np.int64) for c in columns[:5])
    chance, scatter, quiet, *turn = columns[5:]
    return PairChecks(i, j, matched, number, near, scatter, quiet, chance, *turn)


def _residuals(xi, eta, a, b, j, start, number):
    """Scatter, rotation and scale of each run of pairs."""
    if j.size == 0:
        return ()
    dx, dy = xi[a] - xi[b], eta[a] - eta[b]
    rx = dx - np.repeat(group_median(dx, j, start, number), number)
    ry = dy - np.repeat(group_median(dy, j, start, number), number)
    scatter = _robust_scatter(rx, ry, j, start, number) * np.sqrt(number / np.maximum(number - 1, 1))
    fitted = _similarity(xi[b], eta[b], rx, ry, np.repeat(scatter, number), start)
    left = _robust_scatter(*fitted[:2], j, start, number) * np.sqrt(number / np.maximum(number - 2, 1))
    quiet = np.where(number >= FIT_MATCHES, np.fmin(left, scatter), scatter)
    return scatter, quiet, *fitted[2:]


def _robust_scatter(rx, ry, j, start, number):
    """Scatter per coordinate of each run, from the median absolute residuals."""
    spread = group_median(np.abs(rx), j, start, number) + group_median(np.abs(ry), j, start, number)
    return 1.4826 * spread / 2.0


def _similarity(x, y, rx, ry, scatter, start):
    """Rotation and scale of residuals against positions, for each run, without the outlying pairs.

    Solves rx = tx - s x - t y, ry = ty - s y + t x by least squares: t is what the header's position angle
    (north towards east) lacks and s what its pixel scale lacks, both relative to the other exposure. Returns
    the residuals of the fit, t, its error, s and its error.
    """
    good = ((np.abs(rx) <= 4.0 * scatter) & (np.abs(ry) <= 4.0 * scatter)).astype(np.float64)

    def total(v):
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


def judge(
    table: SourceTable,
    solution: OffsetSolution,
    radii_arcsec,
    areas,
    centroid_errors,
    pixel_arcsec: float,
    nbins: int = 60,
) -> Confidence:
    """Say how good each offset is and which ones are not to be trusted.

    An exposure is trusted when it hangs together with the first one through pairs of exposures that have at
    least three matches, that chance does not explain, and whose residuals are of the size of the centroid
    errors.

    Parameters
    ----------
    table : SourceTable
    solution : OffsetSolution
    radii_arcsec : sequence of float
        The search radii.
    areas : float64[nexp]
        Solid angle of each exposure in square degrees.
    centroid_errors : float64[nexp]
        Typical error of a position per coordinate in arcsec; NaN if unknown (catalogues).
    pixel_arcsec : float
        Pixel size.
    nbins : int
        Bins of the histogram, for the error of an offset that comes from it.
    """
    count = table.nexp
    searched = radii_arcsec[0] / 3600.0
    expected = np.asarray(centroid_errors, dtype=np.float64)
    typical = float(np.nanmedian(expected)) if np.isfinite(expected).any() else 0.0
    core, close = _near_and_very_near(solution, typical, pixel_arcsec, searched, nbins)
    checks = check_pairs(table, solution, solution.radius, core, close, searched, areas)
    scatter = exposure_scatter(count, checks)
    pairs_tested = max(1, count * (count - 1) // 2)
    chance = np.minimum(1.0, checks.chance * pairs_tested)
    limit = _scatter_limit(checks, expected, pixel_arcsec, core, solution)
    quiet = checks.quiet * 3600.0 <= limit
    enough = checks.close >= MIN_MATCHES
    real = chance < CHANCE_LIMIT
    good = quiet & enough & real
    label = connected_groups(count, checks.i[good], checks.j[good])
    trusted = label == label[0]
    if count > 1 and np.count_nonzero(trusted) == 1:
        trusted[0] = False  # nothing is tied to the reference
    best = np.ones(count)
    np.minimum.at(best, checks.i, chance)
    np.minimum.at(best, checks.j, chance)
    errors = offset_errors(count, checks, scatter, solution, radii_arcsec, nbins)
    turn, turn_error = _network_value(count, checks, checks.turn, checks.turn_error, good)
    stretch, stretch_error = _network_value(count, checks, checks.stretch, checks.stretch_error, good)
    reasons = tuple(
        "" if trusted[n] else _reason(n, checks, enough, real, good, solution) for n in range(count)
    )
    return Confidence(
        error_ra=errors,
        error_dec=errors.copy(),
        scatter=scatter * 3600.0,
        centroid_error=expected,
        chance=best,
        trusted=trusted,
        reasons=reasons,
        turn_deg=np.degrees(turn),
        turn_error_deg=np.degrees(turn_error),
        stretch=stretch,
        stretch_error=stretch_error,
    )


def _near_and_very_near(solution: OffsetSolution, typical: float, pixel_arcsec: float, searched, nbins):
    """Distances (degrees) within which matches count for the scatter, and for the test against chance."""
    core = max(CORE_PIX * pixel_arcsec, 10.0 * typical) / 3600.0
    close = max(CLOSE_PIX * pixel_arcsec, 3.0 * typical) / 3600.0
    if solution.by_histogram:
        core, close = (max(v, 2.0 * searched / nbins) for v in (core, close))
    return min(core, solution.radius), min(close, solution.radius)


def _scatter_limit(checks: PairChecks, expected, pixel_arcsec: float, core: float, solution: OffsetSolution):
    """Largest scatter (arcsec) of each pair of exposures that the centroid errors explain."""
    if solution.by_histogram:
        return np.full(len(checks.i), np.inf)  # the offset itself is only good to a bin
    expected_pair = np.hypot(np.nan_to_num(expected[checks.i]), np.nan_to_num(expected[checks.j]))
    limit = np.maximum(SCATTER_FACTOR * expected_pair, SCATTER_FLOOR_PIX * pixel_arcsec * sqrt(2.0))
    # a catalogue tells no centroid error: there only chance matches, which fill the circle evenly, stand out
    uniform = 0.35 * core * 3600.0
    return np.where(np.isnan(expected[checks.i] + expected[checks.j]), uniform, np.minimum(limit, uniform))


def _reason(n, checks, enough, real, good, solution) -> str:
    mine = (checks.i == n) | (checks.j == n)
    if not mine.any():
        return "no matches with any other exposure"
    if not (mine & enough).any():
        return f"fewer than {MIN_MATCHES} matches with any other exposure"
    if not (mine & enough & real).any():
        return "chance alone explains the matches"
    if not (mine & good).any():
        return "the residual scatter is far above the centroid errors"
    if not solution.linked[n]:
        return "no connection to the first exposure"
    return "no trustworthy connection to the first exposure"


def exposure_scatter(count: int, checks: PairChecks):
    """Scatter of the positions of each exposure (degrees per coordinate) from those of the pairs; NaN if
    unknown.

    The square of a pair's scatter is the sum of those of its two exposures; solved by least squares over all
    pairs with three matches or more, each exposure keeping at least a tenth of the typical value.
    """
    out = np.full(count, np.nan)
    use = checks.core >= MIN_MATCHES
    if not use.any():
        return out
    i, j = checks.i[use], checks.j[use]
    weight = checks.core[use].astype(np.float64)
    square = checks.scatter[use] ** 2
    normal = np.zeros((count, count))
    right = np.zeros(count)
    for a, b in ((i, j), (j, i)):
        np.add.at(normal, (a, a), weight)
        np.add.at(normal, (a, b), weight)
        np.add.at(right, a, weight * square)
    seen = np.flatnonzero(np.diag(normal) > 0)
    solved = np.linalg.lstsq(normal[np.ix_(seen, seen)], right[seen], rcond=1e-10)[0]
    typical = float(np.average(square, weights=weight)) / 2.0
    out[seen] = np.sqrt(np.maximum(solved, 0.1 * typical))
    return out


def offset_errors(count, checks, scatter, solution, radii_arcsec, nbins):
    """1 sigma errors of the offsets relative to the first exposure in arcsec per coordinate, float64[nexp].

    Each exposure contributes the error of a median: its scatter times the root of the number of its matches
    over the number of true ones, which chance matches within the search radius do not help. The reference
    contributes its own. An offset that comes from the histogram alone is good to a bin.
    """
    errors = np.full(count, np.nan)
    matched, core = np.zeros(count), np.zeros(count)
    for which in (checks.i, checks.j):
        np.maximum.at(matched, which, checks.number)
        np.maximum.at(core, which, checks.core)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = (MEDIAN_EFFICIENCY * scatter * 3600.0) ** 2 * matched / core**2
    unknown = (matched > 0) & ~np.isfinite(own)
    own = np.where(unknown, (solution.radius * 3600.0) ** 2 / np.maximum(matched, 1), own)
    if solution.by_histogram:
        own = np.where(matched > 0, (2.0 * radii_arcsec[0] / nbins) ** 2 / 12.0, own)
    linked = solution.linked & (matched > 0)
    errors[linked] = np.sqrt(own[linked] + own[0])
    errors[0] = 0.0
    return errors


def _network_value(count, checks, value, error, good):
    """Value of each exposure relative to the first one from those of pairs, with errors; NaN if not tied."""
    use = good & np.isfinite(value) & np.isfinite(error) & (checks.core > MIN_MATCHES)
    out, out_error = np.full(count, np.nan), np.full(count, np.nan)
    if not use.any():
        return out, out_error
    i, j = checks.i[use], checks.j[use]
    sigma = np.maximum(error[use], 1e-9)
    solved = solve_network(count, i, j, value[use][:, None], 1.0 / sigma)[:, 0]
    label = connected_groups(count, i, j)
    tied = label == label[0]
    out[tied] = solved[tied] - solved[0]
    # pairs share their stars: the error is that of the best direct pair, not of the many combined
    best = np.full(count, np.inf)
    np.minimum.at(best, i, sigma)
    np.minimum.at(best, j, sigma)
    out_error[tied] = best[tied]
    out[0], out_error[0] = (0.0, 0.0) if tied.sum() > 1 else (np.nan, np.nan)
    return out, out_error

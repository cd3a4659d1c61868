# SPDX-License-Identifier: BSD-3-Clause
"""How far an alignment can be trusted: errors of the offsets, chance matches, residual rotation and scale.

The C recipe gives none of this. Nothing here changes an offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Rows
from muse_core.alignment.offsets.alignment import Alignment
from muse_core.alignment.offsets.few_sources import FewMatches, judge_few
from muse_core.alignment.offsets.network import connected_groups, solve_network
from muse_core.alignment.offsets.residuals import PairChecks, check_pairs
from muse_core.alignment.offsets.solution import OffsetSolution
from muse_core.alignment.sources.source_list import field_areas

MEDIAN_EFFICIENCY = 1.2533  # scatter of a median relative to that of a mean, for a normal distribution
MIN_MATCHES = 3  # two stars fit any pattern
CHANCE_LIMIT = 1e-3  # for the whole set of exposures
FEW_CHANCE_LIMIT = 1e-2  # the same for a few matches of bright sources, where more is known
LARGEST_TURN = 20.0  # degrees, of the search for rotations
CELL_TURN = 0.3  # degrees, of rotations that a field can tell apart
SCATTER_FACTOR = 5.0  # residual scatter in units of the centroid errors
SCATTER_FLOOR_PIX = 0.15  # blends and pixel sampling: below this no scatter is suspicious
CLOSE_PIX = 1.5  # residuals of a true match
CORE_PIX = 5.0  # residuals that the scatter is measured from: more would be chance matches in a small field


@dataclass(frozen=True)
class Confidence:
    """Verdict on each exposure; arrays of one value per exposure.

    Offset errors are 1 sigma in arcsec on the sky, relative to the first exposure; NaN without a measurement.
    """

    error_ra: Floats
    error_dec: Floats
    scatter: Floats  # arcsec per coordinate and source
    centroid_error: Floats  # arcsec, what the noise lets expect
    chance: Floats  # of the best pair of the exposure
    trusted: Flags
    reasons: tuple[str, ...]
    turn_deg: Floats
    turn_error_deg: Floats
    stretch: Floats
    stretch_error: Floats
    group: Rows  # smallest number of the exposures that it hangs together with

    @property
    def untrusted(self) -> int:
        """Number of exposures whose offset is not to be trusted."""
        return int(np.count_nonzero(~self.trusted))


def judge(alignment: Alignment, radii_arcsec: Sequence[float], nbins: int) -> Confidence:
    """Say how good each offset is and which ones are not to be trusted.

    An exposure is trusted when it hangs together with the first one through pairs of exposures that have at
    least three matches, that chance does not explain, and whose residuals are of the size of the centroid
    errors; or that have a few matches of bright sources (`judge_few`).

    Parameters
    ----------
    alignment : Alignment
    radii_arcsec : sequence of float
        The search radii.
    nbins : int
        Bins of the histogram, for the error of an offset that comes from it.
    """
    table, solution = alignment.table, alignment.solution
    sources = alignment.sources
    areas = field_areas(alignment.fields, sources)
    pixel_arcsec = alignment.first_image.pixel_arcsec
    count = table.nexp
    searched = radii_arcsec[0] / 3600.0
    expected = np.array([s.position_error for s in sources], dtype=np.float64)
    typical = float(np.nanmedian(expected)) if np.isfinite(expected).any() else 0.0
    core, close = _near_and_very_near(solution, typical, pixel_arcsec, searched, nbins)
    trials = np.where(alignment.searched_turns, 2.0 * LARGEST_TURN / CELL_TURN, 1.0)
    checks = check_pairs(table, solution, solution.radius, core, close, searched, areas, trials)
    scatter = exposure_scatter(count, checks)
    pairs_tested = max(1, count * (count - 1) // 2)
    chance = np.minimum(1.0, checks.chance * pairs_tested)
    limit = _scatter_limit(checks, expected, pixel_arcsec, core, solution)
    quiet = checks.quiet * 3600.0 <= limit
    enough = checks.close >= MIN_MATCHES
    real = chance < CHANCE_LIMIT
    good = quiet & enough & real
    few = judge_few(table, solution.shifts, alignment.fields, sources, close, areas)
    bright = quiet & _bright_pairs(few, checks, chance, max(1, count - 1))
    label = connected_groups(count, checks.i[good | bright], checks.j[good | bright])
    trusted = label == label[0]
    if count > 1 and np.count_nonzero(trusted) == 1:
        trusted[0] = False  # nothing is tied to the reference
    best = np.ones(count)
    np.minimum.at(best, checks.i, chance)
    np.minimum.at(best, checks.j, chance)
    errors = offset_errors(count, checks, scatter, solution, radii_arcsec, nbins)
    if not solution.by_histogram:
        _take_centroid_errors(errors, few, trusted & ~np.isfinite(scatter))
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
        turn_deg=_total_turn(np.degrees(turn), alignment.turn_deg),
        turn_error_deg=np.degrees(turn_error),
        stretch=stretch,
        stretch_error=stretch_error,
        group=label,
    )


def _total_turn(residual: Floats, applied: Floats) -> Floats:
    """Sum of the rotation that is left and the one that was applied, which three sources tell alone."""
    return np.where(np.isnan(residual) & (applied != 0), applied, residual + applied)


def _bright_pairs(few: Sequence[FewMatches], checks: PairChecks, chance: Floats, others: int) -> Flags:
    """Find the pairs tied by a few bright sources; their probabilities go into ``chance``."""
    sound = np.zeros(checks.i.size, dtype=bool)
    for pair in few:
        row = np.flatnonzero((checks.i == pair.i) & (checks.j == pair.j))
        probability = min(1.0, pair.probability * others)
        chance[row] = np.minimum(chance[row], probability)
        sound[row] = probability < FEW_CHANCE_LIMIT
    return sound


def _take_centroid_errors(errors: Floats, few: Sequence[FewMatches], which: Flags) -> None:
    """Errors of offsets that one or two sources tell: those of their centroids."""
    best = np.full(errors.size, np.inf)
    for pair in few:
        for n in (pair.i, pair.j):
            best[n] = min(best[n], pair.error)
    use = which & np.isfinite(best)
    use[0] = False
    errors[use] = best[use]


def _near_and_very_near(
    solution: OffsetSolution, typical: float, pixel_arcsec: float, searched: float, nbins: int
) -> tuple[float, float]:
    """Distances (degrees) within which matches count for the scatter, and for the test against chance."""
    core = max(CORE_PIX * pixel_arcsec, 10.0 * typical) / 3600.0
    close = max(CLOSE_PIX * pixel_arcsec, 3.0 * typical) / 3600.0
    if solution.by_histogram:
        core, close = (max(v, 2.0 * searched / nbins) for v in (core, close))
    return min(core, solution.radius), min(close, solution.radius)


def _scatter_limit(
    checks: PairChecks, expected: Floats, pixel_arcsec: float, core: float, solution: OffsetSolution
) -> Floats:
    """Largest scatter (arcsec) of each pair of exposures that the centroid errors explain."""
    if solution.by_histogram:
        return np.full(len(checks.i), np.inf)  # the offset itself is only good to a bin
    expected_pair = np.hypot(np.nan_to_num(expected[checks.i]), np.nan_to_num(expected[checks.j]))
    limit = np.maximum(SCATTER_FACTOR * expected_pair, SCATTER_FLOOR_PIX * pixel_arcsec * sqrt(2.0))
    # a catalogue tells no centroid error: there only chance matches, which fill the circle evenly, stand out
    uniform = 0.35 * core * 3600.0
    return np.where(np.isnan(expected[checks.i] + expected[checks.j]), uniform, np.minimum(limit, uniform))


def _reason(
    n: int, checks: PairChecks, enough: Flags, real: Flags, good: Flags, solution: OffsetSolution
) -> str:
    mine = (checks.i == n) | (checks.j == n)
    if not mine.any():
        return "no matches with any other exposure"
    if not (mine & enough).any():
        return f"fewer than {MIN_MATCHES} matches with any other exposure, and not of bright sources alone"
    if not (mine & enough & real).any():
        return "chance alone explains the matches"
    if not (mine & good).any():
        return "the residual scatter is far above the centroid errors"
    if not solution.linked[n]:
        return "no connection to the first exposure"
    return "no trustworthy connection to the first exposure"


def exposure_scatter(count: int, checks: PairChecks) -> Floats:
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


def offset_errors(
    count: int,
    checks: PairChecks,
    scatter: Floats,
    solution: OffsetSolution,
    radii_arcsec: Sequence[float],
    nbins: int,
) -> Floats:
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


def _network_value(
    count: int, checks: PairChecks, value: Floats, error: Floats, good: Flags
) -> tuple[Floats, Floats]:
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

# SPDX-License-Identifier: BSD-3-Clause
"""Rotation and shift between two fields of sources whose pointing and position angle are poorly known.

Two pairs of sources of equal separation give a rotation and a shift; the one that brings most sources
together is taken. This finds rotations of many degrees, where a histogram of coordinate differences has no
peak, and fields with only a few sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muse_core.alignment.arrays import Floats, Rows

MOST_SOURCES = 40  # of a field, the brightest ones
MOST_HYPOTHESES = 6000
REFINED = 40  # hypotheses that are looked at closely


@dataclass(frozen=True)
class PointPattern:
    """Sources of one field on a tangent plane.

    Parameters
    ----------
    x, y : float64[n]
        Arcsec to the east and to the north.
    brightness : float64[n]
        Any measure of it; NaN if unknown.
    pivot : (float, float)
        The point about which the field turns.
    """

    x: Floats
    y: Floats
    brightness: Floats
    pivot: tuple[float, float]

    def brightest(self, most: int) -> PointPattern:
        """Return the brightest sources; those of unknown brightness come last."""
        order = np.argsort(-np.where(np.isfinite(self.brightness), self.brightness, -np.inf), kind="stable")
        chosen = np.sort(order[:most])
        return PointPattern(self.x[chosen], self.y[chosen], self.brightness[chosen], self.pivot)

    def placed(self, turn: Floats | float, dx: Floats | float, dy: Floats | float) -> tuple[Floats, Floats]:
        """Positions of the sources after a turn (north towards east) about the pivot and a shift.

        Arrays of h turns and shifts give float64[h, n].
        """
        turn, dx, dy = (np.asarray(v, dtype=np.float64)[..., None] for v in (turn, dx, dy))
        rx, ry = self.x - self.pivot[0], self.y - self.pivot[1]
        cosine, sine = np.cos(turn), np.sin(turn)
        return self.pivot[0] + dx + cosine * rx + sine * ry, self.pivot[1] + dy - sine * rx + cosine * ry


@dataclass(frozen=True)
class PatternMatch:
    """How a field comes to lie on another one.

    ``turn`` (radians, from north to east) about its pivot, then the shift ``dx``, ``dy`` (arcsec).
    """

    turn: float
    dx: float
    dy: float
    matches: int
    weight: float  # brightness that the matched sources share, for a choice among equal numbers


def match_patterns(
    reference: PointPattern,
    field: PointPattern,
    *,
    tolerance: float,
    largest_turn: float,
    largest_shift: float,
) -> PatternMatch | None:
    """Find the turn and the shift that bring most sources of a field onto those of the reference.

    Parameters
    ----------
    reference, field : PointPattern
    tolerance : float
        Largest distance of two images of one source, arcsec.
    largest_turn : float
        Radians, to both sides.
    largest_shift : float
        Arcsec, of the pivot.

    Returns
    -------
    PatternMatch or None
        None without any pair of sources within the limits. Among equally many matches those of bright sources
        of similar brightness win, then the smaller turn and shift.
    """
    a, b = reference.brightest(MOST_SOURCES), field.brightest(MOST_SOURCES)
    if not a.x.size or not b.x.size:
        return None
    turn, dx, dy = (
        np.concatenate(parts)
        for parts in zip(
            _from_single_sources(a, b),
            _from_pairs(a, b, tolerance, largest_turn),
            strict=True,
        )
    )
    inside = np.hypot(dx, dy) <= largest_shift
    turn, dx, dy = turn[inside], dx[inside], dy[inside]
    if not turn.size:
        return None
    # a turn is only known as well as its two sources are apart: far from them the first look is generous
    count = np.concatenate(
        [
            _count_matches(a, b, turn[k : k + 500], dx[k : k + 500], dy[k : k + 500], 2.0 * tolerance)
            for k in range(0, turn.size, 500)
        ]
    )
    effort = np.abs(turn) / max(largest_turn, 1e-9) + np.hypot(dx, dy) / largest_shift
    order = np.lexsort((effort, -count))[:REFINED]
    found = [_refined(a, b, turn[k], dx[k], dy[k], tolerance, largest_turn) for k in order]
    cost = [abs(m.turn) / max(largest_turn, 1e-9) + np.hypot(m.dx, m.dy) / largest_shift for m in found]
    best = min(range(len(found)), key=lambda k: (-found[k].matches, -found[k].weight, cost[k]))
    return found[best] if found[best].matches else None


def _from_single_sources(a: PointPattern, b: PointPattern) -> tuple[Floats, Floats, Floats]:
    """Shifts without a turn that bring one source onto another."""
    dx = (a.x[:, None] - b.x[None, :]).ravel()
    dy = (a.y[:, None] - b.y[None, :]).ravel()
    return np.zeros(dx.size), dx, dy


def _from_pairs(
    a: PointPattern, b: PointPattern, tolerance: float, largest_turn: float
) -> tuple[Floats, Floats, Floats]:
    """Turns and shifts that bring two sources onto two others."""
    mine = _lines(a, 4.0 * tolerance, both_ways=False)
    theirs = _lines(b, 4.0 * tolerance, both_ways=True)
    low = np.searchsorted(theirs.length, mine.length - 2.0 * tolerance)
    number = np.searchsorted(theirs.length, mine.length + 2.0 * tolerance) - low
    first = np.repeat(np.arange(mine.length.size), number)
    second = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + np.repeat(low, number)
    turn = mine.angle[first] - theirs.angle[second]
    turn = np.arctan2(np.sin(turn), np.cos(turn))
    near = np.abs(turn) <= largest_turn
    first, second, turn = first[near], second[near], turn[near]
    if first.size > MOST_HYPOTHESES:  # long lines tell the turn best
        keep = np.argsort(-mine.length[first], kind="stable")[:MOST_HYPOTHESES]
        first, second, turn = first[keep], second[keep], turn[keep]
    rx, ry = theirs.x[second] - b.pivot[0], theirs.y[second] - b.pivot[1]
    cosine, sine = np.cos(turn), np.sin(turn)
    dx = mine.x[first] - b.pivot[0] - (cosine * rx + sine * ry)
    dy = mine.y[first] - b.pivot[1] - (-sine * rx + cosine * ry)
    return turn, dx, dy


@dataclass(frozen=True)
class _Lines:
    """Lines between two sources: middle, length, position angle (north towards east); shortest first."""

    x: Floats
    y: Floats
    length: Floats
    angle: Floats


def _lines(field: PointPattern, shortest: float, *, both_ways: bool) -> _Lines:
    i, j = np.triu_indices(field.x.size, 1)
    if both_ways:
        i, j = np.concatenate([i, j]), np.concatenate([j, i])
    dx, dy = field.x[j] - field.x[i], field.y[j] - field.y[i]
    length = np.hypot(dx, dy)
    order = np.argsort(length, kind="stable")
    order = order[length[order] > shortest]
    middle = field.x[i] + dx / 2.0, field.y[i] + dy / 2.0
    return _Lines(middle[0][order], middle[1][order], length[order], np.arctan2(dx, dy)[order])


def _count_matches(
    a: PointPattern, b: PointPattern, turn: Floats, dx: Floats, dy: Floats, tolerance: float
) -> Rows:
    """Sources of b that have one of a within the tolerance, for each of h hypotheses; int64[h]."""
    x, y = b.placed(turn, dx, dy)
    nearest = np.full(x.shape, np.inf)
    for ax, ay in zip(a.x, a.y, strict=True):
        np.minimum(nearest, (x - ax) ** 2 + (y - ay) ** 2, out=nearest)
    return np.count_nonzero(nearest < tolerance**2, axis=1)


def _refined(
    a: PointPattern,
    b: PointPattern,
    turn: float,
    dx: float,
    dy: float,
    tolerance: float,
    largest_turn: float,
) -> PatternMatch:
    """Fit turn and shift to the sources that they bring together, a few times."""
    reach = 2.0 * tolerance
    for _ in range(4):
        i, j = _mutual(a, b, turn, dx, dy, reach)
        if not i.size:
            break
        rx, ry = b.x[j] - b.pivot[0], b.y[j] - b.pivot[1]
        qx, qy = a.x[i] - b.pivot[0], a.y[i] - b.pivot[1]
        if i.size > 1:
            ux, uy, vx, vy = rx - rx.mean(), ry - ry.mean(), qx - qx.mean(), qy - qy.mean()
            if np.hypot(ux, uy).max() > 2.0 * tolerance:
                fitted = float(np.arctan2(np.sum(vx * uy - vy * ux), np.sum(vx * ux + vy * uy)))
                turn = float(np.clip(fitted, -largest_turn, largest_turn))
        cosine, sine = np.cos(turn), np.sin(turn)
        dx = float(np.mean(qx - (cosine * rx + sine * ry)))
        dy = float(np.mean(qy - (-sine * rx + cosine * ry)))
        reach = tolerance
    i, j = _mutual(a, b, turn, dx, dy, tolerance)
    weight = _shared(a.brightness[i], b.brightness[j])
    return PatternMatch(float(turn), float(dx), float(dy), int(i.size), weight)


def _shared(one: Floats, other: Floats) -> float:
    """Sum of the brightness of pairs of sources; those that differ by more than 3 do not count."""
    with np.errstate(invalid="ignore"):
        similar = (one > 0) & (other > 0) & (one < 3.0 * other) & (other < 3.0 * one)
    return float(np.sum(np.sqrt(one[similar] * other[similar])))


def _mutual(
    a: PointPattern, b: PointPattern, turn: float, dx: float, dy: float, tolerance: float
) -> tuple[Rows, Rows]:
    """Sources of both that are each other's nearest and within the tolerance."""
    x, y = b.placed(turn, dx, dy)
    distance = np.hypot(a.x[:, None] - x[None, :], a.y[:, None] - y[None, :])
    j = np.argmin(distance, axis=1)
    i = np.arange(a.x.size)
    mutual = (np.argmin(distance, axis=0)[j] == i) & (distance[i, j] < tolerance)
    return i[mutual], j[mutual]

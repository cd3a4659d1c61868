# SPDX-License-Identifier: BSD-3-Clause
"""The probability that matches arise by chance."""

from __future__ import annotations

from math import erfc, exp, lgamma, log, pi, sqrt
from sys import float_info


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


def chance_of_matches(
    number: int, sources_i: int, sources_j: int, area: float, radius: float, searched: float
) -> float:
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
    circle = max(pi * radius**2, float_info.min)  # of a radius that is no number's square
    trials = max(1.0, min((2.0 * searched) ** 2, 4.0 * area) / circle)
    return min(1.0, trials * poisson_tail(expected, int(number)))

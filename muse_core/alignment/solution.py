# SPDX-License-Identifier: BSD-3-Clause
"""One offset for each exposure from the relative offsets of all pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .local import LocalFrame
from .matching import PairValues, SourceTable, histogram_values, median_values

FRAME_PASSES = 6  # of one radius in a local frame, at most
FRAME_TOLERANCE = 1e-6 / 3600.0  # degrees


@dataclass(frozen=True)
class OffsetSolution:
    """Offsets (degrees of coordinate, right ascension not scaled) relative to the first exposure.

    ``shifts`` are the same in the coordinates of the source table, which differ in a local frame only.
    ``matches`` is the median number of matches of an exposure with the others, 0 if it has none; ``linked``
    tells whether it hangs together with the first exposure.
    """

    offsets: np.ndarray
    shifts: np.ndarray
    matches: np.ndarray
    linked: np.ndarray
    pairs: PairValues
    radius: float
    by_histogram: bool
    empty_radii: tuple[float, ...] = field(default=())


def connected_groups(count: int, i, j):
    """Label the exposures so that those connected by pairs share the smallest number of their group."""
    label = np.arange(count)
    while True:
        before = label.copy()
        np.minimum.at(label, i, label[j])
        np.minimum.at(label, j, label[i])
        label = label[label]
        if np.array_equal(label, before):
            return label


def solve_network(count: int, i, j, value, weight):
    """Minimum-norm weighted least squares of ``weight * (o_i - o_j) = weight * value``.

    Every connected group has zero mean; an exposure without pairs gets 0. The normal equations of each group
    are solved with one exposure held and refined with residuals taken from the equations themselves, which
    gives the accuracy of an orthogonal solution without its memory (one row per pair of exposures).

    Parameters
    ----------
    count : int
        Number of exposures.
    i, j : int64[n]
    value : float64[n, k]
    weight : float64[n]
    """
    value = np.asarray(value, dtype=np.float64)
    out = np.zeros((count, value.shape[1]))
    if len(i) == 0:
        return out
    strength = np.asarray(weight, dtype=np.float64) ** 2
    strength = strength / strength.max()
    label = connected_groups(count, i, j)
    for group in np.unique(label[i]):
        members = np.flatnonzero(label == group)
        local = np.full(count, -1)
        local[members] = np.arange(members.size)
        mine = label[i] == group
        out[members] = _solve_group(members.size, local[i[mine]], local[j[mine]], value[mine], strength[mine])
    return out


def _solve_group(size: int, i, j, value, strength):
    laplacian = np.zeros((size, size))
    np.add.at(laplacian, (i, i), strength)
    np.add.at(laplacian, (j, j), strength)
    np.add.at(laplacian, (i, j), -strength)
    np.add.at(laplacian, (j, i), -strength)
    held = laplacian[:-1, :-1]
    scale = 1.0 / np.sqrt(np.diag(held))
    inverse = np.linalg.inv(held * scale[:, None] * scale[None, :])
    solution = np.zeros((size, value.shape[1]))
    for _ in range(4):
        residual = strength[:, None] * (value - (solution[i] - solution[j]))
        right = np.zeros_like(solution)
        np.add.at(right, i, residual)
        np.add.at(right, j, -residual)
        solution[:-1] += scale[:, None] * (inverse @ (scale[:, None] * right[:-1]))
    return solution - solution.mean(axis=0)


def median_matches(count: int, pairs: PairValues):
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
    radii_arcsec,
    nbins: int,
    *,
    weighted: bool,
    compat: bool,
    frame: LocalFrame | None = None,
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
    compat : bool
        As 2.8.7: the minimum-norm solution minus its first value. An exposure that matches nothing then
        inherits the negative of the latter. Otherwise groups without connection to the first exposure keep
        the mean of their headers, which for a single exposure is its header.
    frame : LocalFrame, optional
        Its table is used in place of ``table`` and follows the offsets; the medians are then repeated until
        nothing moves any more.
    """
    count = table.nexp
    shifts = np.zeros((count, 2))
    empty = []
    pairs, radius = None, 0.0
    label = np.arange(count)
    for k, arcsec in enumerate(radii_arcsec):
        radius = arcsec / 3600.0
        for _ in range(FRAME_PASSES if frame and k else 1):
            before = shifts
            if k == 0:
                pairs = histogram_values(table, shifts, radius, nbins, weighted=weighted)
            else:
                pairs = median_values(table, shifts, radius, weighted=weighted)
            values = np.column_stack([pairs.ra, pairs.dec])
            shifts = solve_network(count, pairs.i, pairs.j, values, pairs.weight)
            label = connected_groups(count, pairs.i, pairs.j)
            if compat:
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
        by_histogram=len(radii_arcsec) == 1,
        empty_radii=tuple(empty),
    )

# SPDX-License-Identifier: BSD-3-Clause
"""One value for each exposure from the differences of pairs of exposures."""

from __future__ import annotations

import numpy as np

from muse_core.alignment.arrays import Floats, Rows


def connected_groups(count: int, i: Rows, j: Rows) -> Rows:
    """Label the exposures so that those connected by pairs share the smallest number of their group."""
    label = np.arange(count)
    while True:
        before = label.copy()
        np.minimum.at(label, i, label[j])
        np.minimum.at(label, j, label[i])
        label = label[label]
        if np.array_equal(label, before):
            return label


def solve_network(count: int, i: Rows, j: Rows, value: Floats, weight: Floats) -> Floats:
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
        place = np.full(count, -1)
        place[members] = np.arange(members.size)
        mine = label[i] == group
        out[members] = _solve_group(members.size, place[i[mine]], place[j[mine]], value[mine], strength[mine])
    return out


def _solve_group(size: int, i: Rows, j: Rows, value: Floats, strength: Floats) -> Floats:
    laplacian = np.zeros((size, size))
    np.add.at(laplacian, (i, i), strength)
    np.add.at(laplacian, (j, j), strength)
    np.add.at(laplacian, (i, j), -strength)
    np.add.at(laplacian, (j, i), -strength)
    held = laplacian[:-1, :-1]
    scale = 1.0 / np.sqrt(np.maximum(np.diag(held), np.finfo(float).tiny))
    try:
        inverse = np.linalg.inv(held * scale[:, None] * scale[None, :])
    except np.linalg.LinAlgError:  # a weight that is nothing beside the others: not connected by it
        inverse = np.linalg.pinv(held * scale[:, None] * scale[None, :], hermitian=True)
    solution = np.zeros((size, value.shape[1]))
    for _ in range(4):
        residual = strength[:, None] * (value - (solution[i] - solution[j]))
        right = np.zeros_like(solution)
        np.add.at(right, i, residual)
        np.add.at(right, j, -residual)
        solution[:-1] += scale[:, None] * (inverse @ (scale[:, None] * right[:-1]))
    return solution - solution.mean(axis=0)

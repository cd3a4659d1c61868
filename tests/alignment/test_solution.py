# SPDX-License-Identifier: BSD-3-Clause
"""Matching and the solution for the offsets, against plain loops over the definition."""

import numpy as np
import pytest

from muse_core.alignment.offsets.matching import (
    SourceTable,
    histogram_values,
    matched_pairs,
    median_values,
)
from muse_core.alignment.offsets.network import connected_groups, solve_network
from muse_core.alignment.offsets.solution import solve_offsets
from muse_core.framework import Defects

pytestmark = pytest.mark.unit


def random_table(seed, nexp=4, dec=-40.0):
    rng = np.random.default_rng(seed)
    stars = np.column_stack([150 + rng.uniform(-0.01, 0.01, 25), dec + rng.uniform(-0.01, 0.01, 25)])
    lists = []
    for _ in range(nexp):
        seen = stars[rng.uniform(size=25) < 0.8] + rng.normal(0, 2e-4, 2) + rng.normal(0, 1e-5, (1, 2))
        seen = seen + rng.normal(0, 1e-5, seen.shape)
        lists.append((seen[:, 0], seen[:, 1]))
    return SourceTable.from_lists(lists), lists


def slow_pairs(lists, offsets, radius, i, j):
    out = []
    for ra_a, dec_a in zip(*lists[i], strict=True):
        for ra_b, dec_b in zip(*lists[j], strict=True):
            d = np.array([ra_a - ra_b, dec_a - dec_b])
            r = d - (offsets[i] - offsets[j])
            middle = (dec_a - offsets[i, 1] + dec_b - offsets[j, 1]) / 2
            if np.hypot(r[0] * np.cos(np.radians(middle)), r[1]) < radius:
                out.append(d)
    return np.array(out).reshape(-1, 2)


def slow_solution(lists, radii, nbins, weighted):
    count = len(lists)
    offsets = np.zeros((count, 2))
    for k, arcsec in enumerate(radii):
        radius = arcsec / 3600
        rows, values = [], []
        for i in range(count):
            for j in range(i + 1, count):
                d = slow_pairs(lists, offsets, radius, i, j)
                if len(d) == 0:
                    continue
                if k == 0:
                    cells = np.zeros((nbins, nbins), dtype=int)
                    width = 2 * radius / nbins
                    for dra, ddec in d:
                        ix, iy = int((dra + radius) / width), int((ddec + radius) / width)
                        if 0 <= ix < nbins and 0 <= iy < nbins:
                            cells[iy, ix] += 1
                    iy, ix = divmod(int(cells.argmax()), nbins)
                    value = np.array([-radius + (ix + 0.5) * width, -radius + (iy + 0.5) * width])
                    weight = cells.max()
                else:
                    value = np.median(d, axis=0)
                    spread = d.var(axis=0, ddof=1).sum() if len(d) > 1 else 2 * radius**2
                    weight = len(d) / spread
                weight = weight if weighted else 1.0
                row = np.zeros(count)
                row[i], row[j] = weight, -weight
                rows.append(row)
                values.append(weight * value)
        offsets = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
        offsets = offsets - offsets[0]
    return offsets


@pytest.mark.parametrize("seed", range(6))
def test_offsets_equal_those_of_the_plain_loops(seed):
    table, lists = random_table(seed, dec=-70.0 + 25 * seed)
    for radii, nbins, weighted in (
        ((30.0, 4.0, 2.0, 0.8), 60, True),
        ((10.0, 1.5), 33, False),
        ((12.0,), 48, True),
    ):
        fast = solve_offsets(table, radii, nbins, weighted=weighted, defects=Defects.all()).offsets
        slow = slow_solution(lists, radii, nbins, weighted)
        assert np.abs(fast - slow).max() * 3600 < 1e-9


def test_blocks_do_not_change_the_matches(monkeypatch):
    table, _ = random_table(7, nexp=6)
    offsets = np.random.default_rng(1).normal(0, 1e-4, (6, 2))

    def all_pairs():
        return [
            (i, int(j), int(a), int(b))
            for i, jj, aa, bb in matched_pairs(table, offsets, 3 / 3600)
            for j, a, b in zip(jj, aa, bb, strict=True)
        ]

    whole = all_pairs()
    monkeypatch.setattr("muse_core.alignment.offsets.matching.MAX_ELEMENTS", 300)
    assert all_pairs() == whole
    assert len(whole) > 100


def test_ties_of_the_histogram_go_to_the_first_bin():
    one = (np.array([10.0]), np.array([0.0]))
    two = (np.array([10.0, 10.0 - 3e-4, 10.0 + 3e-4]), np.array([2e-4, -3e-4, -3e-4]))
    values = histogram_values(SourceTable.from_lists([one, two]), np.zeros((2, 2)), 1e-3, 20, weighted=True)
    # differences (0, -2e-4), (3e-4, 3e-4), (-3e-4, 3e-4): all bins hold one; the lowest declination wins
    assert values.number.tolist() == [3]
    assert values.dec[0] == pytest.approx(-1.5e-4)
    assert values.ra[0] == pytest.approx(0.5e-4)


@pytest.mark.parametrize("nbins", [2, 33, 100_000])
def test_number_of_bins_costs_no_memory(nbins):
    table, _ = random_table(3)
    values = histogram_values(table, np.zeros((4, 2)), 30 / 3600, nbins, weighted=True)
    assert values.i.size == 6


@pytest.mark.parametrize("radius", [0.0, -3.0])
def test_radii_that_match_nothing(radius):
    table, _ = random_table(3)
    solved = solve_offsets(table, (radius,), 60, weighted=True, defects=Defects())
    assert np.all(solved.offsets == 0)
    assert solved.empty_radii == (radius,)
    assert np.all(solved.matches == 0)


def test_single_matches_weigh_with_the_radius():
    lists = [(np.array([1.0]), np.array([2.0])), (np.array([1.0 + 1e-5]), np.array([2.0]))]
    values = median_values(SourceTable.from_lists(lists), np.zeros((2, 2)), 1e-3, weighted=True)
    assert values.weight[0] == pytest.approx(1 / (2 * 1e-6))


@pytest.mark.law
def test_network_is_the_minimum_norm_least_squares_solution():
    rng = np.random.default_rng(5)
    for _ in range(30):
        count = int(rng.integers(2, 9))
        pairs = [(i, j) for i in range(count) for j in range(i + 1, count) if rng.uniform() < 0.5] or [(0, 1)]
        i, j = np.array(pairs).T
        weight = 10.0 ** rng.uniform(-4, 4, i.size)
        value = rng.normal(size=(i.size, 2))
        rows = np.zeros((i.size, count))
        rows[np.arange(i.size), i], rows[np.arange(i.size), j] = weight, -weight
        wanted = np.linalg.lstsq(rows, weight[:, None] * value, rcond=1e-13)[0]
        np.testing.assert_allclose(solve_network(count, i, j, value, weight), wanted, atol=1e-6)


def test_a_weight_that_is_nothing_beside_the_others():
    i, j, value = np.array([0, 1]), np.array([1, 2]), np.array([[1.0, 2.0], [3.0, 4.0]])
    for weight in ([1.0, 1e-30], [1.0, 0.0], [1e-30, 1.0]):
        solved = solve_network(3, i, j, value, np.array(weight))
        strong = int(np.argmax(weight))
        np.testing.assert_allclose(solved[i[strong]] - solved[j[strong]], value[strong])


def test_groups_of_connected_exposures():
    assert connected_groups(7, np.array([5, 0, 4]), np.array([6, 3, 5])).tolist() == [0, 1, 2, 0, 4, 4, 4]


def test_an_exposure_without_matches_keeps_its_header_but_not_in_the_c_recipe():
    stars = np.random.default_rng(1).uniform(0, 0.01, (8, 2))
    shift = np.array([3e-4, -1e-4])
    lists = [tuple(stars.T), tuple((stars + shift).T), tuple((stars + 5.0).T)]
    table = SourceTable.from_lists(lists)
    ours = solve_offsets(table, (30.0, 1.0), 60, weighted=True, defects=Defects())
    np.testing.assert_allclose(ours.offsets, [[0, 0], shift, [0, 0]], atol=1e-12)
    assert ours.linked.tolist() == [True, True, False]
    assert ours.matches[0] == ours.matches[1] >= 8
    assert ours.matches[2] == 0
    copied = solve_offsets(table, (30.0, 1.0), 60, weighted=True, defects=Defects.all())
    np.testing.assert_allclose(
        copied.offsets, [[0, 0], shift, shift / 2], atol=1e-12
    )  # minus its own -shift / 2


@pytest.mark.law
def test_right_ascension_is_in_degrees_of_coordinate():
    rng = np.random.default_rng(2)
    for dec in (0.0, -65.0, 80.0):
        stars = np.column_stack(
            [rng.uniform(0, 0.01, 12) / np.cos(np.radians(dec)), dec + rng.uniform(0, 0.01, 12)]
        )
        shift = np.array([2e-4 / np.cos(np.radians(dec)), 1e-4])
        table = SourceTable.from_lists([tuple(stars.T), tuple((stars + shift).T)])
        solved = solve_offsets(table, (5.0, 0.5), 60, weighted=True, defects=Defects())
        np.testing.assert_allclose(solved.offsets[1], shift, atol=1e-12)

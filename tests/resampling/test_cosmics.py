# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray rejection against a twin that follows the rule word by word."""

from itertools import product

import numpy as np
import pytest

from muse_core.resampling.cosmic_screen import settle_plane
from muse_core.resampling.cosmics import (
    ALL_NEIGHBOURS,
    MEDIAN,
    METHODS,
    NOT_SAME_X,
    NOT_SAME_Y,
    flag_cosmics,
    neighbourhood,
)

pytestmark = pytest.mark.kernel

NX, NY, NZ = 34, 17, 3
RULES = (ALL_NEIGHBOURS, NOT_SAME_Y, NOT_SAME_X)


def rows(density, seed=0, sources=True):
    """Rows in voxel order: a bright sky plane, sources, cosmic rays, flagged rows, a NaN."""
    rng = np.random.default_rng(seed)
    n = int(density * NX * NY * NZ)
    voxel = np.sort(rng.integers(0, NX * NY * NZ, n))
    z, y, x = np.unravel_index(voxel, (NZ, NY, NX))
    level = 100.0 * (1 + (z == 2))
    if sources:
        level += 3000 * np.exp(-((x - 9) ** 2 + (y - 6) ** 2) / 4)
    data = (level + rng.normal(0, 1, n) * np.sqrt(level)).astype(np.float32)
    data[:: max(n // 40, 1)] += 400
    data[n // 2] = np.nan
    dq = (rng.random(n) < 0.02).astype(np.int32)
    starts = np.searchsorted(voxel, np.arange(NX * NY * NZ + 1)).astype(np.int32)
    return data, np.abs(data) + 1, dq, starts


def twin(data, stat, dq, starts, method, sigma, rule):
    flags = np.zeros(data.size, np.uint8)
    for k, y, x in np.ndindex(NZ, NY, NX):
        own = np.arange(*starts[(k * NY + y) * NX + x :][:2])
        near = []
        around = product(*(range(max(i - 1, 0), min(i + 2, n)) for i, n in ((k, NZ), (y, NY), (x, NX))))
        for kk, yy, xx in around:
            same = (yy == y) if rule == NOT_SAME_Y else (xx == x) if rule == NOT_SAME_X else False
            if same and (kk, yy, xx) != (k, y, x):
                continue
            near.extend(range(*starts[(kk * NY + yy) * NX + xx :][:2]))
        sample = np.array([i for i in near if dq[i] == 0], int)
        if not own.size or sample.size < 3:
            continue
        values = data[sample].astype(float)
        if np.isnan(values).any():
            flags[own] = 2  # left to the kernel
            continue
        if method == "median":
            centre = np.median(values)
            limit = centre + sigma * np.median(np.abs(values - centre))
        elif method == "mean":
            limit = values.mean() + sigma * values.std(ddof=1)
        else:
            limit = values.mean() + sigma * np.sqrt(stat[sample].astype(float).sum()) / values.size
        flags[own] = data[own] > limit
    return flags


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("density", "sigma"), [(0.3, 5.0), (1.0, 15.0), (1.1, 3.0), (11.0, 6.0)])
def test_flags_equal_the_twin(method, density, sigma, rule):
    data, stat, dq, starts = rows(density)
    flags = np.zeros(data.size, np.uint8)
    flag_cosmics(data, stat, dq, starts, NX, NY, NZ, 0, NZ, METHODS[method], sigma, rule, flags)
    expected = twin(data, stat, dq, starts, method, sigma, rule)
    known = expected < 2
    np.testing.assert_array_equal(flags[known], expected[known])
    assert known.mean() > 0.9
    if method != "mean" or sigma < 15:  # one row cannot be 15 standard deviations above so few
        assert 0 < flags.sum() < 0.9 * data.size


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("density", "bits", "share"), [(1.0, 8, 0.6), (3.0, 8, 0.8), (10.0, 16, 0.4)])
def test_the_screen_settles_most_voxels_of_plain_sky(density, bits, share, rule):
    """If it settled none, the flags would be right but slow."""
    data, _, _, starts = rows(density, sources=False)
    data = np.nan_to_num(data, nan=100.0)
    settled = np.zeros(NX * NY, np.uint8)
    settle_plane(data, starts, data, starts, NX, NY, NZ, 1, bits, 15.0, rule, settled)
    occupied = np.diff(starts[NX * NY : 2 * NX * NY + 1]) > 0
    assert settled[occupied].mean() > share


def test_more_rows_than_a_field_can_count():
    data = np.ones(400, np.float32)
    data[7] = 50
    settled = np.zeros(1, np.uint8)
    starts = np.array([0, 400], np.int32)
    settle_plane(data, starts, data, starts, 1, 1, 1, 0, 8, 5.0, ALL_NEIGHBOURS, settled)
    assert not settled[0]
    flags = np.zeros(400, np.uint8)
    flag_cosmics(data, data, np.zeros(400, np.int32), starts, 1, 1, 1, 0, 1, MEDIAN, 5.0, 0, flags)
    assert np.flatnonzero(flags).tolist() == [7]


@pytest.mark.parametrize(
    ("angle", "rule"),
    [(None, NOT_SAME_Y), (0.0, NOT_SAME_Y), (-178.0, NOT_SAME_Y), (92.0, NOT_SAME_X), (30.0, ALL_NEIGHBOURS)],
)
def test_neighbourhood_follows_the_position_angle(angle, rule):
    assert neighbourhood(angle) == rule

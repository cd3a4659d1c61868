# SPDX-License-Identifier: BSD-3-Clause
"""The default rejection of cosmic rays: against a twin, and against the truth of simulated rows."""

from itertools import product

import numpy as np
import pytest

from muse_core.resampling.cosmic_limits import flag_outliers
from muse_core.resampling.cosmics import ALL_NEIGHBOURS, METHODS, NOT_SAME_X, NOT_SAME_Y

pytestmark = [pytest.mark.kernel, pytest.mark.slow]  # minutes without the compiler

RULES = (ALL_NEIGHBOURS, NOT_SAME_Y, NOT_SAME_X)
SIGMA = 15.0


def voxel_rows(light, rng, per_voxel=1.0, scale=1.0):
    """Rows at random places of the voxels of `light` (counts), with Poisson noise and that of readout."""
    nz, ny, nx = light.shape
    n = rng.poisson(per_voxel, light.size) if per_voxel != 1.0 else np.ones(light.size, int)
    starts = np.concatenate([[0], np.cumsum(n)]).astype(np.int32)
    level = np.repeat(light.ravel(), n)
    variance = scale * (level + 9.0)
    data = (level + rng.normal(0, 1, level.size) * np.sqrt(variance)).astype(np.float32)
    return data, variance.astype(np.float32), np.zeros(data.size, np.int32), starts


def judge(rows, shape, method, sigma=SIGMA, rule=NOT_SAME_Y):
    data, stat, dq, starts = rows
    nz, ny, nx = shape
    flags = np.zeros(data.size, np.uint8)
    flag_outliers(data, stat, dq, starts, nx, ny, nz, 0, nz, METHODS[method], sigma, rule, flags)
    return flags > 0


def neighbours(starts, shape, k, y, x, rule):
    """Rows of the neighbourhood: in the own plane, and in the others."""
    nz, ny, nx = shape
    own, other = [], []
    around = product(*(range(max(i - 1, 0), min(i + 2, n)) for i, n in ((k, nz), (y, ny), (x, nx))))
    for kk, yy, xx in around:
        same = (yy == y) if rule == NOT_SAME_Y else (xx == x) if rule == NOT_SAME_X else False
        if not same or (kk, yy, xx) == (k, y, x):
            (own if kk == k else other).extend(range(*starts[(kk * ny + yy) * nx + xx :][:2]))
    return own, other


def is_light(data, dq, starts, shape, place, value, near, rule):
    dark = near[len(near) // 4]
    seen = 0
    for axis in range(3):
        bright = []
        for step in (-1, 1):
            at = np.array(place)
            at[axis] += step
            if np.all((at >= 0) & (at < shape)):
                rows = slice(*starts[np.ravel_multi_index(at, shape) :][:2])
                good = data[rows][dq[rows] == 0].astype(float) - dark
                if good.size:
                    bright.append(good.mean() > 0.15 * (value - dark) or good.max() > 0.3 * (value - dark))
        seen += bool(bright)
        across = {NOT_SAME_Y: 1, NOT_SAME_X: 2}.get(rule) == axis
        if sum(bright) < len(bright) - across:
            return False
    return seen > 0


def twin(rows, shape, method, sigma, rule):
    data, stat, dq, starts = rows
    flags = np.zeros(data.size, bool)
    unit = sigma / 1.4826
    for place in np.ndindex(shape):
        voxel = np.ravel_multi_index(place, shape)
        mine = np.arange(starts[voxel], starts[voxel + 1])
        own, other = ([i for i in part if dq[i] == 0] for part in neighbours(starts, shape, *place, rule))
        if len(own + other) < 8:
            around = neighbours(starts, shape, *place, ALL_NEIGHBOURS)
            own, other = ([i for i in part if dq[i] == 0] for part in around)
        near = own + other
        if not mine.size or len(near) < 3:
            continue
        values, variances = data[near].astype(float), stat[near].astype(float)
        expected = max(np.median(variances), np.median(variances[: len(own)]) if own else 0.0)
        mean_variance = np.minimum(variances, 30 * expected).mean()
        if method == "median":
            centre = np.median(values)
            scatter = 1.4826 * np.median(np.abs(values - centre))
            chance = (1 + 2.3 / len(near) ** 0.5) ** 2 * mean_variance
            for i in mine:
                variance = min(expected, float(stat[i])) + max(0.0, scatter**2 - chance)
                if data[i] > centre + unit * max(np.sqrt(variance), scatter / 1.5):
                    light = is_light(data, dq, starts, shape, place, float(data[i]), sorted(values), rule)
                    flags[i] = not light
            continue
        if not data[mine].max() > values.mean() + min(1.3, 0.12 * sigma / 1.5) * values.std():
            continue
        left = sorted(values)
        for i in mine[np.argsort(-data[mine], kind="stable")]:
            if dq[i] == 0:
                left.remove(float(data[i]))
            if len(left) < 2:
                break
            row = min(expected, float(stat[i]))
            number = int(np.ceil(0.8 * len(left)))
            while True:
                kept = np.array(left[:number])
                excess = (kept.var(ddof=1) if number > 1 else 0.0) - mean_variance
                if method == "mean":
                    variance = max(row + max(0.25 * excess, excess - 0.75 * mean_variance), 0.25 * row)
                else:
                    variance = row + max(0.0, excess - 0.5 * mean_variance)
                limit = kept.mean() + unit * np.sqrt(variance)
                if number == len(left) or left[number] > limit:
                    break
                number += 1
            if not data[i] > limit:
                break
            if is_light(data, dq, starts, shape, place, float(data[i]), kept, rule):
                break
            flags[i] = True
    return flags


def sky(shape, level=100.0):
    return np.full(shape, level)


def star(shape, fwhm, flux, line=None):
    """A star in the middle of the field; with `line` (FWHM in planes) only around the middle plane."""
    z, y, x = np.indices(shape)
    r2 = (y - shape[1] / 2 + 0.3) ** 2 + (x - shape[2] / 2 + 0.2) ** 2
    light = flux * np.exp(-4 * np.log(2) * r2 / fwhm**2)
    if line:
        light = light * np.exp(-4 * np.log(2) * (z - shape[0] / 2 + 0.2) ** 2 / line**2)
    return light, r2 < (fwhm / 2) ** 2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("per_voxel", "sigma"), [(0.4, 15.0), (1.0, 8.0), (3.0, 15.0)])
def test_flags_equal_the_twin(method, per_voxel, sigma, rule):
    rng = np.random.default_rng(1)
    shape = (4, 9, 21)
    light = sky(shape) * np.array([1.0, 1.0, 8.0, 1.0])[:, None, None] + star(shape, 3.0, 4000.0)[0]
    data, stat, dq, starts = voxel_rows(light, rng, per_voxel)
    hit = rng.random(data.size) < 0.02
    data[hit] += (np.sqrt(stat) * rng.uniform(3, 100, data.size))[hit].astype(np.float32)
    dq[rng.random(data.size) < 0.02] = 1
    rows = (data, stat, dq, starts)
    flags = judge(rows, shape, method, sigma, rule)
    np.testing.assert_array_equal(flags, twin(rows, shape, method, sigma, rule))
    assert flags[hit].any()


@pytest.mark.parametrize("per_voxel", [1.0, 3.0])
@pytest.mark.parametrize("method", METHODS)
def test_cosmic_rays_are_found_at_the_default_limit(method, per_voxel):
    rng = np.random.default_rng(2)
    shape = (20, 20, 40)
    data, stat, dq, starts = voxel_rows(sky(shape), rng, per_voxel)
    hit = rng.random(data.size) < 2e-3
    data[hit] += (np.sqrt(stat) * rng.uniform(10, 30, data.size))[hit].astype(np.float32)
    flags = judge((data, stat, dq, starts), shape, method)
    assert flags[hit].mean() > 0.93
    assert not flags[~hit].any()


@pytest.mark.parametrize("rule", [NOT_SAME_Y, ALL_NEIGHBOURS])
@pytest.mark.parametrize("method", METHODS)
def test_tracks_are_found(method, rule):
    """Four rows along x, in one slice; where all neighbours count, the track is part of them."""
    rng = np.random.default_rng(3)
    shape = (20, 20, 60)
    data, stat, dq, starts = voxel_rows(sky(shape), rng)
    hit = np.zeros(shape, bool)
    for k, y, x in zip(rng.integers(0, 20, 30), rng.integers(0, 20, 30), rng.integers(0, 56, 30)):
        hit[k, y, x : x + 4] = True
    data[hit.ravel()] += 20 * np.sqrt(109.0)
    flags = judge((data, stat, dq, starts), shape, method, rule=rule)
    assert flags[hit.ravel()].mean() > 0.93
    assert flags[~hit.ravel()].mean() < 1e-4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("line", [None, 2.0])
@pytest.mark.parametrize("fwhm", [1.8, 3.0, 6.0])
@pytest.mark.parametrize("method", METHODS)
def test_stars_and_lines_stay(method, fwhm, line, rule):
    rng = np.random.default_rng(4)
    shape = (20, 31, 31)
    light, core = star(shape, fwhm, 1e5, line)
    rows = voxel_rows(sky(shape) + light, rng)
    flags = judge(rows, shape, method, rule=rule)
    assert flags[core.ravel()].mean() <= 1e-3
    assert light.ravel()[flags].sum() < 2e-3 * light.sum()


@pytest.mark.parametrize("method", METHODS)
def test_without_variances_the_scatter_counts(method):
    rng = np.random.default_rng(5)
    shape = (6, 12, 12)
    data, stat, dq, starts = voxel_rows(sky(shape), rng)
    data[400] += 1000.0
    for value in (0.0, np.nan):
        flags = judge((data, np.full_like(stat, value), dq, starts), shape, method)
        assert flags[400]
        assert flags.sum() <= 5  # few rows scatter little by chance


@pytest.mark.parametrize("method", METHODS)
def test_a_star_on_the_border_of_a_slice_stays(method):
    """Left of the star the voxels of the middle line hold rows of two slices, right of it those above do."""
    profile = 1300 * np.exp(-0.5 * ((np.arange(40) - 20.5) / 2.0) ** 2)
    levels, starts = [], [0]
    for line in np.arange(12 * 3) % 3:
        for x, value in enumerate(profile):
            pair = (value, 0.53 * value)
            levels.extend(((), pair if x <= 20 else pair[:1], pair[1:] if x > 20 else ())[line])
            starts.append(len(levels))
    stat = np.array(levels) + 25.0
    data = levels + np.random.default_rng(6).normal(0, 1, stat.size) * np.sqrt(stat)
    rows = data.astype(np.float32), stat.astype(np.float32), np.zeros(data.size, np.int32)
    assert not judge((*rows, np.array(starts, np.int32)), (12, 3, 40), method).any()


@pytest.mark.parametrize("method", METHODS)
def test_rows_without_other_slices_are_judged_by_their_own(method):
    """One line of voxels: the slices above and below are missing."""
    rng = np.random.default_rng(7)
    shape = (40, 1, 60)
    data, stat, dq, starts = voxel_rows(sky(shape), rng)
    hit = rng.random(data.size) < 4e-3
    data[hit] += (np.sqrt(stat) * rng.uniform(12, 30, data.size))[hit].astype(np.float32)
    flags = judge((data, stat, dq, starts), shape, method)
    assert flags[hit].mean() > 0.9
    assert not flags[~hit].any()

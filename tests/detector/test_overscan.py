# SPDX-License-Identifier: BSD-3-Clause
"""Overscan: rejection against a slow twin, statistics, the growing polynomial."""

import numpy as np
import pytest

from muse_core.detector.dcr import CosmicPlan, flag_hits
from muse_core.detector.declarations import OVERSCAN
from muse_core.detector.overscan import (
    CorrectPlan,
    RejectPlan,
    fit_vertical,
    overscan_stats,
)
from muse_core.detector.plan import OverscanPlan, overscan_plan
from muse_core.framework import InputError, ParameterError, RecipeSpec

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


def slow_frame(values, bad, threshold):
    """The hits of one frame, in plain numpy."""
    good = values[bad == 0]
    deviation = np.abs(good - good.mean()) <= threshold * good.std(ddof=1)
    s = good[deviation].std(ddof=1)
    bins = np.floor(good + 0.5).astype(int)
    counts = np.bincount(bins - bins.min())
    gap = 0
    for i in range(int(np.argmax(counts)) + 1, counts.size):
        gap = gap + 1 if counts[i] == 0 else 0
        if gap > threshold * s:
            return (np.floor(values + 0.5) - bins.min() > i) & (bad == 0)
    return np.zeros(values.shape, bool)


def slow_dcr(values, dq, xbox, ybox, passes, threshold):
    dq = dq.copy()
    ny, nx = values.shape
    xs = [(x, x + xbox + 1) for x in range(0, nx, xbox // 2) if x + xbox < nx]
    ys = [(y, y + ybox + 1) for y in range(0, ny, ybox // 2) if y + ybox < ny]
    right, top = (nx - xbox, nx), (ny - ybox, ny)
    frames = [(y, x) for x in xs for y in ys] + [(y, right) for y in ys] + [(top, x) for x in xs]
    frames.append((top if nx % xbox == 0 else (ny - xbox, ny), right))
    for _ in range(passes):
        before = dq.copy()
        for (y0, y1), (x0, x1) in frames:
            part = (slice(y0, y1), slice(x0, x1))
            dq[part][slow_frame(values[part], dq[part], threshold)] |= 0x20  # seen by the next frame
        if np.array_equal(dq, before):
            break
    return dq


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("shape", "box"),
    [((29, 256), (128, 29)), ((160, 29), (29, 128)), ((40, 60), (20, 10)), ((90, 70), (15, 40))],
)
def test_hits_agree_with_the_slow_twin(seed, shape, box):
    rng = np.random.default_rng([seed, shape[0]])
    values = np.rint(1500 + 2.6 * rng.standard_normal(shape))
    n = 12
    y, x = rng.integers(0, shape[0], n), rng.integers(0, shape[1], n)
    values[y, x] += np.rint(rng.uniform(5, 300, n))
    dq = np.zeros(shape, np.int32)
    dq[rng.integers(0, shape[0], 5), rng.integers(0, shape[1], 5)] = 0x1000
    expected = slow_dcr(values, dq, *box, 3, 2.5)
    count = flag_hits(values, dq, CosmicPlan(*box, 3, 2.5))
    assert np.array_equal(dq, expected)
    assert count == ((expected & 0x20) > 0).sum()
    assert count > 0


def test_window_smaller_than_the_box_is_left_alone():
    values = np.full((10, 10), 5.0)
    values[3, 3] = 900
    dq = np.zeros(values.shape, np.int32)
    assert flag_hits(values, dq, CosmicPlan(128, 29, 3, 2.5)) == 0
    assert not dq.any()


def windows(rng, level=1500.0, sigma=2.6):
    h = np.rint(level + sigma * rng.standard_normal((29, 256)))
    v = np.rint(level + sigma * rng.standard_normal((200, 29)))
    return h, np.zeros(h.shape, np.int32), v, np.zeros(v.shape, np.int32)


def test_statistics_of_the_three_methods():
    rng = np.random.default_rng(3)
    h, hq, v, vq = windows(rng)
    both = np.concatenate([h.ravel(), v.ravel()])
    plain = overscan_stats(h, hq, v, vq, RejectPlan("none"))
    assert plain.mean == np.float32(both.mean())
    assert plain.stdev == np.float32(both.std(ddof=1))
    h[3, 5], v[60, 7] = 40000, 3000
    disturbed = overscan_stats(h, hq, v, vq, RejectPlan("none"))
    assert abs(disturbed.mean - plain.mean) > 3
    fitted = overscan_stats(h, hq, v, vq, RejectPlan("fit"))
    assert not hq.any()  # "fit" flags nothing
    dcr = overscan_stats(h, hq, v, vq, RejectPlan("dcr"))
    assert hq[3, 5] == vq[60, 7] == 0x20
    for stats in (fitted, dcr):
        assert stats.mean == pytest.approx(plain.mean, abs=0.01)  # two values fewer of 13224
        assert stats.stdev == pytest.approx(plain.stdev, abs=0.01)


def test_all_flagged_is_an_error():
    h, hq, v, vq = windows(np.random.default_rng(1))
    with pytest.raises(InputError, match="unflagged"):
        overscan_stats(h, hq + 0x1000, v, vq + 0x1000, RejectPlan("dcr"))
    with pytest.raises(InputError, match="unflagged"):
        fit_vertical(v, vq + 1, 0, CorrectPlan("vpoly"), 30.0)


@pytest.mark.parametrize("order", [1, 3, 6])
def test_polynomial_grows_to_the_order_of_the_data(order):
    rng = np.random.default_rng(order)
    t = np.linspace(-1, 1, 400)
    shape = np.polynomial.legendre.legval(t, [1500.0, *([8.0] * order)])
    values = shape[:, None] + 0.05 * rng.standard_normal((400, 29))
    model = fit_vertical(
        values, np.zeros(values.shape, np.int32), 32, CorrectPlan("vpoly", 15, 1.01, 1.01), 30.0
    )
    if order == 1:
        assert model.order in (1, 2)  # the order that no longer gains is kept
    assert np.abs(model.level - shape).max() < 0.05  # noise of the mean of a row is 0.01
    assert model.first == 32


def test_polynomial_is_least_squares_over_single_pixels():
    rng = np.random.default_rng(5)
    values = 100 + 3 * rng.standard_normal((50, 7)) + np.arange(50)[:, None] * 0.3
    dq = (rng.random(values.shape) < 0.2).astype(np.int32)
    model = fit_vertical(values, dq, 0, CorrectPlan("vpoly", 2, 0.0, 0.0), 1e9)
    y = np.broadcast_to(np.arange(50.0)[:, None], values.shape)
    expected = np.polyval(np.polyfit(y[dq == 0], values[dq == 0], 2), np.arange(50.0))
    assert model.order == 2
    assert np.allclose(model.level, expected, rtol=1e-10)


def test_hits_are_clipped_from_the_polynomial():
    rng = np.random.default_rng(6)
    values = 1500 + 2 * rng.standard_normal((100, 29))
    dq = np.zeros(values.shape, np.int32)
    clean = fit_vertical(values, dq, 0, CorrectPlan("vpoly", 3), 8.0)
    values[50, 3] += 30000
    hit = fit_vertical(values, dq, 0, CorrectPlan("vpoly", 3), 8.0)
    assert np.abs(hit.level.mean() - clean.level.mean()) < 0.01
    kept = fit_vertical(values, dq, 0, CorrectPlan("vpoly", 3), 1e9)
    assert np.abs(kept.level.mean() - clean.level.mean()) > 1


RECIPE = RecipeSpec("muse_test", "", params=OVERSCAN)


@pytest.mark.parametrize("text", ["dcr:a,b", "median", "", "fit:x"])
def test_bad_rejection_text(text):
    with pytest.raises(ParameterError, match="ovscreject"):
        RECIPE.values({"ovscreject": text})


def test_plans_are_parsed():
    def plan(**settings):
        return overscan_plan(RECIPE.values(settings))

    assert plan() == OverscanPlan(RejectPlan("dcr"), CorrectPlan("vpoly"), 30.0, 3)
    assert plan(ovscreject="dcr:64,,2").reject == RejectPlan("dcr", 64, 32, 2)
    assert plan(ovscreject="fit:4").reject == RejectPlan("fit", sigma=4.0)
    assert plan(overscan="vpoly:4,1.1").correct == CorrectPlan("vpoly", 4, 1.1)
    for text in ("poly", "offset:3"):
        with pytest.raises(ParameterError, match="overscan"):
            plan(overscan=text)

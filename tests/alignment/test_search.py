# SPDX-License-Identifier: BSD-3-Clause
"""The search for a threshold: same end as taking every step, without taking every step."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse_core.alignment.sources.detection import make_kernel
from muse_core.alignment.sources.threshold_search import (
    DetectionLimits,
    NoShapeSurvivesError,
    PeakList,
    detect_sources,
    search_threshold,
)
from muse_core.simulate.fields import render_stars

pytestmark = pytest.mark.unit


def every_step(count, start, step, srcmin, srcmax, iterations):
    """The loop as specified."""
    threshold = start
    for n in range(max(1, iterations)):
        number = count(threshold)
        if srcmin <= number <= srcmax or n == max(1, iterations) - 1:
            break
        if number < srcmin:
            if threshold - step <= 0:
                break
            threshold -= step
        else:
            threshold += step
    return threshold, number


@settings(max_examples=300, deadline=None)
@given(
    heights=st.lists(st.floats(0.1, 40.0), max_size=12),
    start=st.floats(-3.0, 50.0),
    step=st.sampled_from([0.5, 0.3, 7.0, 11.3]),
    limits=st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted),
    iterations=st.integers(-1, 90),
)
def test_search_ends_where_all_steps_end(heights, start, step, limits, iterations):
    heights = np.array(heights)

    def count(threshold):
        return int(np.sum(heights >= threshold))

    found = search_threshold(count, start, step, *limits, iterations)
    assert found[:2] == every_step(count, start, step, *limits, iterations)


def test_flipping_between_two_thresholds_is_cut_short():
    calls = []

    def count(threshold):
        calls.append(threshold)
        return 3 if threshold > 10.25 else 30

    threshold, number, _ = search_threshold(count, 10.0, 0.5, 5, 10, 100001)
    assert len(calls) < 10
    assert (threshold, number) == every_step(count, 10.0, 0.5, 5, 10, 101)  # same parity as 100001


def star_image(rng, n=12):
    image = render_stars(
        (80, 80), rng.uniform(10, 70, n), rng.uniform(10, 70, n), rng.uniform(30, 200, n), 4.0
    )
    return (image + rng.normal(0.0, 1.0, image.shape)).astype(np.float32)


def test_counts_do_not_depend_on_how_deep_was_dug_before():
    image = star_image(np.random.default_rng(1)).astype(np.float64)
    kernel = make_kernel(5.0)
    limits = DetectionLimits()
    used = PeakList(image, kernel, limits)
    for threshold in (90.0, 30.0, 7.0, 6.5, 20.0, 2.0, 0.7, 40.0):
        fresh = PeakList(image, kernel, limits)
        assert used.count(threshold) == fresh.count(threshold)
        np.testing.assert_array_equal(used.sources(threshold).x, fresh.sources(threshold).x)


def test_negative_threshold_counts_in_deviations_of_the_background():
    data = star_image(np.random.default_rng(2)) + np.float32(50.0)
    bad = np.zeros(data.shape, dtype=bool)
    result = detect_sources(
        data, bad, make_kernel(5.0), DetectionLimits(threshold=-20.0, srcmin=1, srcmax=10000)
    )
    assert result.threshold == pytest.approx(result.background.median + 20.0 * result.background.mad)


def test_a_threshold_below_zero_is_used_once():
    data = star_image(np.random.default_rng(3)) - np.float32(500.0)
    bad = np.zeros(data.shape, dtype=bool)
    limits = DetectionLimits(threshold=-1.0, srcmin=100000, srcmax=200000)
    result = detect_sources(data, bad, make_kernel(5.0), limits)
    assert result.threshold < 0
    assert result.searches == 1
    assert not result.wanted


def test_candidates_without_any_source_are_an_error():
    data = np.zeros((40, 40), dtype=np.float32)
    data[20, 20] = 1000.0
    with pytest.raises(NoShapeSurvivesError):
        detect_sources(data, np.zeros(data.shape, dtype=bool), make_kernel(5.0), DetectionLimits())


def test_odd_sizes_lose_their_last_row_and_column():
    rng = np.random.default_rng(4)
    data = star_image(rng)
    wide = np.full((81, 81), 1e6, dtype=np.float32)
    wide[:80, :80] = data
    bad = np.zeros(wide.shape, dtype=bool)
    bad[80], bad[:, 80] = True, True
    kernel, limits = make_kernel(5.0), DetectionLimits()
    a = detect_sources(data, np.zeros(data.shape, dtype=bool), kernel, limits).sources
    b = detect_sources(wide, bad, kernel, limits).sources
    np.testing.assert_array_equal(a.x, b.x)


def test_hopeless_searches_end_within_a_second():
    noise = np.random.default_rng(5).normal(size=(300, 300)).astype(np.float32)
    bad = np.zeros(noise.shape, dtype=bool)
    for limits in (
        DetectionLimits(threshold=1e9, iterations=100000),
        DetectionLimits(threshold=2.6, iterations=100000, srcmin=40, srcmax=41, step=0.4),
        DetectionLimits(threshold=0.5, iterations=100000, srcmin=40, srcmax=41, step=1.7),
    ):
        start = time.perf_counter()
        detect_sources(noise, bad, make_kernel(5.0), limits)
        assert time.perf_counter() - start < 1.0

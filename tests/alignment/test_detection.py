# SPDX-License-Identifier: BSD-3-Clause
"""Source detection: kernel, filtered image, candidates, measurement, bad pixels."""

import numpy as np
import pytest

from muse_core.alignment.images.background import fit_background
from muse_core.alignment.sources.detection import (
    filter_image,
    find_peaks,
    make_kernel,
    measure_peaks,
    near_bad_pixel,
)
from muse_core.simulate.fields import render_stars

pytestmark = pytest.mark.unit
WIDE = (0.0, 10.0), (-10.0, 10.0)


def slow_filter(image, kernel):
    ny, nx = image.shape
    out = np.zeros(image.shape)
    half = kernel.half
    for dy in range(-half, half + 1):
        for dx in range(-half, half + 1):
            out += kernel.filter[dy + half, dx + half] * np.roll(image, (-dy, -dx), (0, 1))
    for y in range(ny):
        for x in range(nx):
            if not (half < y <= ny - half and half < x <= nx - half):
                out[y, x] = 0.0
    return out


@pytest.mark.parametrize(
    ("fwhm", "half", "error"),
    [(5.0, 3, 0.800263), (0.6, 2, None), (3.2, 2, None), (8.0, 5, None), (25.0, 6, None)],
)
def test_kernel_has_the_classic_size_and_sums_to_zero(fwhm, half, error):
    kernel = make_kernel(fwhm)
    assert kernel.half == half
    assert abs(kernel.filter.sum()) < 1e-12
    assert np.all(kernel.filter[~kernel.mask] == 0)
    if error:
        assert kernel.relative_error == pytest.approx(error, abs=5e-7)  # six digits in the log of 2.8.7


@pytest.mark.parametrize("fwhm", [3.0, 5.0, 12.0])
def test_filter_equals_the_slow_sum_with_its_asymmetric_frame(fwhm):
    image = np.random.default_rng(1).normal(size=(40, 36))
    kernel = make_kernel(fwhm)
    np.testing.assert_allclose(filter_image(image, kernel), slow_filter(image, kernel), atol=1e-13)


@pytest.mark.law
def test_a_constant_background_does_not_change_sources():
    image = render_stars((60, 60), [20.3, 41.7], [30.1, 22.4], [100.0, 50.0], 4.0)
    kernel = make_kernel(5.0)
    assert np.abs(filter_image(image + 1000.0, kernel) - filter_image(image, kernel)).max() < 1e-10


def test_peaks_are_those_of_the_definition():
    values = np.random.default_rng(2).normal(size=(30, 34)).round(1)  # many ties
    kernel = make_kernel(5.0)
    half = kernel.half
    wanted = []
    for y in range(30):
        for x in range(34):
            if values[y, x] < 0.7:
                continue
            around = [
                values[y + dy, x + dx]
                for dy in range(-half, half + 1)
                for dx in range(-half, half + 1)
                if kernel.mask[dy + half, dx + half] and 0 <= y + dy < 30 and 0 <= x + dx < 34
            ]
            if values[y, x] >= max(around):
                wanted.append((y, x))
    assert list(zip(*find_peaks(values, kernel, 0.7), strict=True)) == wanted


def test_positions_fluxes_and_shapes_of_single_stars():
    x, y = np.array([20.3, 41.7]), np.array([30.1, 22.4])
    image = render_stars((60, 64), x, y, [100.0, 50.0], 5.0) + 7.0
    kernel = make_kernel(5.0)
    filtered = filter_image(image, kernel)
    found = measure_peaks(image, filtered, kernel, *find_peaks(filtered, kernel, 10.0), *WIDE)
    order = np.argsort(found.x)
    # the fit of sampled marginals is biased by a hundredth of a pixel, as all members of this family
    np.testing.assert_allclose(found.x[order], x, atol=0.02)
    np.testing.assert_allclose(found.y[order], y, atol=0.02)
    np.testing.assert_allclose(found.flux[order], [100.0, 50.0], rtol=0.05)
    assert np.all(np.abs(found.roundness) < 0.1)
    assert np.all((found.sharpness > 0.3) & (found.sharpness < 0.8))


def test_cosmics_and_trails_are_dropped_by_shape():
    image = np.random.default_rng(3).normal(0.0, 0.1, (60, 60))
    image[20, 20] += 500.0
    image[40, 10:50] += 200.0
    kernel = make_kernel(5.0)
    filtered = filter_image(image, kernel)
    peaks = find_peaks(filtered, kernel, 20.0)
    assert len(peaks[0]) > 0
    assert len(measure_peaks(image, filtered, kernel, *peaks, (0.2, 1.0), (-1.0, 1.0))) == 0


def test_limits_belong_to_the_accepted_range():
    image = render_stars((60, 60), [30.2], [29.9], [100.0], 4.5)
    kernel = make_kernel(5.0)
    filtered = filter_image(image, kernel)
    peaks = find_peaks(filtered, kernel, 20.0)
    found = measure_peaks(image, filtered, kernel, *peaks, *WIDE)
    s, r = float(found.sharpness[0]), float(found.roundness[0])
    assert len(measure_peaks(image, filtered, kernel, *peaks, (s, s), (r, r))) == 1
    assert len(measure_peaks(image, filtered, kernel, *peaks, (np.nextafter(s, 9), 9), (r, r))) == 0
    assert len(measure_peaks(image, filtered, kernel, *peaks, (s, s), (-9, np.nextafter(r, -9)))) == 0


@pytest.mark.law
def test_centroid_errors_are_as_predicted():
    rng = np.random.default_rng(4)
    kernel = make_kernel(5.0)
    clean = render_stars((40, 40), [20.0], [20.0], [50.0], 5.0)
    x = []
    for _ in range(400):
        image = clean + rng.normal(0.0, 1.0, clean.shape)
        found = measure_peaks(
            image, filter_image(image, kernel), kernel, np.array([20]), np.array([20]), *WIDE
        )
        x.extend(found.x)
    assert np.std(x) == pytest.approx(kernel.position_error / 50.0, rel=0.15)  # 400 samples: 3.5 per cent


@pytest.mark.parametrize("distance", [-1.0, 0.0, 0.3, 1.0, 2.5, 5.0, 8.5])
def test_bad_pixels_closer_than_the_distance(distance):
    rng = np.random.default_rng(5)
    bad = rng.uniform(size=(40, 50)) < 0.01
    x, y = rng.uniform(-2, 52, 200), rng.uniform(-2, 42, 200)
    reach = np.ceil(distance)
    by, bx = np.nonzero(bad)
    wanted = [
        reach > 0 and np.min(np.hypot(bx - np.floor(a), by - np.floor(b))) < reach
        for a, b in zip(x, y, strict=True)
    ]
    assert near_bad_pixel(x, y, bad, distance).tolist() == wanted


def test_background_of_a_known_ramp():
    # 1..100: q1 = 0.05, q2 = 0.145; limits are the values of rank 5 and 15, without themselves
    fitted = fit_background(np.arange(1.0, 101.0), 0.05, 0.1)
    assert (fitted.low, fitted.high) == (5.0, 15.0)
    assert (fitted.median, fitted.mad, fitted.npixels) == (10.0, 2.0, 9)


@pytest.mark.parametrize("ignore", [1.0, 2.5])
def test_no_background_pixels_give_zero(ignore):
    fitted = fit_background(np.arange(100.0), ignore, 0.1)
    assert (fitted.median, fitted.mad, fitted.npixels) == (0.0, 0.0, 0)


def test_the_median_of_the_sky_is_a_float32():
    """Deviations are taken from the rounded median, as in 2.8.7 (matters for bright skies only)."""
    step = float(np.spacing(np.float32(16.0)))
    values = np.array([0.0, 16.0, 16.0 + step, 16.0 + 2 * step, 16.0 + 5 * step, 99.0], np.float32)
    found = fit_background(values, 0.17, 1.0)
    assert (found.low, found.high, found.npixels) == (0.0, 99.0, 4)
    assert found.median == np.float32(16.0 + 1.5 * step)  # rounds to the even one, 2 steps
    assert found.mad == 1.5 * step


def test_bad_pixels_near_an_edge():
    """2.8.7 looks for bad pixels only as far from a source as the edge is; we look everywhere."""
    bad = np.zeros((60, 70), dtype=bool)
    bad[16, 30] = True  # 9 pixels above a source in row 7: 2.8.7 looks at 8
    x, y = np.array([30.4]), np.array([7.2])
    assert near_bad_pixel(x, y, bad, 15.0).tolist() == [True]
    assert near_bad_pixel(x, y, bad, 15.0, bad_pixels_up_to_edge=True).tolist() == [False]
    assert near_bad_pixel(x, y + 1, bad, 15.0, bad_pixels_up_to_edge=True).tolist() == [True]
    bad[:] = False
    bad[30, 70 - 14] = True  # 7 pixels from a source in the seventh column from the other side: it looks at 6
    assert near_bad_pixel(
        np.array([63.0]), np.array([30.0]), bad, 15.0, bad_pixels_up_to_edge=True
    ).tolist() == [False]
    assert near_bad_pixel(
        np.array([62.9]), np.array([30.0]), bad, 15.0, bad_pixels_up_to_edge=True
    ).tolist() == [True]

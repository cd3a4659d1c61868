# SPDX-License-Identifier: BSD-3-Clause
"""Sky and objects of a white-light image told apart, and the spectrum of what lies on the sky sample."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from muse_core.postproc.sky.object_light import fit_object_light
from muse_core.postproc.sky.object_spectrum import NO_OBJECTS, ObjectSums
from muse_core.postproc.sky.point_light import refine_object_light
from muse_core.postproc.sky.sample import SkySample, fit_sky_sample
from muse_core.postproc.white_light.sky_mask import SkyMask

LEVEL = 190.0


def crowded(n_stars, seed=3, shape=(70, 150), noise=1.5):
    """Stars with wings; return the image and the light of the stars."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = np.zeros(shape)
    for _ in range(n_stars):
        dy, dx = y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])
        light += 10 ** rng.uniform(1.5, 3.5) / (1.0 + (dx**2 + dy**2) / 4.0) ** 2.8
    return (LEVEL + light + rng.normal(0, noise, shape)).astype(np.float32), light


@pytest.mark.unit
def test_an_empty_field_has_no_objects():
    levels = [fit_object_light(crowded(0, seed)[0]).sky for seed in range(5)]
    np.testing.assert_allclose(levels, LEVEL, rtol=1.5e-3)


@pytest.mark.unit
@pytest.mark.parametrize("n_stars", [5, 40, 150])
def test_sky_under_stars(n_stars):
    image, light = crowded(n_stars)
    found = fit_object_light(image)
    assert abs(found.sky / LEVEL - 1.0) < 0.006
    assert light[found.faint].mean() == pytest.approx(found.light[found.faint].mean(), abs=0.006 * LEVEL)


@pytest.mark.unit
def test_the_light_on_the_sample_is_known():
    image, light = crowded(120)
    sample = fit_sky_sample(image, (image < np.quantile(image, 0.1)).astype(np.uint8))
    on_sky = sample.mask > 0
    assert (image[on_sky] - sample.light[on_sky]).mean() == pytest.approx(LEVEL, rel=6e-3)
    assert light[on_sky].mean() < 0.004 * LEVEL


@pytest.mark.unit
def test_the_same_bits_again():
    image, _ = crowded(40)
    one, two = fit_object_light(image), fit_object_light(image)
    assert one.sky == two.sky
    assert one.light.tobytes() == two.light.tobytes()


@pytest.mark.unit
def test_spectrum_of_the_light_on_the_sample():
    rng = np.random.default_rng(1)
    light = rng.uniform(0.0, 4.0, (20, 30))
    sample = SkySample(np.ones((20, 30), np.uint8), light)
    sums = ObjectSums(sample, SkyMask(sample.mask, "linear"), (5000.0, 5400.0), 1.25)
    n = 200_000
    x, y = rng.integers(0, 30, n).astype(np.float32), rng.integers(0, 20, n).astype(np.float32)
    lam = rng.uniform(5000.0, 5400.0, n).astype(np.float32)
    colour = 1.0 + (lam - 5200.0) / 1000.0
    data = 50.0 + light[y.astype(int), x.astype(int)] * colour + rng.normal(0, 1, n)
    sums.add(x, y, lam, data.astype(np.float32), np.ones(n, np.bool_))
    found = sums.spectrum(logging.getLogger("test"))
    expected = light.mean() * (1.0 + (found.lam - 5200.0) / 1000.0)
    np.testing.assert_allclose(found.flux, expected, rtol=0.05)
    nothing = SkySample(sample.mask, np.zeros((20, 30)))
    sums = ObjectSums(nothing, SkyMask(nothing.mask, "linear"), (5000.0, 5400.0), 1.25)
    assert sums.spectrum(logging.getLogger("test")) is NO_OBJECTS


@pytest.mark.unit
def test_spaxels_count_by_their_rows():
    """Spaxels with a value in the image, but without rows, take no part."""
    light = np.tile(np.linspace(0.0, 4.0, 30), (20, 1))
    light[:, 20:] += 30.0
    sample = SkySample(np.ones((20, 30), np.uint8), light)
    image = (50.0 + light).astype(np.float32)
    sums = ObjectSums(sample, SkyMask(sample.mask, "linear"), (5000.0, 5400.0), 1.25, image)
    rng = np.random.default_rng(1)
    n = 100_000
    x, y = rng.integers(0, 21, n).astype(np.float32), rng.integers(0, 20, n).astype(np.float32)
    x[x == 20.0] = 29.0
    lam = rng.uniform(5000.0, 5400.0, n).astype(np.float32)
    on_rows = light[y.astype(int), x.astype(int)]
    sums.add(x, y, lam, (50.0 + on_rows).astype(np.float32), np.ones(n, np.bool_))
    np.testing.assert_allclose(sums.spectrum(logging.getLogger("test")).flux, on_rows.mean(), rtol=0.03)


@pytest.mark.unit
@pytest.mark.parametrize("level", [0.0, -5.0, LEVEL])
def test_a_sample_of_any_level_and_without_a_mask(level):
    image = np.random.default_rng(2).normal(level, 1.0, (40, 60)).astype(np.float32)
    darkest = (image < np.quantile(image, 0.1)).astype(np.uint8)
    for mask in (darkest, np.zeros_like(darkest)):
        sample = fit_sky_sample(image, mask)
        assert sample.excess == 0.0
        assert sample.mask.mean() > 0.9
    nothing = np.full(image.shape, np.nan, np.float32)
    assert not fit_sky_sample(nothing, np.zeros_like(darkest)).mask.any()
    image[:, 6:] += 40.0  # most of the field is object
    sample = fit_sky_sample(image, (image < level + 3.0).astype(np.uint8))
    assert 0.0 < sample.excess < 1.5


def field_of_stars(n_stars, seed, index, fwhm=4.0, shape=(75, 150)):
    """Stars of other steepness than those that are looked for; return the image and their light."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    radius = fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / index) - 1.0))
    light = np.zeros(shape)
    for _ in range(n_stars):
        dy, dx = y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])
        light += 10 ** rng.uniform(1.5, 3.5) * (1.0 + (dx**2 + dy**2) / radius**2) ** -index
    return (LEVEL + light + rng.normal(0, 1.5, shape)).astype(np.float32), light


@pytest.mark.unit
@pytest.mark.parametrize("index", [2.3, 2.8, 3.5])
def test_points_and_their_wings_are_nearer_to_the_sky_in_the_mean(index):
    before, after = [], []
    for seed in range(4):
        image, _ = field_of_stars(150, seed, index)
        first = fit_object_light(image)
        before.append(first.sky / LEVEL - 1.0)
        after.append(refine_object_light(image, first).sky / LEVEL - 1.0)
    print(index, np.round(100 * np.array(before), 2), np.round(100 * np.array(after), 2))
    assert np.sqrt(np.mean(np.square(after))) < max(0.005, np.sqrt(np.mean(np.square(before))))


@pytest.mark.unit
def test_fields_that_are_not_crowded_stay_as_they_are():
    for image, _ in (crowded(0), crowded(5), field_of_stars(12, 1, 2.8)):
        first = fit_object_light(image)
        assert refine_object_light(image, first) is first


@pytest.mark.unit
def test_spectrum_of_the_light_by_spaxels_beside_the_sample():
    rng = np.random.default_rng(2)
    light = np.repeat([0.5, 8.0], [10, 10])[:, np.newaxis] * rng.uniform(0.8, 1.2, (20, 30))
    on_sky = np.repeat([1, 0], [10, 10])[:, np.newaxis] * np.ones((20, 30), np.uint8)
    sample = SkySample(on_sky.astype(np.uint8), light, beside=on_sky == 0)
    sums = ObjectSums(sample, SkyMask(sample.mask, "linear"), (5000.0, 5400.0), 1.25)
    n = 50_000
    x, y = rng.integers(0, 30, n).astype(np.float32), rng.integers(0, 20, n).astype(np.float32)
    lam = rng.uniform(5000.0, 5400.0, n).astype(np.float32)
    data = 50.0 + light[y.astype(int), x.astype(int)] * (1.0 + (lam - 5200.0) / 1000.0) + rng.normal(0, 1, n)
    of_sample = sums.add(x, y, lam, data.astype(np.float32), np.ones(n, np.bool_))
    np.testing.assert_array_equal(of_sample, y < 10)
    found = sums.spectrum(logging.getLogger("test"))
    np.testing.assert_allclose(found.flux, 0.5 * (1.0 + (found.lam - 5200.0) / 1000.0), rtol=0.04)

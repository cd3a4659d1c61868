# SPDX-License-Identifier: BSD-3-Clause
"""Errors of the offsets, chance alignments, residual rotation and scale."""

import shutil
from dataclasses import replace
from math import exp

import numpy as np
import pytest

from muse_core.alignment.offsets.probability import poisson_tail
from muse_core.alignment.sources import threshold_search
from muse_core.framework import InputError
from muse_core.simulate.fields import FieldPlan, render_stars, simulate_fields
from tests.alignment.conftest import sky_error_arcsec, small_fields

pytestmark = pytest.mark.law


def trust(aligned, count):
    return [aligned.qc(f"TRUST{n}") for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("expected", "count"), [(0.01, 3), (2.0, 1), (2.0, 7), (40.0, 30), (40.0, 90), (0.0, 2)]
)
def test_poisson_tail_is_the_plain_sum(expected, count):
    below, term = 0.0, exp(-expected)
    for k in range(count):
        below += term
        term *= expected / (k + 1)
    assert poisson_tail(expected, count) == pytest.approx(1.0 - below, rel=1e-6, abs=1e-14)


def test_poisson_tail_of_very_many_events():
    assert poisson_tail(5000.0, 5000) == pytest.approx(0.5, abs=0.01)
    assert poisson_tail(5000.0, 1) == pytest.approx(1.0)
    assert poisson_tail(1.0, 0) == 1.0


def test_offset_errors_are_honest(align):
    pulls = []
    for seed in range(6):
        images = small_fields(
            seed=seed, exposures=5, shape=(160, 160), noise=(3.0,), faintest=40.0, brightest=400.0
        )
        aligned = align(images)
        error = sky_error_arcsec(images, aligned.offsets())[1:]
        sigma = [[aligned.qc(f"ERR RA{n}"), aligned.qc(f"ERR DEC{n}")] for n in range(2, 6)]
        pulls.append(error / np.array(sigma))
        assert trust(aligned, 5) == [True] * 5
        assert aligned.qc("ERR RA1") == 0.0
    pulls = np.concatenate(pulls)
    assert 0.6 < np.std(pulls) < 1.5  # 48 values: a tenth from the sample, the rest from the few stars
    assert np.abs(pulls).max() < 5.0


NOISE = {"stars": 0, "noise": (1.5,)}


@pytest.mark.parametrize("seed", range(12))
def test_star_free_noise_is_refused(align, seed):
    with pytest.raises(InputError) as error:
        align(small_fields(seed=seed, **NOISE))
    for number in (1, 2, 3):
        assert f"image_{number:04d}.fits: sources:" in str(error.value)
    assert str(error.value).count("none above the noise") == 3


def check_nothing_is_trusted(aligned, caplog):
    assert trust(aligned, 3) == [False] * 3
    assert aligned.qc("UNTRUSTED") == 3
    assert not aligned.offsets().any()
    assert sum("not trustworthy" in record.getMessage() for record in caplog.records) == 3


@pytest.mark.parametrize("params", [{}, {"srcmin": 1}, {"srcmin": 20}], ids=str)
@pytest.mark.parametrize("floor", [3.0, 2.0])
def test_star_free_noise_never_gives_a_trusted_offset(align, caplog, monkeypatch, floor, params):
    """Peaks of the noise, where the search goes down to them: one to thirty in each image."""
    monkeypatch.setattr(threshold_search, "NOISE_FLOOR", floor)
    runs = 0
    for seed in range(12):
        images = small_fields(seed=seed, **NOISE)
        caplog.clear()
        try:
            aligned = align(images, params)
        except InputError as error:
            assert "image_0" in str(error)
            continue
        runs += 1
        check_nothing_is_trusted(aligned, caplog)
    assert runs >= 10


def test_lists_of_noise_peaks_never_give_a_trusted_offset(align, caplog, tmp_path):
    """The peaks that the C recipe takes for sources, given as source lists."""
    runs = 0
    for seed in range(12):
        images = small_fields(seed=seed, **NOISE)
        try:
            found = align(images, compat=True)
        except InputError as error:
            assert "image_0" in str(error)
            continue
        lists = [shutil.copy(path, tmp_path / path.name) for path in found.paths["SOURCE_LIST"]]
        caplog.clear()
        aligned = align([*images, *((path, "SOURCE_LIST") for path in lists)], override_detection=True)
        runs += 1
        check_nothing_is_trusted(aligned, caplog)
    assert runs >= 3


def test_one_noise_image_does_not_spoil_the_others(align):
    images = small_fields(exposures=4)
    images[2] = replace(small_fields(exposures=4, stars=0, noise=(2.0,), seed=9)[2], number=2)
    aligned = align(images)
    assert trust(aligned, 4) == [True, True, False, True]
    error = sky_error_arcsec(images, aligned.offsets())
    assert np.abs(error[[1, 3]]).max() < 0.005


def test_the_others_are_aligned_when_nothing_is_tied_to_the_first(align):
    images = small_fields(exposures=3)
    images[0] = replace(small_fields(exposures=3, stars=0, noise=(2.0,), seed=9)[2], number=0)
    aligned = align(images)
    assert trust(aligned, 3) == [False, True, True]
    error = sky_error_arcsec(images, aligned.offsets())
    assert np.abs(error[2] - error[1]).max() < 0.005
    assert aligned.offsets()[:2].tolist() == [[0.0, 0.0]] * 2


def test_a_first_exposure_of_another_field_is_not_the_reference(align):
    images = small_fields(exposures=3)
    images[0] = replace(small_fields(exposures=1, seed=77, stars=15)[0], number=0)
    aligned = align(images)
    assert trust(aligned, 3) == [False, True, True]
    error = sky_error_arcsec(images, aligned.offsets())
    assert np.abs(error[2] - error[1]).max() < 0.005


def test_scatter_far_above_the_centroid_errors_is_reported(align):
    images = small_fields(exposures=2, shape=(200, 200), stars=40, border=0)
    rng = np.random.default_rng(1)
    second = images[1]
    for jitter, sound in ((0.01, True), (0.6, False)):
        x, y = (v + rng.normal(0.0, jitter, v.size) for v in (second.x, second.y))
        data = render_stars(second.data.shape, x, y, np.full(x.size, 300.0), 4.0)
        data += rng.normal(0.0, 0.5, data.shape)
        aligned = align([images[0], replace(second, data=data.astype(np.float32))], rsearch="30.,4.,2.")
        assert trust(aligned, 2) == [sound, sound]
    assert aligned.qc("SCATTER2") > 0.05


def test_residual_rotation_and_scale_are_measured(align):
    turn, stretch = (0.0, 0.12, -0.2), (0.0, 1.5e-3, -1e-3)
    images = small_fields(shape=(220, 220), stars=40, turn_deg=turn, stretch=stretch)
    aligned = align(images)
    for n in (2, 3):
        for name, truth in (("ROT", turn), ("SCALE", stretch)):
            value, error = aligned.qc(f"{name}{n}"), aligned.qc(f"{name} ERR{n}")
            assert abs(value - truth[n - 1]) < 5 * error
            assert error < abs(truth[n - 1]) / 5
    same = align(small_fields(shape=(220, 220), stars=40))
    assert abs(same.qc("ROT2")) < 5 * same.qc("ROT ERR2")
    assert abs(same.qc("SCALE2")) < 5 * same.qc("SCALE ERR2")


def test_narrow_field_images_are_trusted(align):
    plan = FieldPlan(
        exposures=3, mode="NFM", shape=(160, 160), stars=20, dither_arcsec=0.1, error_arcsec=0.05
    )
    images = simulate_fields(plan)
    aligned = align(images)
    assert trust(aligned, 3) == [True] * 3
    assert np.abs(sky_error_arcsec(images, aligned.offsets())).max() < 5e-4

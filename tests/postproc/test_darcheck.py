# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest

from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.refraction.gaussian_centroid import fit_gaussian
from muse_core.postproc.refraction.residual import (
    CentroidTrack,
    Source,
    apply_dar_check,
    find_sources,
    fit_dar_check,
    reference_plane,
)

pytestmark = pytest.mark.kernel

LAM = np.arange(4750.0, 9350.0, 100.0)


def drift(lam):
    t = (lam - 7000.0) / 1000.0
    return -0.3 * t + 0.05 * t**2, 0.1 * t - 0.02 * t**2


def make_plane(lam, stars, noise=0.0, seed=0):
    iy, ix = np.indices((40, 60))
    dx, dy = drift(lam)
    image = np.full(ix.shape, 20.0)
    for x, y, peak in stars:
        image += peak * np.exp(-((ix - x - dx) ** 2 + (iy - y - dy) ** 2) / (2 * 1.8**2))
    stat = image.copy()
    if noise:
        image += np.random.default_rng(seed + int(lam)).normal(0, noise * np.sqrt(stat))
    return image.astype(np.float32), stat.astype(np.float32)


STARS = [(20.3, 15.8, 8000.0), (45.1, 30.2, 3000.0)]


def track_of(stars, noise=0.0, planes=LAM):
    image, _ = make_plane(7000.0, stars, noise or 0.1)
    track = CentroidTrack(find_sources(image))
    for lam in planes:
        track.add(float(lam), *make_plane(lam, stars, noise))
    return track


@pytest.mark.unit
def test_sources_are_found_with_falling_thresholds(caplog):
    image, _ = make_plane(7000.0, STARS, 0.3)
    sources = find_sources(image)
    assert [(round(s.x), round(s.y)) for s in sources] == [(20, 16), (45, 30)]
    faint = np.random.default_rng(4).normal(0, 1, (40, 60))
    faint[10:13, 10:13] += 12.0
    assert len(find_sources(faint)) == 1
    assert find_sources(np.random.default_rng(4).normal(0, 1, (40, 60))) == ()
    assert "No sources found" in caplog.text
    assert find_sources(np.full((5, 5), np.nan)) == ()


@pytest.mark.unit
def test_centroid_of_a_tilted_gaussian():
    iy, ix = np.indices((13, 13))
    u, v = (ix - 6.4) / 1.5, (iy - 5.7) / 2.5
    image = 10 + 300 * np.exp(-0.5 * (u * u - 2 * 0.4 * u * v + v * v) / (1 - 0.16))
    image[3, 4] = np.nan
    np.testing.assert_allclose(fit_gaussian(image, image, 6.0, 6.0), (6.4, 5.7), atol=1e-6)


@pytest.mark.unit
def test_centroid_of_nothing():
    assert np.isnan(fit_gaussian(np.full((13, 13), np.nan), np.ones((13, 13)), 6.0, 6.0)).all()
    assert np.isnan(fit_gaussian(np.ones((13, 13)), np.ones((13, 13)), 6.0, 6.0)).all()


@pytest.mark.unit
def test_known_drift_is_found_and_removed():
    model = fit_dar_check(track_of(STARS), 7000.0, corrected=True)
    np.testing.assert_allclose(model.x_coefficients, (-0.3, 0.05), atol=1e-4)
    np.testing.assert_allclose(model.y_coefficients, (0.1, -0.02), atol=1e-4)
    assert model.largest == pytest.approx(0.2 * np.ptp(drift(LAM)[0]), rel=1e-3)
    lam = np.float32([4750.0, 7000.0, 9250.0])
    dx, dy = drift(lam.astype(float))
    x, y = (100 + dx).astype(np.float32), (50 + dy).astype(np.float32)
    apply_dar_check(x, y, lam, model)
    np.testing.assert_allclose(x, 100.0, atol=1e-3)
    np.testing.assert_allclose(y, 50.0, atol=1e-3)


@pytest.mark.unit
def test_kernel_is_the_polynomial_of_the_model():
    model = fit_dar_check(track_of(STARS), 7000.0, corrected=True)
    lam = LAM.astype(np.float32)
    x, y = np.zeros(lam.size, np.float32), np.zeros(lam.size, np.float32)
    apply_dar_check(x, y, lam, model)
    dx, dy = model.shift(lam)
    np.testing.assert_allclose(x, -dx, atol=1e-7)
    np.testing.assert_allclose(y, -dy, atol=1e-7)


@pytest.mark.unit
def test_noise_and_bad_planes():
    track = track_of(STARS, noise=1.0)
    for lam in (5000.0, 8000.0):  # planes where something else is there
        data, stat = make_plane(lam, [(x + 3, y - 3, peak) for x, y, peak in STARS])
        track.add(lam + 1.0, data, stat)
    model = fit_dar_check(track, 7000.0, corrected=True)
    expected = drift(LAM)
    for mine, true in zip(model.shift(LAM), expected, strict=True):
        np.testing.assert_allclose(mine, true, atol=0.02)  # a centroid has 0.01 to 0.02 pix


@pytest.mark.law
def test_order_of_the_planes_does_not_matter():
    model = fit_dar_check(track_of(STARS, 1.0), 7000.0, corrected=True)
    first, second = track_of(STARS, 1.0, LAM[::2]), track_of(STARS, 1.0, LAM[1::2][::-1])
    second.merge(first)
    assert fit_dar_check(second, 7000.0, corrected=True) == model


@pytest.mark.unit
def test_uncorrected_data_get_a_higher_order(caplog):
    reference, plane = reference_plane(-1.0, 4750.0, 460)
    assert reference == 4750.0 + 2300.0
    assert plane == 230
    assert "not DAR corrected" in caplog.text
    model = fit_dar_check(track_of(STARS), reference, corrected=False)
    assert len(model.x_coefficients) == 4


@pytest.mark.unit
def test_reference_outside_of_the_cube():
    assert reference_plane(7000.0, 4750.0, 460) == (7000.0, 225)
    assert reference_plane(4000.0, 4750.0, 100) == (5250.0, 50)


@pytest.mark.unit
def test_too_few_centroids():
    few = Skipped("residual", "no source with enough centroids", wanted=True)
    assert fit_dar_check(CentroidTrack([]), 7000.0, corrected=True) == few
    track = CentroidTrack([Source(20.0, 15.0, 1.0)])
    track.add(7000.0, *make_plane(7000.0, STARS))
    assert fit_dar_check(track, 7000.0, corrected=True) == few


@pytest.mark.unit
def test_header_cards():
    model = fit_dar_check(track_of(STARS), 7000.0, corrected=True)
    assert [card[0] for card in model.cards()] == [
        "ESO DRS MUSE PIXTABLE DAR CHECK",
        "ESO DRS MUSE PIXTABLE DAR CORRECT RESIDUAL",
    ]
    assert len(model.check_cards()) == 1

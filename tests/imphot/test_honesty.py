# SPDX-License-Identifier: BSD-3-Clause
"""Errors and flags of the engine `image` when images hold what its simple model does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS

import imphot
from imphot.engines.image.checks import PART, chi_squared, disagreement, limit, shape_is_another
from imphot.engines.image.forward_model import WING_BETA, ForwardModel
from imphot.engines.moffat import MoffatOtf, otf_closed, turbulence_otf
from imphot.images import SkyImage
from muse_core.simulate.imphot_pairs import PairTruth, kolmogorov_otf, make_pair, make_sky, with_noise

BRIGHT = {"nstar": 5, "ndisc": 30, "star_flux": (2000.0, 20000.0), "disc_flux": (50.0, 5000.0)}
CLEAN = PairTruth(size=18.0, hst_noise=0.002)


def fit(truth, seed=7, sources=BRIGHT, **options):
    pair = make_pair(make_sky(seed, truth.size, **sources), truth)
    hst, muse, variance = with_noise(pair, truth, seed)
    himage = SkyImage(hst, None, None, WCS(pair[1]), "ELECTRONS/S", data_header=pair[1])
    mimage = SkyImage(muse, variance, None, WCS(pair[3]), "10**(-20)*erg/s/cm**2/Angstrom")
    return imphot.fit_image_photometry(himage, mimage, method="image", **options)


@pytest.fixture(scope="module")
def clean():
    return fit(CLEAN)


@pytest.mark.law
def test_clean_field(clean):
    assert clean.flag == 0 and "wing" not in clean.notes
    plain = fit(CLEAN, psf="moffat")
    assert plain.summary() == clean.summary() and plain.scale.stdev == clean.scale.stdev


@pytest.mark.law
@pytest.mark.parametrize("options", [{}, {"fix_beta": 2.5}], ids=["free", "index held"])
def test_wings_of_turbulence(options):
    truth = replace(CLEAN, seeing="kolmogorov", fwhm=0.7)
    found, plain = fit(truth, **options), fit(truth, psf="moffat", **options)
    assert found.flag == plain.flag == 128
    assert abs(plain.scale.value / truth.scale - 1) > 0.02  # what a Moffat function alone makes of it
    assert abs(found.scale.value / truth.scale - 1) < 0.005
    for name in ("dx", "dy", "bg", "scale", "fwhm"):
        value = getattr(found, name)
        assert abs(value.value - getattr(truth, name)) < 3.5 * value.stdev, name
    assert found.notes["turbulence"] > 0.5
    assert found.beta.fixed is bool(options) and (not options or found.beta.value == 2.5)


@pytest.mark.law
def test_wings_that_are_hardly_seen_are_flagged():
    """A faint field, in which a free index hides turbulence: a Moffat scale is 7 errors off."""
    truth = PairTruth(hst_noise=0.005, seeing="kolmogorov", fwhm=0.7)
    found = fit(truth, 2007, {})
    assert found.flag == 128
    assert abs(found.scale.value - truth.scale) < 2.0 * found.scale.stdev


@pytest.mark.law
def test_colours_are_flagged_and_in_the_error(clean):
    truth = replace(CLEAN, colours=0.2)
    found = fit(truth)
    assert found.flag & 512 and 0.05 < found.notes["scale_scatter"] < 0.5
    assert abs(found.scale.value - truth.scale) < 3.0 * found.scale.stdev
    assert found.scale.stdev > 10 * clean.scale.stdev


@pytest.mark.law
def test_turned_images_are_solved_for():
    truth = replace(CLEAN, turn=0.2, stretch=0.001)
    found = fit(truth)
    assert found.flag & 256 and not found.flag & 127
    turn = np.radians(truth.turn)
    expected = {"dx_by_x": 0.001, "dx_by_y": -turn, "dy_by_x": turn, "dy_by_y": 0.001}
    for name, value in expected.items():
        assert found.notes[name] == pytest.approx(value, abs=3e-4), name
    assert found.dx.value == pytest.approx(truth.dx, abs=2e-3)
    assert found.dy.value == pytest.approx(truth.dy, abs=2e-3)
    assert found.scale.value == pytest.approx(truth.scale, rel=5e-3)


@pytest.mark.law
def test_moving_stars_are_flagged():
    assert fit(replace(CLEAN, moved_stars=0.05)).flag & (256 | 1024)


@pytest.mark.law
def test_an_absurd_exposure_time_does_not_blow_up_the_errors(clean):
    """The photons that a header promises must be seen as noise; else they are not there."""
    found = fit(replace(CLEAN, exptime=3.0))
    for name in ("dx", "dy", "bg", "scale", "fwhm", "beta"):
        assert getattr(found, name).stdev < 1.4 * getattr(clean, name).stdev, name


@pytest.mark.unit
def test_wrong_words():
    with pytest.raises(imphot.UserError, match="Unknown PSF model"):
        imphot.FitOptions(psf="gauss")


@pytest.mark.law
def test_parts_of_the_psf_against_slow_twins():
    """Transfer functions and derivatives of the sum; all parts have the same width."""
    radius = np.linspace(0.0, 4.0, 300)[None]
    table = MoffatOtf(radius)
    np.testing.assert_allclose(table.turbulence(0.7), kolmogorov_otf(radius, 0.7), atol=2e-7)
    np.testing.assert_allclose(turbulence_otf(radius, 0.7), kolmogorov_otf(radius, 0.7), rtol=1e-12)
    rng = np.random.default_rng(1)
    model = ForwardModel(rng.random((48, 40)), (0.2, 0.2), (slice(4, 20), slice(4, 16)), (0.085, 1.6))
    point = {"dx": 0.03, "dy": -0.02, "fwhm": 0.7, "beta": 2.8, "wing": 0.2, "turbulence": 0.3}
    for name in point:
        step = 1e-5
        high, low = (model.image(**(point | {name: point[name] + s})) for s in (step, -step))
        slope = model.derivative(name, **point)
        np.testing.assert_allclose(slope, (high - low) / (2 * step), atol=2e-6 * np.abs(slope).max() + 1e-7)
    parts = [
        model.image(0.03, -0.02, 0.7, 2.8),
        model.image(0.03, -0.02, 0.7, WING_BETA),
        model.image(0.03, -0.02, 0.7, 2.8, 0.0, 1.0),
    ]
    expected = 0.5 * parts[0] + 0.2 * parts[1] + 0.3 * parts[2]
    np.testing.assert_allclose(model.image(**point), expected, rtol=1e-9)
    r = np.linspace(0.0, 1.0, 2001)  # width of turbulence: Hankel transform on a fine grid
    k = np.linspace(0.0, 8.0, 4001)
    from scipy.special import j0

    profile = (turbulence_otf(k, 0.7) * k * j0(2 * np.pi * k * r[:, None])).sum(axis=1)
    assert 2 * np.interp(-0.5, -profile / profile[0], r) == pytest.approx(0.7, rel=5e-3)
    assert otf_closed(0.0, 0.7, WING_BETA) == 1.0


@pytest.mark.law
def test_disagreement_of_sources():
    """No scatter where there is none, the right one where there is."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:120, :120]
    light = sum(
        40.0 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8.0)
        for cy in range(12, 120, 24)
        for cx in range(12, 120, 24)
    )
    used, sigma = np.ones(light.shape, bool), np.ones(light.shape)
    factor = np.kron(1.0 + 0.1 * rng.standard_normal((5, 5)), np.ones((24, 24)))
    column = light[used]
    error = 1.0 / np.sqrt(column @ column)
    noise = rng.standard_normal(light.shape)
    same = disagreement(column, noise[used], light, sigma, used, error, 0.1, 0.0)
    assert same.sources == 25 and same.scatter == 0.0 == same.extra_variance
    other = disagreement(column, (noise + (factor - 1) * light)[used], light, sigma, used, error, 0.1, 0.0)
    assert other.scatter == pytest.approx(0.1, rel=0.35)
    assert other.extra_variance == pytest.approx(other.scatter**2 / 25, rel=0.01)
    few = disagreement(column, noise[used], light, sigma, used, error, 1e-9, 0.0)
    assert few.sources == 0 and few.scatter == 0.0


@pytest.mark.unit
def test_chi_squared():
    from scipy.stats import chi2

    covariance = np.diag([4.0, 1.0, 9.0])
    assert chi_squared(np.array([2.0, 5.0, 3.0]), covariance, [0, 2]) == pytest.approx(2.0)
    for freedom in range(1, 7):
        assert limit(freedom) == pytest.approx(chi2.isf(1e-5, freedom), abs=0.06)


@pytest.mark.unit
def test_one_part_of_the_psf_is_enough():
    correlated = np.array([[1.0, -0.9], [-0.9, 1.0]])
    weights = np.linalg.inv(correlated)

    def seen(sigma, which):
        """Estimates of both parts when one of them is there with so many sigma of its own."""
        there = np.zeros(2)
        there[which] = sigma / np.sqrt(weights[which, which])
        return shape_is_another(there, correlated, [0, 1])

    for which in (0, 1):
        assert seen(PART + 0.01, which) and not seen(PART - 0.01, which)
        assert not seen(-PART - 1.0, which)  # a negative part is none
    assert shape_is_another(np.array([-4.0, -4.0]), correlated, [0, 1])  # but the Moffat function is wrong

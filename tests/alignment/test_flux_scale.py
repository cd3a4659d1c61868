# SPDX-License-Identifier: BSD-3-Clause
"""FLUX_SCALE from the matched sources, with its error; fluxes in apertures."""

import numpy as np
import pytest

from muse_core.alignment.sources.photometry import aperture_fluxes
from muse_core.simulate.fields import render_stars
from tests.alignment.conftest import exposures_of, random_stars

pytestmark = pytest.mark.law
ERRORS = [(0.0, 0.0), (0.8, -0.5), (-0.6, 0.3)]
LEVELS = (1.0, 0.7, 1.25)


@pytest.mark.parametrize("stars", [[(4.0, -3.0, 1500.0)], random_stars(4, 12, faintest=300.0)])
def test_scales_bring_the_exposures_to_one_level(align, stars):
    images = exposures_of(stars, ERRORS, levels=LEVELS)
    aligned = align(images, flux_scale=True)
    table = aligned.table()
    for n, level in enumerate(LEVELS):
        error = table["FLUX_SCALE_ERR"][n]
        assert abs(table["FLUX_SCALE"][n] * level - 1.0) < max(4.0 * error, 1e-12)
        assert error < 0.02
    assert table["FLUX_SCALE"][0] == 1.0
    assert aligned.qc("FLUX SCALE2") == pytest.approx(table["FLUX_SCALE"][1], rel=1e-6)


def test_errors_are_honest(align):
    pulls = []
    for seed in range(5):
        images = exposures_of(
            random_stars(seed, 10, faintest=200.0), ERRORS, levels=LEVELS, noise=4.0, seed=seed
        )
        table = align(images, flux_scale=True).table()
        pulls += [(table["FLUX_SCALE"][n] * LEVELS[n] - 1.0) / table["FLUX_SCALE_ERR"][n] for n in (1, 2)]
    assert 0.2 < np.std(pulls) < 2.0
    assert np.abs(pulls).max() < 5.0


def test_without_the_parameter_or_trust_there_is_none(align):
    images = exposures_of([random_stars(1, 12), random_stars(1, 12), random_stars(9, 12)], ERRORS)
    plain = align(images).table()
    assert np.isnan(plain["FLUX_SCALE"]).all()
    assert "FLUX_SCALE_ERR" not in plain.columns.names
    table = align(images, flux_scale=True).table()
    assert np.isfinite(table["FLUX_SCALE"]).tolist() == [True, True, False]


def test_fluxes_in_apertures():
    x, y, peak = np.array([40.3, 90.7, 3.0]), np.array([50.2, 30.9, 3.0]), np.array([100.0, 7.0, 50.0])
    data = (render_stars((120, 130), x, y, peak, 4.0) + 20.0).astype(np.float32)
    bad = np.zeros(data.shape, dtype=bool)
    flux, error = aperture_fluxes(data, bad, x, y, 12.0, 0.5)
    total = peak * 2.0 * np.pi * (4.0 / 2.3548200450309493) ** 2
    np.testing.assert_allclose(flux[:2], total[:2], rtol=2e-3)
    assert np.isnan(flux[2])  # the aperture leaves the image
    assert error[0] == pytest.approx(0.5 * np.sqrt(np.pi * 144.0), rel=0.5)
    bad[50, 45] = True
    assert np.isnan(aperture_fluxes(data, bad, x, y, 12.0, 0.5)[0]).tolist() == [True, False, True]

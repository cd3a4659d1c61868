# SPDX-License-Identifier: BSD-3-Clause
"""Lines of gas in the spectrum of the sky: found wherever they are, and not where there are none."""

import numpy as np
import pytest

from muse_core.postproc.sky.nebular_lines import find_nebular_lines
from muse_core.simulate.airglow import sky_line_list
from muse_core.simulate.scene import GAS

pytestmark = pytest.mark.unit
LINES = sky_line_list()
RANGES = [(4750.0, 5200.0), (4840.0, 5040.0), (6500.0, 6640.0), (6500.0, 6900.0), (6700.0, 6800.0)]
SOLAR = (
    (4861.3, 3.7),
    (4920.5, 0.6),
    (4957.6, 1.2),
    (5007.2, 0.4),
    (5167.0, 0.9),
    (5183.6, 1.6),
    (6562.8, 4.0),
)
"""Absorption lines of sunlight: wavelength and equivalent width [A]."""


def sky(lam_range, seed, *, moon=0.0, h_beta=0.0, velocity=0.0, noise=0.3):
    """Airglow whose bands vary, lines a little off and skewed, over a continuum of 45; moonlight; gas."""
    rng = np.random.default_rng(seed)
    lam = np.arange(*lam_range, 0.3125)
    flux = 45.0 * (1.0 + 1e-4 * rng.normal() * (lam - lam.mean()))
    factor = {group: max(0.2, 1.0 + 0.5 * rng.normal()) for group in LINES.group.tolist()}

    def add(place, amount, width=1.07, skew=0.0):
        x = (lam - place) / width
        return amount / (width * 2.507) * np.exp(-0.5 * x**2) * (1.0 + skew * (x**3 - 3.0 * x))

    for place, amount, group in zip(LINES.wavelength, LINES.flux, LINES.group.tolist(), strict=True):
        flux += add(place + 0.1 * rng.normal(), amount * factor[group], skew=0.08)
    for place, width in SOLAR:
        flux -= add(place, 45.0 * moon * width, 1.3)
    for place, ratio in GAS.values():
        flux += add(place * (1.0 + velocity / 299792.458), h_beta * ratio, 1.1)
    return lam, flux + rng.normal(0.0, noise, lam.size)


@pytest.mark.parametrize("lam_range", RANGES)
@pytest.mark.parametrize("changes", [{}, {"moon": 1.0}, {"noise": 2.0}, {"noise": 0.02}])
def test_there_is_no_alarm_without_gas(lam_range, changes):
    for seed in range(10):
        assert find_nebular_lines(*sky(lam_range, seed, **changes)).width == {}


@pytest.mark.parametrize("lam_range", RANGES)
@pytest.mark.parametrize("moon", [0.0, 1.0])
def test_gas_is_found(lam_range, moon):
    for seed in range(3):
        found = find_nebular_lines(*sky(lam_range, seed, moon=moon, h_beta=500.0, velocity=20.0))
        assert found.total > 5.0
        assert abs(found.velocity) < 150.0


def test_moving_gas_is_found_by_two_lines_that_agree():
    found = find_nebular_lines(*sky((4750.0, 5200.0), 1, h_beta=100.0, velocity=2000.0))
    assert {"[O III] 4959", "[O III] 5007"} <= set(found.width)
    assert abs(found.velocity - 2000.0) < 100.0
    assert abs(found.width["[O III] 5007"] - 6.7) < 1.0


def test_spectra_without_continuum_or_with_few_bins_are_not_judged():
    lam, flux = sky((4840.0, 5040.0), 1, h_beta=500.0)
    assert find_nebular_lines(lam, flux - 60.0).width == {}
    assert find_nebular_lines(lam[:40], flux[:40]).width == {}
    assert find_nebular_lines(lam, np.full(lam.size, np.nan)).width == {}

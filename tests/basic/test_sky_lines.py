# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian fits, line windows, and lines that are not there."""

import numpy as np
import pytest

from muse_core.basic import sky_lines
from muse_core.basic.gaussian import fit_gaussian, gaussian
from muse_core.basic.sky_lines import SkyLinePlan, combine_fits, fit_line
from muse_core.basic.spectrum import LinearSum

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


def window(line=6300.304, height=500.0, sigma=1.1, offset=0.2, level=60.0, seed=1, n=4000):
    """Rows around a line: wavelength, data, variance, flags."""
    rng = np.random.default_rng(seed)
    lam = np.sort(rng.uniform(line - 5, line + 5, n)).astype(np.float32)
    signal = level + height * np.exp(-0.5 * ((lam.astype(float) - line - offset) / sigma) ** 2)
    data = (signal + np.sqrt(signal) * rng.standard_normal(n)).astype(np.float32)
    return lam, data, signal.astype(np.float32), np.zeros(n, np.int32)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_fit_returns_what_went_in(noise):
    x = np.linspace(-5, 5, 101)
    truth = np.array([0.23, 1.1, 1300.0, 40.0])
    y = gaussian(x, truth)
    error = np.sqrt(y)
    y = y + noise * error * np.random.default_rng(3).standard_normal(x.size)
    found, errors = fit_gaussian(x, y, error)
    if noise:
        assert (np.abs(found - truth) < 4 * errors).all()
    else:
        assert np.allclose(found, truth, rtol=1e-6)
    assert np.isfinite(errors).all()


def test_fit_of_nothing_does_not_raise():
    x = np.linspace(0, 1, 20)
    assert np.isnan(fit_gaussian(x[:3], x[:3], x[:3] + 1)[0]).all()
    flat, _ = fit_gaussian(x, np.ones(20), np.ones(20))
    assert flat.shape == (4,)
    assert np.isnan(fit_gaussian(x, np.full(20, np.nan), np.ones(20))[0]).all()


def test_line_is_found_and_hits_are_left_out():
    lam, data, stat, dq = window()
    plan = SkyLinePlan(lines=(6300.304,))
    clean = fit_line(6300.304, lam, data, stat, dq, 4750.0, plan)
    assert clean.offset == pytest.approx(-0.2, abs=4 * clean.error)
    assert clean.doubt(plan.half_width) == ""
    data[::400] += 50000
    dirty = fit_line(6300.304, lam, data, stat, dq, 4750.0, plan)
    assert dirty.rejected >= 10
    assert dirty.centre == pytest.approx(clean.centre, abs=clean.error)


def test_rejection_needs_both_bins_above_or_one_below():
    total = LinearSum(0.0, 1.0, (0.0, 4.0))
    lam = np.repeat(np.array([0.0, 1.0, 2.0, 3.0], np.float32), 2)
    data = np.repeat(np.array([0.0, 100.0, 0.0, 0.0], np.float32), 2)
    spectrum = total.add(lam, data, np.ones(8, np.float32), np.ones(8, bool)).spectrum()
    rows = np.array([0.5, 2.5, 0.5, 2.5], np.float32)
    values = np.array([50.0, 50.0, -50.0, -0.5], np.float32)
    assert spectrum.inside(rows, values, 3.0, 3.0).tolist() == [False, False, False, True]
    assert spectrum.inside(rows, values, 3.0, 0.0).tolist() == [True, False, True, True]
    assert spectrum.inside(rows, values, 0.0, 0.0).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"height": 0.0}, ""),
        ({"height": 3000.0, "sigma": 4.5}, "width"),
        ({"height": 3000.0, "offset": 4.0}, "off"),
    ],
)
def test_lines_that_are_not_there_count_nothing(changes, text):
    lam, data, stat, dq = window(**changes)
    fits = [fit_line(6300.304, lam, data, stat, dq, 4750.0, SkyLinePlan())]
    shift = combine_fits(fits, SkyLinePlan())
    assert shift.value == 0
    assert len(shift.doubts) == 1
    assert text in shift.doubts[0]
    if np.isfinite(fits[0].error) and np.isfinite(fits[0].offset):
        assert combine_fits(fits, SkyLinePlan(believe_all=True)).value == fits[0].offset


def test_a_fit_that_leaves_the_window_moves_nothing(monkeypatch):
    found = np.array([9000.0, 1.0, 500.0, 60.0]), np.full(4, 0.1)
    monkeypatch.setattr(sky_lines, "_fit_bins", lambda _: found)
    fit = fit_line(6300.304, *window(), 4750.0, SkyLinePlan())
    for plan in (SkyLinePlan(), SkyLinePlan(believe_all=True)):
        assert combine_fits([fit], plan).value == 0


def test_weights_are_inverse_errors():
    good = [fit_line(6300.304, *window(seed=k, n=n), 4750.0, SkyLinePlan()) for k, n in ((1, 8000), (2, 500))]
    shift = combine_fits(good, SkyLinePlan()).value
    w = np.array([1 / fit.error for fit in good])
    assert shift == pytest.approx(np.average([fit.offset for fit in good], weights=w))

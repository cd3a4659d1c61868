# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse_core.data.curves import interpolate, make_curve
from muse_core.data.header_values import Keywords
from muse_core.postproc.exposure.correction import Skipped
from muse_core.postproc.flux.calibration import apply_flux, fit_flux
from muse_core.postproc.flux.flux_kernels import DQ_MISSING

pytestmark = pytest.mark.kernel

HEADER = Keywords({"EXPTIME": 100.0})
RESPONSE = ([4000.0, 10000.0], [50.0, 50.0], [0.0, 0.0])  # 1e20 erg per count at 50 mag


def rows(*wavelengths):
    n = len(wavelengths)
    return (
        np.float32(wavelengths),
        np.full(n, 125.0, np.float32),
        np.full(n, 4.0, np.float32),
        np.zeros(n, np.int32),
    )


@pytest.mark.unit
def test_plain_response():
    lam, data, stat, dq = rows(5000.0, 8000.0)
    apply_flux(lam, data, stat, dq, fit_flux(HEADER, 1.0, RESPONSE))
    # 125 counts in 100 s and 1.25 A with 10^(-0.4 * 50) * 1e20 = 1
    np.testing.assert_allclose(data, 1.0, rtol=1e-6)
    np.testing.assert_allclose(stat, 4.0 / 125**2 + 0.016**2, rtol=1e-6)


@pytest.mark.unit
def test_extinction_scales_with_airmass():
    lam, data, stat, dq = rows(5000.0)
    model = fit_flux(HEADER, 2.0, RESPONSE, ([4000.0, 6000.0], [0.2, 0.4]))
    apply_flux(lam, data, stat, dq, model)
    np.testing.assert_allclose(data, 10 ** (0.4 * 0.3 * 2.0), rtol=1e-6)


@pytest.mark.unit
def test_telluric_correction_starts_at_6273():
    lam, data, stat, dq = rows(6272.0, 6273.0)
    telluric = ([6000.0, 7000.0], [0.5, 0.5], [0.1, 0.1])
    apply_flux(lam, data, stat, dq, fit_flux(HEADER, 2.0, RESPONSE, None, telluric))
    np.testing.assert_allclose(data, [1.0, 4.0], rtol=1e-6)
    t = (6273.0 - 6000.0) / 1000.0
    error = np.hypot((1 - t) * 0.1, t * 0.1) / 4.0
    expected = 4.0 / 125**2 * 16 + 16 * (0.016**2 + error**2)
    np.testing.assert_allclose(stat[1], expected, rtol=1e-6)


@pytest.mark.unit
def test_error_of_the_response_enters_the_variance():
    lam, data, stat, dq = rows(7000.0)
    model = fit_flux(HEADER, 1.0, ([4000.0, 10000.0], [50.0, 50.0], [0.02, 0.04]))
    apply_flux(lam, data, stat, dq, model)
    error = 0.4 * np.log(10) * np.hypot(0.5 * 0.02, 0.5 * 0.04)
    np.testing.assert_allclose(stat, 4.0 / 125**2 + 0.016**2 + error**2, rtol=1e-6)


@pytest.mark.unit
def test_rows_outside_of_the_response_are_flagged():
    lam, data, stat, dq = rows(3999.0, 4000.0, 10000.0, 10001.0)
    apply_flux(lam, data, stat, dq, fit_flux(HEADER, 1.0, RESPONSE))
    assert dq.tolist() == [DQ_MISSING, 0, 0, DQ_MISSING]
    assert np.isnan(data[[0, 3]]).all()
    assert np.isfinite(data[1:3]).all()


@pytest.mark.unit
def test_rows_outside_of_the_response_explode_as_in_c():
    lam, data, stat, dq = rows(3999.0, 5000.0)
    apply_flux(lam, data, stat, dq, fit_flux(HEADER, 1.0, RESPONSE, zero_outside_response=True))
    assert dq.tolist() == [0, 0]
    np.testing.assert_allclose(data, [1e20, 1.0], rtol=1e-6)


@pytest.mark.unit
@pytest.mark.parametrize(
    "header",
    [{}, {"EXPTIME": 0.0}, {"EXPTIME": -1.0}, {"EXPTIME": 1.0, "ESO DRS MUSE PIXTABLE FLUXCAL": True}],
)
def test_no_calibration(header):
    assert isinstance(fit_flux(Keywords(header), 1.0, RESPONSE), Skipped)


@pytest.mark.law
def test_scaling_of_counts_scales_flux_and_variance():
    lam, data, stat, dq = rows(4500.0, 6500.0, 9000.0)
    model = fit_flux(HEADER, 1.3, ([4000.0, 10000.0], [49.0, 51.0], [0.01, 0.02]))
    doubled = data * 2, stat * 4
    apply_flux(lam, data, stat, dq, model)
    apply_flux(lam, *doubled, dq, model)
    np.testing.assert_allclose(doubled[0], data * 2, rtol=2e-7)  # one float32 rounding
    np.testing.assert_allclose(doubled[1], stat * 4, rtol=2e-7)


@pytest.mark.unit
@settings(max_examples=60, deadline=None)
@given(
    nodes=st.lists(st.floats(4000, 9999), min_size=2, max_size=30, unique=True),
    lam=st.lists(st.floats(3000, 11000), min_size=1, max_size=20),
)
def test_interpolation_against_numpy(nodes, lam):
    x = np.sort(np.array(nodes))
    y = np.sin(x / 500)
    curve = make_curve(nodes, np.sin(np.array(nodes) / 500))
    expected = np.interp(lam, x, y, left=-7.0, right=-7.0)
    np.testing.assert_allclose(interpolate(curve, lam, -7.0), expected, atol=1e-9)


@pytest.mark.unit
def test_bad_curves_are_refused():
    with pytest.raises(ValueError, match="length"):
        make_curve([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        make_curve([np.nan], [1.0])


def random_curves(rng):
    lam = np.sort(rng.uniform(4500, 9500, 300))
    response = lam, 50 + rng.normal(0, 0.1, 300), rng.uniform(0, 0.05, 300)
    extinction = np.arange(3000.0, 10500.0, 40.0), rng.uniform(0, 0.5, 188)
    nodes = np.arange(4650.0, 9350.0, 1.25)
    telluric = nodes, rng.uniform(0.3, 1.0, nodes.size), rng.uniform(0, 0.02, nodes.size)
    return response, extinction, telluric


def interpolated_error(lam, nodes, errors):
    i = np.clip(np.searchsorted(nodes, lam, side="right") - 1, 0, nodes.size - 2)
    t = (lam - nodes[i]) / (nodes[i + 1] - nodes[i])
    inside = (lam >= nodes[0]) & (lam <= nodes[-1])
    return np.where(inside, np.hypot((1 - t) * errors[i], t * errors[i + 1]), 0.0)


@pytest.mark.law
def test_against_the_plain_formula_in_any_order():
    rng = np.random.default_rng(8)
    response, extinction, telluric = random_curves(rng)
    lam = np.concatenate([rng.uniform(4400, 9600, 5000), response[0][[0, -1]], [6273.0]]).astype(np.float32)
    data, stat = (
        rng.normal(100, 30, lam.size).astype(np.float32),
        rng.uniform(1, 9, lam.size).astype(np.float32),
    )
    airmass_value = 1.37
    x = lam.astype(np.float64)
    resp = np.interp(x, *response[:2], left=0, right=0)
    ext = np.interp(x, *extinction)
    g = np.where(x >= 6273, np.interp(x, telluric[0], telluric[1] ** -airmass_value, left=1, right=1), 1.0)
    tell_error = np.where(x >= 6273, interpolated_error(x, telluric[0], telluric[2]) / g, 0.0)
    factor = 10 ** (0.4 * (ext * airmass_value - resp)) * g * 1e20 / (100 * 1.25)
    expected = data * factor
    error = 0.4 * np.log(10) * interpolated_error(x, response[0], response[2])
    expected_stat = stat * factor**2 + expected**2 * (error**2 + 0.016**2 + tell_error**2)

    model = fit_flux(HEADER, airmass_value, response, extinction, telluric, zero_outside_response=True)
    order = rng.permutation(lam.size)
    for rows_of_block in np.array_split(order, 9):
        block = [column[rows_of_block] for column in (lam, data, stat)]
        apply_flux(*block, np.zeros(rows_of_block.size, np.int32), model)
        data[rows_of_block], stat[rows_of_block] = block[1:]
    np.testing.assert_allclose(data, expected, rtol=1.3e-7)  # one float32 rounding
    np.testing.assert_allclose(stat, expected_stat, rtol=1.3e-7)


@pytest.mark.unit
def test_wavelengths_that_are_no_numbers():
    for explode in (False, True):
        lam, data, stat, dq = rows(np.nan, 5000.0)
        apply_flux(lam, data, stat, dq, fit_flux(HEADER, 1.0, RESPONSE, zero_outside_response=explode))
        assert np.isnan(data[0])
        assert data[1] == pytest.approx(1.0, rel=1e-6)

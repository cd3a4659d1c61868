# SPDX-License-Identifier: BSD-3-Clause
"""Layout of the simulated instrument and of its rows."""

import numpy as np
import pytest

from muse_core.simulate import kernels
from muse_core.simulate.exposure import Layout
from muse_core.simulate.geometry import CCD_OF_SKY, SKY_OF_CCD, instrument_geometry, sky_contiguous_slices

pytestmark = pytest.mark.unit


def test_slice_order_is_a_permutation_within_each_stack():
    assert sorted(SKY_OF_CCD) == list(range(1, 49))
    for ccd, sky in enumerate(SKY_OF_CCD, 1):
        assert CCD_OF_SKY[sky - 1] == ccd
        assert (ccd - 1) // 12 == (sky - 1) // 12


@pytest.mark.parametrize("n", [1, 4, 12, 24, 48])
def test_contiguous_slices_touch_each_other(n):
    slices = sky_contiguous_slices(n)
    assert len(set(slices)) == n
    y = np.sort(instrument_geometry().y[11, [s - 1 for s in slices if SKY_OF_CCD[s - 1] <= 12]])
    assert y.size < 2 or np.diff(y).max() < 1.2


def test_field_is_covered_once_and_slices_do_not_overlap_on_the_ccd():
    g = instrument_geometry()
    assert np.ptp(g.x) == pytest.approx(3 * 75.2, abs=3)
    assert np.ptp(g.y) == pytest.approx(24 * 12 * 1.03, abs=3)
    right = g.left[..., 0] + g.ccd_width
    assert (g.left[:, 1:, 0] - right[:, :-1] > 3).all()  # a gap of some pixels, as between real slices
    assert right.max() < 4096
    # neighbours on the detector are displaced in wavelength
    assert (np.abs(np.diff(g.wave[..., 0], axis=1)) > 8).mean() > 0.95


def test_full_exposure_has_the_size_of_a_real_one():
    layout = Layout(instrument_geometry(), tuple(range(1, 25)), tuple(range(1, 49)), (4750.0, 9350.0))
    n = sum(layout.n_rows(i) for i in layout.ifus)
    assert 3.0e8 < n < 3.4e8


def test_coordinates_follow_the_slow_formula():
    g = instrument_geometry()
    layout = Layout(g, (5,), (7,), (7000.0, 7010.0), columns=None)
    c = layout.coordinates(5, 7)
    rows, ncol = layout.rows(5, 7), layout.n_columns(5, 7)
    t = (rows - 2056.0) / 2056.0
    left = np.polynomial.polynomial.polyval(t, g.left[4, 6])
    first = np.ceil(left)
    column = (first[:, None] + np.arange(ncol)).ravel()
    s = 2 * (column - np.repeat(left, ncol)) / g.ccd_width[4, 6] - 1
    x = g.x[4, 6] - 0.5 * g.width[4, 6] * s
    lam = np.repeat(np.polynomial.polynomial.polyval(t, g.wave[4, 6]), ncol)
    lam = lam + s * (g.smile[4, 6, 0] + s * g.smile[4, 6, 1])
    np.testing.assert_allclose(c["xpos"], x, rtol=2e-7, atol=1e-6)  # float32 storage
    np.testing.assert_allclose(c["ypos"], g.y[4, 6] + g.slope[4, 6] * (x - g.x[4, 6]), rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(c["lambda"], lam, rtol=1e-7)
    origin = c["origin"].astype(np.int64)
    assert (origin & 0x3F == 7).all()
    assert (origin >> 6 & 0x1F == 5).all()
    np.testing.assert_array_equal(origin >> 11 & 0x1FFF, np.repeat(rows, ncol))
    np.testing.assert_array_equal((origin >> 24) + g.xoffset(5, 7), column)


def test_column_bits_never_overflow():
    g = instrument_geometry()
    for ifu in (1, 12, 24):
        for slice_ in range(1, 49):
            layout = Layout(g, (ifu,), (slice_,), (4650.0, 9350.0))
            offset = layout.coordinates(ifu, slice_)["origin"] >> 24
            assert 0 < offset.min() and offset.max() < 128
            assert np.ptp(offset) < 90  # no wrap-around


def test_thinning_keeps_contiguous_blocks():
    layout = Layout(instrument_geometry(), (12,), (3,), (6000.0, 6600.0), thinning=4)
    full = Layout(instrument_geometry(), (12,), (3,), (6000.0, 6600.0)).rows(12, 3)
    rows = layout.rows(12, 3)
    assert rows.size == pytest.approx(full.size / 4, rel=0.1)
    steps = np.diff(rows)
    assert (steps == 1).mean() > 0.9
    assert steps.max() > 60


def test_limits_are_those_of_the_rows():
    layout = Layout(instrument_geometry(), (12, 13), (1, 5), (6000.0, 6020.0))
    limits = layout.limits(13)
    rows = [layout.coordinates(13, s) for s in (1, 5)]
    for axis, name in (("X", "xpos"), ("Y", "ypos"), ("LAMBDA", "lambda")):
        assert limits[axis] == (min(r[name].min() for r in rows), max(r[name].max() for r in rows))


def test_lookup_is_linear_and_constant_outside():
    table = np.array([1.0, 3.0, 2.0])
    got = [kernels.lookup(table, 10.0, 2.0, v) for v in (0.0, 10.0, 11.0, 13.0, 14.0, 99.0)]
    assert got == [1.0, 1.0, 2.0, 2.5, 2.0, 2.0]

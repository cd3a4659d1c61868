# SPDX-License-Identifier: BSD-3-Clause
"""Calibration and combination of images against plain numpy, and the pixel table."""

import numpy as np
import pytest

from muse_core.detector.calibrate import apply_exposure, divide_by_flat, fit_exposure
from muse_core.detector.combine import CombinePlan, combine_images, interpolate_bad
from muse_core.detector.overscan import CorrectPlan, OverscanStats, RejectPlan
from muse_core.detector.pixels import (
    build_pixel_map,
    slice_medians,
)
from muse_core.detector.plan import OverscanPlan
from muse_core.detector.quadrants import read_quadrants
from muse_core.detector.rows import row_wavelengths, table_extent
from muse_core.detector.tables import BadPixels, SliceGeometry
from muse_core.framework import InputError
from muse_core.simulate import raw_detector as detector
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.raw import RawSetup, channel_header
from tests.detector.whole_table import image_to_rows

pytestmark = pytest.mark.kernel

SETUP = RawSetup(nx=192, ny=40, ifus=(1,), cosmics=0)
NY, NX = SETUP.shape


@pytest.fixture(scope="module")
def raw():
    signal = np.full(SETUP.shape, 5000.0, np.float32)
    frame = detector.read_out(SETUP, 1, 0, signal, 1, hits=False)
    frame[60, 70] = 65535
    frame[61, 71] = 0
    return frame


@pytest.fixture(scope="module")
def quadrants():
    return read_quadrants(channel_header(SETUP, 1), SETUP.frame_shape)


@pytest.fixture(scope="module")
def masters():
    rng = np.random.default_rng(0)

    def plane(level, noise):
        data = (level + noise * rng.standard_normal(SETUP.shape)).astype(np.float32)
        return data, (rng.random(SETUP.shape) < 0.01).astype(np.int32) * 0x200, np.abs(data) * 0.01

    return plane(2, 0.5), plane(1, 0.2), plane(1, 0.05)


def levels(offset=0.0, stdev=2.6):
    return {q: OverscanStats(SETUP.bias[q - 1] + offset, stdev, 0) for q in (1, 2, 3, 4)}


def plan(reject, correct, sigma=30.0, ignore=3):
    return OverscanPlan(RejectPlan(reject), CorrectPlan(correct), sigma, ignore)


def calibrate(raw, model, masters, rows=None):
    y0, y1 = rows or (0, NY)
    data, stat = np.empty((y1 - y0, NX), np.float32), np.empty((y1 - y0, NX), np.float32)
    dq = np.empty((y1 - y0, NX), np.int32)
    bias, dark, flat = (None if m is None else tuple(p[y0:y1] for p in m) for m in masters)
    apply_exposure(raw, model, (y0, y1), bias, dark, flat, data, stat, dq)
    return data, stat, dq


@pytest.mark.unit
@pytest.mark.parametrize("correction", ["none", "offset", "vpoly"])
def test_calibration_is_the_formula(raw, quadrants, masters, correction):
    model = fit_exposure(raw, quadrants, (), plan("none", correction), levels(), dark_scale=0.01)
    data, stat, dq = calibrate(raw, model, masters)
    (b, bq, bv), (k, kq, kv), (f, fq, fv) = masters
    expected, variance, flags = (np.zeros(SETUP.shape) for _ in range(3))
    for m in model.quadrants:
        q = m.quadrant
        value = raw[q.data].astype(float)
        saturated = (value > 65500) | (value == 0)
        if m.vertical is not None:
            start = q.data[0].start - m.vertical.first
            value -= m.vertical.level[start : start + q.ny, None]
        t = q.trimmed
        v = np.maximum(value - b[t], 0) / q.gain + bv[t] + m.extra_variance
        d = (value + m.shift - b[t]) * q.gain - 0.01 * k[t]
        v = v * q.gain**2 + 1e-4 * kv[t]
        expected[t] = d / f[t]
        variance[t] = (v + d**2 * fv[t] / f[t] ** 2) / f[t] ** 2
        flags[t] = bq[t] | kq[t] | fq[t] | np.where(saturated, 0x1000, 0)
    assert np.allclose(data, expected, rtol=2e-6, atol=1e-3)  # a handful of float32 roundings of 1500 adu
    assert np.allclose(stat, variance, rtol=1e-5)
    assert np.array_equal(dq, flags)
    assert model.nsaturated == 2


@pytest.mark.law
def test_bands_do_not_matter(raw, quadrants, masters):
    model = fit_exposure(raw, quadrants, (), plan("dcr", "vpoly"), levels(), 0.01)
    whole = calibrate(raw, model, masters)
    for y0 in range(0, NY, 23):
        rows = (y0, min(y0 + 23, NY))
        for a, b in zip(calibrate(raw, model, masters, rows), whole, strict=True):
            assert np.array_equal(a, b[slice(*rows)])


@pytest.mark.unit
def test_bad_pixels_are_given_on_the_raw_frame(raw, quadrants, masters):
    x, y = np.array([33, 288, 5, 400]), np.array([33, 33, 5, 9999])
    bad = (BadPixels(x, y, np.array([0x100, 0x200, 0x400, 0x800], np.int32)),)
    model = fit_exposure(raw, quadrants, bad, plan("none", "none"), levels())
    _, _, dq = calibrate(raw, model, (masters[0], None, masters[2]))
    assert dq[0, 0] & 0x100
    # raw column 288 (1-based) is overscan of the right quadrant and no pixel of the image
    assert not (dq & 0x200 & ~(masters[0][1] | masters[2][1])).any()
    assert not (dq & 0xC00).any()


@pytest.mark.unit
def test_levels_are_compared(raw, quadrants):
    arguments = (raw, quadrants, ())
    with pytest.raises(InputError, match="quadrant 1"):
        fit_exposure(*arguments, plan("none", "vpoly"), levels(offset=300.0))
    noted = fit_exposure(*arguments, plan("none", "none", 3.0), levels(offset=30.0))
    assert len(noted.notes) == 4
    shifted = fit_exposure(*arguments, plan("none", "offset", 3.0), levels(offset=30.0))
    assert not shifted.notes
    q = shifted.quadrants[0]
    assert q.shift == pytest.approx(SETUP.bias[0] + 30.0 - q.stats.mean)
    assert q.extra_variance == pytest.approx((q.stats.stdev**2 + 2.6**2) / q.quadrant.gain)


@pytest.mark.law
def test_the_flat_field_may_come_later(raw, quadrants, masters):
    """The image between dark and flat field (for cosmic rays) leads to the same bits."""
    bias, dark, flat = masters
    flat[0][20, 30:40] = 0
    dark[0][21, 31] = np.nan
    model = fit_exposure(raw, quadrants, (), plan("none", "vpoly"), levels(), 0.3)
    at_once = calibrate(raw, model, (bias, dark, flat))
    data, stat, dq = calibrate(raw, model, (bias, dark, None))
    divide_by_flat(data, stat, dq, flat)
    for a, b in zip(at_once, (data, stat, dq), strict=True):
        assert np.array_equal(a, b)
    flat[0][20, 30:40] = 1
    dark[0][21, 31] = 1


@pytest.mark.unit
def test_zero_flat_and_nan_masters_are_flagged(raw, quadrants, masters):
    bias, dark, flat = ([p.copy() for p in m] for m in masters)
    for m in (bias, dark, flat):
        m[1][:] = 0
    flat[0][10, 10] = 0.0
    bias[0][11, 11] = np.nan
    flat[2][12, 12] = np.nan
    model = fit_exposure(raw, quadrants, (), plan("none", "vpoly"))
    data, stat, dq = calibrate(raw, model, (bias, dark, flat))
    assert np.isfinite(data).all()
    assert np.isfinite(stat).all()
    assert [dq[i, i] for i in (10, 11, 12, 13)] == [0x80000, 0x80000, 0x80000, 0]


@pytest.mark.unit
def test_ignoring_the_whole_overscan_is_refused(raw, quadrants):
    with pytest.raises(InputError, match="ovscignore"):
        fit_exposure(raw, quadrants, (), plan("none", "none", 3.0, 32))


# --- combination ---


def slow_combine(values, variances, flags, plan):
    """Value, variance and flag of one pixel."""
    good = flags == 0
    if not good.any():
        best = int(np.argmin(flags))
        return values[best], variances[best], flags[best]
    v, s = values[good].astype(float), variances[good].astype(float)
    order = np.argsort(v)
    n = v.size
    if plan.method == "average":
        return v.mean(), s.sum() / n**2, 0
    if plan.method == "median":
        middle = order[(n - 1) // 2 : n // 2 + 1]
        return np.median(v), s[middle].sum(), 0
    if plan.method == "sigclip":
        c = np.median(v)
        a = np.abs(v - c).mean()
        keep = (v >= c - plan.lsigma * a) & (v <= c + plan.hsigma * a)
        return v[keep].mean(), s[keep].sum() / keep.sum() ** 2, 0
    if n <= plan.nlow + plan.nhigh:
        best = int(np.argmin(flags))
        return values[best], variances[best], flags[best] | 0x80000
    flag = 0
    need = plan.nlow + plan.nhigh + plan.nkeep
    for i in np.flatnonzero(~good)[: max(need - n, 0)]:
        v, s, flag = np.append(v, values[i]), np.append(s, variances[i]), flag | flags[i]
    kept = np.argsort(v, kind="stable")[plan.nlow : v.size - plan.nhigh]
    return v[kept].mean(), s[kept].sum() / kept.size**2, flag


@pytest.mark.unit
@pytest.mark.parametrize("n", [3, 4, 7])
@pytest.mark.parametrize(
    "plan",
    [
        CombinePlan("average"),
        CombinePlan("median"),
        CombinePlan("sigclip", lsigma=1.2, hsigma=1.5),
        CombinePlan("minmax"),
        CombinePlan("minmax", nlow=0, nhigh=1, nkeep=2),
    ],
    ids=lambda p: f"{p.method}{p.nkeep}",
)
def test_combination_agrees_with_the_slow_twin(n, plan):
    rng = np.random.default_rng(n)
    shape = (n, 11, 13)
    data = rng.normal(100, 10, shape).astype(np.float32)
    stat = rng.uniform(1, 5, shape).astype(np.float32)
    dq = np.where(rng.random(shape) < 0.35, rng.integers(1, 99, shape), 0).astype(np.int32)
    out, out_stat, out_dq = (
        np.empty(shape[1:], np.float32),
        np.empty(shape[1:], np.float32),
        np.empty(shape[1:], np.int32),
    )
    combine_images(data, stat, dq, plan, out, out_stat, out_dq)
    for y in range(shape[1]):
        for x in range(shape[2]):
            expected = slow_combine(data[:, y, x], stat[:, y, x], dq[:, y, x], plan)
            assert (out[y, x], out_stat[y, x], out_dq[y, x]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.unit
def test_impossible_combinations_are_refused():
    empty = np.zeros((2, 1, 1), np.float32)
    out = (np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int32))
    with pytest.raises(InputError, match="at least 3"):
        combine_images(empty, empty, empty.astype(np.int32), CombinePlan("sigclip"), *out)
    with pytest.raises(InputError, match="fewer than"):
        combine_images(empty, empty, empty.astype(np.int32), CombinePlan("minmax"), *out)


@pytest.mark.unit
def test_interpolation_fills_ring_by_ring():
    data = np.arange(49, dtype=np.float32).reshape(7, 7)
    dq = np.zeros((7, 7), np.int32)
    dq[2:5, 2:5] = 1
    exact = data.copy()
    data[2:5, 2:5] = -1e6
    interpolate_bad(data, dq)
    assert data[3, 2] == pytest.approx(np.mean([exact[2 + i, 1] for i in range(3)]))
    ring = [data[y, x] for y in (2, 3, 4) for x in (2, 3, 4) if (y, x) != (3, 3)]
    assert data[3, 3] == pytest.approx(np.mean(ring), rel=1e-6)
    assert (dq[2:5, 2:5] == 1).all()
    hopeless = np.ones((3, 3), np.float32)
    interpolate_bad(hopeless, np.ones((3, 3), np.int32))
    assert (hopeless == 1).all()


# --- pixel table ---


@pytest.fixture(scope="module")
def pixel_map():
    columns = instrument.geometry_columns(SETUP, (1,))
    geometry = SliceGeometry(columns["x"], columns["y"], np.deg2rad(columns["angle"]), columns["width"])
    trace = instrument.trace_polynomials(SETUP, 1)[:, 1:]
    return build_pixel_map(1, SETUP.shape, trace, instrument.wave_polynomials(SETUP, 1), geometry, "WFM-AO-N")


@pytest.mark.unit
def test_rows_against_the_formulas(pixel_map):
    rng = np.random.default_rng(2)
    data = rng.random(SETUP.shape, dtype=np.float32)
    dq = rng.integers(0, 3, SETUP.shape).astype(np.int32)
    rows = image_to_rows(data, data * 2, dq, pixel_map)
    s = (rows["origin"] & 63) - 1
    assert ((rows["origin"] >> 6) & 31 == 1).all()
    y = (rows["origin"] >> 11) & 0x1FFF
    x = (rows["origin"] >> 24) + pixel_map.offset[s]
    assert np.array_equal(rows["data"], data[y - 1, x - 1])
    assert np.array_equal(rows["stat"], 2 * data[y - 1, x - 1])
    columns, g = instrument.wave_polynomials(SETUP, 1), pixel_map.geometry
    lam = sum(
        columns[s, i, j] * x.astype(float) ** i * y.astype(float) ** j for i in range(3) for j in range(7)
    )
    assert np.allclose(rows["lam"], lam, rtol=1e-7)
    left, right = pixel_map.left[s, y - 1], pixel_map.right[s, y - 1]
    u = (x - (left + right) / 2) / (right - left) * g.width[s]
    assert np.allclose(rows["xpos"], g.x[s] - u * np.cos(g.angle[s]), atol=1e-5)
    assert np.allclose(rows["ypos"], g.y[s] - u * np.sin(g.angle[s]), atol=1e-5)
    # measured against 2.8.7: both ends excluded, earlier flags are lost
    notch = (rows["lam"] > 5805) & (rows["lam"] < 5966)
    assert np.array_equal(rows["dq"], np.where(notch, 0x08000000, dq[y - 1, x - 1]))
    assert notch.any()
    order = np.lexsort((x, y, s))
    assert np.array_equal(order, np.arange(order.size))


@pytest.mark.unit
def test_slice_ends_where_an_edge_leaves_the_detector(pixel_map):
    trace = instrument.trace_polynomials(SETUP, 1)[:, 1:]
    trace[47, 1] = 0
    trace[47, 1, :2] = (NX - 0.505, 0.01)  # beyond the last column from row 51 on
    trace[20, 0, 0] = trace[20, 1, 0] + 1  # crossed edges
    cut = build_pixel_map(
        1, SETUP.shape, trace, instrument.wave_polynomials(SETUP, 1), pixel_map.geometry, "WFM-NOAO-N"
    )
    assert cut.notes == [f"slice {s} leaves the detector and loses rows" for s in (21, 48)]
    inside = np.maximum(cut.last[47] - cut.first[47] + 1, 0)
    assert (inside[:50] > 0).all()
    assert (inside[50:] == 0).all()
    assert not pixel_map.notes


@pytest.mark.law
def test_extent_and_medians_are_those_of_the_rows(pixel_map):
    data = np.random.default_rng(1).random(SETUP.shape, dtype=np.float32)
    dq = np.zeros(SETUP.shape, np.int32)
    whole = image_to_rows(data, data, dq, pixel_map, 5000, 9000)
    extent = table_extent(pixel_map, row_wavelengths(pixel_map), (5000, 9000))
    assert extent.rows.sum() == whole["lam"].size
    for i, name in enumerate(("xpos", "ypos", "lam")):
        assert tuple(extent.limits[2 * i : 2 * i + 2]) == (whole[name].min(), whole[name].max())
    s = (whole["origin"] & 63) - 1
    medians = slice_medians(data, pixel_map, 6500, 7500)
    band = (whole["lam"] >= 6500) & (whole["lam"] <= 7500) & (s == 9)
    assert medians[9] == pytest.approx(np.median(whole["data"][band]), rel=1e-7)

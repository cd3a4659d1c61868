# SPDX-License-Identifier: BSD-3-Clause
"""The sky spectrum: sums, clipping, independence of blocks and threads, subtraction."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from postproc_golden import golden, load_columns

from muse_core.framework import RecipeError
from muse_core.postproc.sky.spectrum import SkyCurve, SkySpectrumSum, subtract_curve

pytestmark = pytest.mark.kernel


def rows(n=6000, seed=2, low=6000.0, high=6040.0):
    rng = np.random.default_rng(seed)
    lam = rng.uniform(low, high, n).astype(np.float32)
    data = (50 + 400 * np.exp(-0.5 * ((lam - 6017) / 1.2) ** 2) + rng.normal(0, 5, n)).astype(np.float32)
    data[rng.random(n) < 0.004] += 2000
    return lam, data, np.full(n, 25, np.float32) + data**2 * np.float32(0.0003), rng.random(n) < 0.7


def plain_spectrum(lam, data, stat, use, low, high, step):
    """The slow twin: numpy, in double precision."""
    n = int(np.floor((high - low) / step)) + 2
    place = (lam[use].astype(float) - low) / step
    i = np.clip(place.astype(int), 0, n - 2)
    t = place - i
    sums = np.zeros((3, n))
    for q, value in enumerate((data[use].astype(float), stat[use].astype(float), 1.0)):
        np.add.at(sums[q], i, (1 - t) * value)
        np.add.at(sums[q], i + 1, t * value)
    keep = sums[2] > 0
    grid = low + np.arange(n) * step
    return grid[keep], sums[0][keep] / sums[2][keep], sums[1][keep] / sums[2][keep], i


def collect(columns, step=0.3125, blocks=1, limits=None, order=None):
    lam, data, stat, use = columns if order is None else [c[order] for c in columns]
    total = SkySpectrumSum(float(lam.min()), float(lam.max()), step, limits)
    for part in np.array_split(np.arange(lam.size), blocks):
        total.add(lam[part], data[part], stat[part], use[part])
    return total


@pytest.mark.unit
@pytest.mark.parametrize("step", [0.3125, 0.2, 1.7])
def test_agrees_with_numpy(step):
    columns = rows()
    spectrum = collect(columns, step).spectrum()
    lam, data, stat, _ = plain_spectrum(*columns, float(columns[0].min()), float(columns[0].max()), step)
    np.testing.assert_array_equal(spectrum.lam, lam)
    np.testing.assert_allclose(spectrum.data, data, rtol=1e-13)
    np.testing.assert_allclose(spectrum.stat, stat, rtol=1e-13)
    assert spectrum.n_rows == columns[3].sum()


@pytest.mark.law
def test_same_bits_for_any_blocks_order_and_threads():
    columns = rows()
    once = collect(columns)
    shuffled = np.random.default_rng(3).permutation(columns[0].size)
    threaded = SkySpectrumSum(once.lam_min, once.lam_max)
    with ThreadPoolExecutor(3) as pool:
        parts = np.array_split(shuffled, 23)
        list(pool.map(lambda part: threaded.add(*(c[part] for c in columns)), parts))
    merged = collect(columns).emptied()
    for part in np.array_split(np.arange(columns[0].size), 5):
        piece = merged.emptied()
        piece.add(*(c[part] for c in columns))
        merged.merge(piece)
    reference = once.spectrum()
    limits = once.clip_limits(5.0)
    for other in (collect(columns, blocks=7, order=shuffled), threaded, merged):
        for a, b in ((reference, other.spectrum()), (once.clipped(limits), other.clipped(limits))):
            np.testing.assert_array_equal(a.data, b.data)
            np.testing.assert_array_equal(a.stat, b.stat)
            assert (a.n_rows, a.n_clipped) == (b.n_rows, b.n_clipped)


@pytest.mark.unit
def test_clipping_takes_only_high_values_and_equals_a_second_pass():
    columns = rows()
    total = collect(columns)
    limits = total.clip_limits(5.0)
    lam, data, stat, use = columns
    low, high = float(lam.min()), float(lam.max())
    grid, S, V, _ = plain_spectrum(*columns, low, high, 0.3125)
    assert grid.size == limits.size + 1
    i = ((lam.astype(float) - low) / 0.3125).astype(int)
    outlier = use & (data > np.maximum((S + 5 * np.sqrt(V))[i], (S + 5 * np.sqrt(V))[i + 1]))
    assert 5 < outlier.sum() < 40
    assert total.can_clip(limits)
    clipped = total.clipped(limits)
    again = collect(columns, limits=limits).spectrum()
    expected = plain_spectrum(lam, data, stat, use & ~outlier, low, high, 0.3125)
    assert clipped.n_clipped == again.n_clipped == outlier.sum()
    np.testing.assert_array_equal(clipped.data, again.data)
    np.testing.assert_allclose(clipped.data, expected[1], rtol=1e-13)
    np.testing.assert_array_equal(total.spectrum().data, collect(columns).spectrum().data)  # nothing lost


@pytest.mark.unit
def test_no_clipping_with_sigma_zero():
    total = collect(rows())
    limits = total.clip_limits(0.0)
    assert total.can_clip(limits)
    assert total.clipped(limits).n_clipped == 0


@pytest.mark.unit
def test_many_outliers_in_one_bin_ask_for_a_second_pass():
    lam, data, stat, use = rows(400, low=6000.0, high=6000.6)
    use[:] = True
    data[:60] += 5000
    total = collect((lam, data, stat, use))
    assert not total.can_clip(np.full(total.n_interval, 1000.0))


@pytest.mark.law
def test_a_constant_stays_constant_and_empty_bins_are_left_out():
    lam, _, stat, use = rows()
    use &= (lam < 6010) | (lam > 6020)
    spectrum = collect((lam, np.full(lam.size, 7.25, np.float32), stat, use)).spectrum()
    np.testing.assert_allclose(spectrum.data, 7.25, rtol=1e-14)
    assert not ((spectrum.lam > 6010.4) & (spectrum.lam < 6019.6)).any()


@pytest.mark.law
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_data_scale_and_variances_scale_with_the_square(scale):
    lam, data, stat, use = rows()
    one = collect((lam, data, stat, use)).spectrum()
    two = collect((lam, data * np.float32(scale), stat * np.float32(scale) ** 2, use)).spectrum()
    np.testing.assert_allclose(two.data, one.data * scale, rtol=1e-6)  # float32 rounding of the inputs
    np.testing.assert_allclose(two.stat, one.stat * scale**2, rtol=1e-6)


@pytest.mark.unit
def test_exploded_and_missing_values_do_not_spoil_other_bins():
    lam, data, stat, use = rows()
    use[:] = True
    clean = collect((lam, data, stat, use)).spectrum()
    data[0], data[1] = 3e30, np.nan
    spectrum = collect((lam, data, stat, use)).spectrum()
    near = (np.abs(clean.lam - lam[0]) < 0.32) | (np.abs(clean.lam - lam[1]) < 0.32)
    np.testing.assert_array_equal(spectrum.data[~near], clean.data[~near])
    assert np.isnan(spectrum.data[near]).any()
    assert np.nanmax(spectrum.data[near]) > 1e25


@pytest.mark.unit
def test_subtraction_is_linear_interpolation():
    rng = np.random.default_rng(4)
    nodes = np.sort(rng.uniform(6000, 6040, 90))
    curve = SkyCurve.from_nodes(nodes, rng.normal(100, 30, 90))
    lam, data, *_ = rows()
    keep = (lam >= curve.range[0]) & (lam <= curve.range[1])
    assert 0 < (~keep).sum() < 600
    lam, data = lam[keep], data[keep]
    expected = data - np.interp(lam.astype(float), curve.lam, curve.value)
    subtract_curve(lam, data, curve)
    np.testing.assert_allclose(data, expected, rtol=1e-6, atol=1e-5)  # float32 storage


@pytest.mark.unit
def test_the_ends_of_the_range_belong_to_it():
    curve = SkyCurve.from_nodes([6000.0, 6001.0, 6002.0], [1.0, 2.0, 4.0])
    lam = np.array([5999.9, 6000.0, 6001.5, 6002.0, 6002.1], np.float32)
    assert curve.range == (lam[1], lam[3])
    data = np.zeros(3, np.float32)
    subtract_curve(lam[1:4], data, curve)
    assert data.tolist() == [-1.0, -3.0, -4.0]


@pytest.mark.unit
def test_errors():
    with pytest.raises(RecipeError, match="contain no row"):
        SkySpectrumSum(6100, 6000)
    with pytest.raises(RecipeError, match="SKY_MASK that overlaps"):
        SkySpectrumSum(6000, 6100).spectrum().curve()


@pytest.mark.unit
def test_curve_of_a_golden_spectrum():
    lam, data = load_columns(golden("sky2", "out_oh", "SKY_SPECTRUM_0001.fits"), "lambda", "data")
    x = np.random.default_rng(1).uniform(lam[0], lam[-1], 3000).astype(np.float32)
    zero = np.zeros(x.size, np.float32)
    subtract_curve(x, zero, SkyCurve.from_nodes(lam, data))
    np.testing.assert_allclose(-zero, np.interp(x.astype(float), lam, data), rtol=1e-6)

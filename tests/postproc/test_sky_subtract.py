# SPDX-License-Identifier: BSD-3-Clause
"""Subtraction of lines: the rule which rows are hit, and independence of blocks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from muse_core.data.slices import rows_by_slice, slice_key
from muse_core.postproc.lsf.images import LsfImage, pad_samples
from muse_core.postproc.lsf.tables import LsfTable
from muse_core.postproc.sky.line_list import SkyLines
from muse_core.postproc.sky.line_subtraction import line_model, subtract_lines
from muse_core.postproc.sky.line_windows import LineWindows

pytestmark = pytest.mark.kernel

IFU = 7


def image_lsf(seed=4):
    """Profiles of the slices 1..3 of an IFU, with wings that do not vanish at the ends."""
    x = -3.0 + np.arange(41) * 0.15
    rng = np.random.default_rng(seed)
    data = (
        np.exp(-0.5 * ((x - rng.normal(0, 0.2, (3, 4, 1))) / 1.1) ** 2) + 0.05 + 0.05 * rng.random((3, 4, 41))
    )
    row = np.full(1152, -1, np.int32)
    row[slice_key(IFU, 1) : slice_key(IFU, 3) + 1] = range(3)
    return LsfImage(pad_samples(data.astype(np.float32)), -3.0, 0.15, 5900.0, 100.0, row)


def table_lsf():
    row = np.full(1152, -1, np.int32)
    row[slice_key(IFU, 1) : slice_key(IFU, 3) + 1] = range(3)
    width = np.array([[1.0, 1e-5], [1.2, 0.0], [2.4, 0.0]])
    hermite = tuple(np.array([[0.03], [-0.02], [0.01]]) for _ in range(4))
    return LsfTable(row, np.array([2.4, 2.5, 2.6]), np.array([1.25, 1.2, 1.3]), width, hermite)


def lines(lam, seed=5):
    lam = np.asarray(lam, float)
    flux = np.random.default_rng(seed).uniform(50, 500, lam.size)
    zero = np.zeros(lam.size, np.int32)
    return SkyLines(tuple("x" * lam.size), zero, lam, flux, zero)


def exposure(rounding=None, seed=6, gap=None):
    """Rows of four slices; the last slice has no profile."""
    rng = np.random.default_rng(seed)
    n = 900
    slices = np.repeat([1, 2, 3, 4], n // 4)
    lam = rng.uniform(6000, 6030, n)
    if gap:
        lam = lam[(lam < gap[0]) | (lam > gap[1])]
        slices = slices[: lam.size]
    if rounding:
        lam = np.round(lam / rounding) * rounding
    origin = (slices | (IFU << 6)).astype(np.int32)
    return (
        lam.astype(np.float32),
        rng.normal(100, 5, lam.size).astype(np.float32),
        origin,
        np.arange(lam.size),
    )


def plain_subtraction(lam, data, origin, sky, lsf):
    """The slow twin: sort the rows of each slice, find the window of each line in the sorted rows."""

    def find_sorted(values, x):
        return max(int(np.searchsorted(values, x, side="right")) - 1, 0)

    total = np.zeros(lam.size)
    for number in np.unique(origin & 0x3F):
        key = slice_key(IFU, int(number))
        members = np.flatnonzero((origin & 0x3F) == number)
        members = members[np.argsort(lam[members], kind="stable")]
        wave = lam[members].astype(float)
        for position, flux in zip(sky.lam, sky.flux):
            lo, hi = (find_sorted(wave, position + x) for x in lsf.reach)
            if lo < hi and lsf.row[key] >= 0:
                hit = slice(lo, hi + 1)
                total[members[hit]] += flux * lsf.profile(key, position, wave[hit] - position)
    return (data - total).astype(np.float32)


def ours(lam, data, origin, row, sky, lsf, blocks=1, threads=1, order=None):
    order = np.arange(lam.size) if order is None else order
    parts = [part for part in np.array_split(order, blocks) if part.size]
    windows = LineWindows(sky.lam, lsf.reach)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda q: windows.add(lam[q], origin[q], row[q]), parts))
    model = line_model(sky, lsf, windows)
    out = data.copy()
    for q in parts:
        piece = data[q]
        subtract_lines(lam[q], piece, origin[q], row[q], model)
        out[q] = piece
    return out


CASES = {
    "ordinary": ({}, np.linspace(6001.3, 6028.9, 17)),
    "many rows of one wavelength": ({"rounding": 0.5}, np.linspace(6001.31, 6028.93, 17)),
    "lines around the ends": (
        {"rounding": 0.25},
        [5995.9, 5996.95, 5997.04, 5997.3, 5999.9, 6030.2, 6032.7, 6032.96, 6033.04, 6033.5],
    ),
    "a gap wider than a window": (
        {"gap": (6008.0, 6018.0)},
        [6004.2, 6005.05, 6011.3, 6012.6, 6020.95, 6021.1],
    ),
}


@pytest.mark.unit
@pytest.mark.parametrize("make_lsf", [image_lsf, table_lsf])
@pytest.mark.parametrize("case", CASES)
def test_same_rows_as_with_sorted_slices(case, make_lsf):
    options, positions = CASES[case]
    lam, data, origin, row = exposure(**options)
    sky, lsf = lines(positions), make_lsf()
    expected = plain_subtraction(lam, data, origin, sky, lsf)
    result = ours(lam, data, origin, row, sky, lsf)
    np.testing.assert_allclose(result, expected, rtol=3e-7, atol=1e-5)  # one float32 rounding
    assert (result != data).any()
    no_profile = (origin & 0x3F) == 4
    np.testing.assert_array_equal(result[no_profile], data[no_profile])


@pytest.mark.law
@pytest.mark.parametrize("make_lsf", [image_lsf, table_lsf])
@pytest.mark.parametrize("options", [{"rounding": 0.5}, {"gap": (6008.0, 6023.0)}])
def test_same_bits_for_any_blocks_order_and_threads(options, make_lsf):
    lam, data, origin, row = exposure(**options)
    sky, lsf = lines(np.linspace(6001.3, 6028.9, 17)), make_lsf()
    reference = ours(lam, data, origin, row, sky, lsf)
    shuffled = np.random.default_rng(1).permutation(lam.size)
    np.testing.assert_array_equal(ours(lam, data, origin, row, sky, lsf, blocks=13, threads=3), reference)
    np.testing.assert_array_equal(ours(lam, data, origin, row, sky, lsf, 7, 2, shuffled), reference)


@pytest.mark.law
def test_all_the_flux_of_a_line_is_taken():
    lsf, n = image_lsf(), 4000
    lam = np.linspace(6000, 6030, n).astype(np.float32)
    origin = np.full(n, 2 | (IFU << 6), np.int32)
    sky = lines([6012.0, 6013.5, 6017.2])
    out = ours(lam, np.zeros(n, np.float32), origin, np.arange(n), sky, lsf)
    assert -np.trapezoid(out.astype(float), lam.astype(float)) == pytest.approx(
        sky.flux.sum(), rel=1e-2
    )  # the wings end at the window


@pytest.mark.unit
def test_rows_of_a_slice_are_counted():
    _, _, origin, _ = exposure()
    numbers = np.append(origin, np.int32(0)) & 0x7FF  # the last one has no valid slice
    rows = rows_by_slice(np.bincount(numbers, minlength=2048))
    assert rows[slice_key(IFU, 1)] == 225
    assert rows.sum() == origin.size

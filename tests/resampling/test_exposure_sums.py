# SPDX-License-Identifier: BSD-3-Clause
"""Sums of single exposures: what is added, counted and left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse_core.data.block import Block
from muse_core.resampling.exposure_rejection import ExposureRejection, rejected_exposures
from muse_core.resampling.exposure_sums import Piece, add_exposure, count_exposures
from muse_core.resampling.grid import pixel_grid
from muse_core.resampling.plan import ByExposure, CubePlan
from muse_core.resampling.schedule import planes_per_slab
from muse_core.resampling.slabs import slabs_between
from muse_core.resampling.stored_sums import SumsHeader
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.voxel_types import VoxelRows
from muse_core.resampling.weights import Resampling

pytestmark = [pytest.mark.unit, pytest.mark.kernel]
GRID = pixel_grid(((0.0, 15.0), (0.0, 11.0), (5000.0, 5010.0)))


def rows_of(voxels, exposures, rng):
    """Rows in voxel order with the exposures ascending within each voxel."""
    order = np.lexsort((exposures, voxels))
    starts = np.searchsorted(voxels[order], np.arange(voxels.max(initial=0) + 2)).astype(np.int32)
    columns = [rng.normal(size=voxels.size).astype(np.float32) for _ in range(5)]
    dq = (rng.random(voxels.size) < 0.2).astype(np.int32)
    rows = VoxelRows(starts, *columns, dq, np.empty(0, np.float32))
    return rows, exposures[order].astype(np.uint16), voxels[order]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 60), st.booleans())
def test_the_exposures_share_out_the_rows(seed, count, size, late):
    """Every row comes once, with its own exposure, in its own voxel."""
    rng = np.random.default_rng(seed)
    voxels, exposures = rng.integers(0, 7, size), rng.integers(int(late and count > 1), count, size)
    rows, numbers, places = rows_of(voxels, exposures, rng)
    piece = Piece(rows, numbers, 0, 1)
    seen = []
    for number, own in enumerate(piece.by_exposure(count)):
        assert own.starts[-1] == own.lam.size
        for voxel in range(own.starts.size - 1):
            wanted = rows.lam[(numbers == number) & (places == voxel)]
            np.testing.assert_array_equal(own.lam[own.starts[voxel] : own.starts[voxel + 1]], wanted)
        seen.append(own.lam)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.sort(rows.lam))


def test_planes_are_cut_out():
    rng = np.random.default_rng(1)
    voxels = np.sort(rng.integers(0, 12, 50))
    rows, numbers, places = rows_of(np.append(voxels, 11), np.append(rng.integers(0, 3, 50), 2), rng)
    piece = Piece(rows, numbers, 10, 14)  # four planes of three voxels
    part = piece.between(11, 13)
    assert (part.first, part.last) == (11, 13)
    np.testing.assert_array_equal(part.rows.lam, rows.lam[(places >= 3) & (places < 9)])
    empty = piece.between(20, 22)
    assert empty.rows.lam.size == 0
    assert empty.first == empty.last


def test_exposures_are_counted_where_they_have_good_rows():
    starts = np.array([0, 3, 3, 5], np.int32)
    exposure = np.array([0, 0, 2, 1, 2], np.uint16)
    dq = np.array([0, 0, 0, 1, 0], np.int32)
    counts = np.zeros(3, np.int16)
    count_exposures(starts, exposure, dq, counts)
    assert counts.tolist() == [2, 0, 1]


def test_an_exposure_that_is_not_finite_does_not_spoil_the_others():
    total = np.full((1, 1, 2, 3), 2.0)
    own = np.array([[[[np.nan, 1.0, 1.0], [3.0, 1.0, 0.5]]]])
    exposures = np.ones((1, 1, 2), np.int16)
    add_exposure(own, total, exposures, np.zeros((1, 1, 2), np.bool_))
    assert total[0, 0].tolist() == [[2.0, 2.0, 2.0], [5.0, 3.0, 2.5]]
    assert exposures[0, 0].tolist() == [1, 2]


def sums_of(values, sigma=1.0, weight=1.0):
    sums = np.empty((*values.shape, 3))
    sums[..., 0], sums[..., 1], sums[..., 2] = values * weight, weight, (sigma * weight) ** 2
    return sums


def star(shape, fwhm, flux=2000.0, at=(20.3, 19.6)):
    y, x = np.indices(shape)
    r2 = (y - at[0]) ** 2 + (x - at[1]) ** 2
    width = fwhm / 2.3548
    return flux / (2 * np.pi * width**2) * np.exp(-0.5 * r2 / width**2)


def test_a_trail_is_left_out_and_a_star_is_not():
    """A trail of 12 standard deviations in one of five exposures, whose seeing differs by half."""
    rng = np.random.default_rng(3)
    values = np.stack(
        [rng.normal(size=(40, 40)) + star((40, 40), fwhm) for fwhm in (3.0, 3.3, 3.6, 3.2, 4.8)]
    )
    quiet = rejected_exposures(sums_of(values), ExposureRejection(5.0))
    assert quiet.sum() <= 2  # of 8000 normal deviates none is beyond 5
    values[2, 33] += 12.0
    found = rejected_exposures(sums_of(values), ExposureRejection(5.0))
    assert found[2, 33].mean() > 0.95
    assert found.sum() - found[2, 32:35].sum() <= 2


def test_wings_of_what_is_left_out_are_judged_with_half_the_limit():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(6, 30, 30)) * 0.3
    values[1, 10], values[1, 11], values[1, 20] = 9.0, 3.6, 3.6
    found = rejected_exposures(sums_of(values), ExposureRejection(5.0))
    assert found[1, 10].all()
    assert found[1, 11].mean() > 0.8
    assert not found[1, 20].any()


@pytest.mark.parametrize("count", [1, 2])
def test_of_two_exposures_nobody_knows_which_is_wrong(count):
    values = np.zeros((count, 5, 5))
    values[0, 2, 2] = 1000.0
    assert not rejected_exposures(sums_of(values), ExposureRejection(3.0)).any()


def test_half_of_the_exposures_are_not_outvoted():
    values = np.zeros((4, 9, 9))
    values[:2, 4, 4] = 500.0
    assert not rejected_exposures(sums_of(values), ExposureRejection(3.0, structure=0.0)).any()


def test_more_scatter_than_the_variances_tell_is_no_reason():
    """The limit follows what the residuals of an exposure show in the plane."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(5, 40, 40))
    values[3] *= 4.0
    assert rejected_exposures(sums_of(values), ExposureRejection(5.0)).sum() <= 3


def test_what_was_combined_before_is_a_witness():
    rng = np.random.default_rng(6)
    values = rng.normal(size=(2, 20, 20))
    before = sums_of(rng.normal(size=(20, 20)), 0.5, 4.0)
    values[0, 7, 7] = 40.0
    found = rejected_exposures(sums_of(values), ExposureRejection(5.0), before)
    assert found.shape == (2, 20, 20)
    assert found[0, 7, 7]
    assert not rejected_exposures(sums_of(values), ExposureRejection(5.0)).any()


def exposure_of(seed):
    """Rows all over the grid, a trail in one of four exposures."""
    rng = np.random.default_rng(seed)
    n, f4 = 6000, np.float32
    data = rng.normal(size=n) + 100.0 * (seed == 2) * (rng.random(n) < 0.01)
    block = Block(
        rng.uniform(0, 15, n).astype(f4), rng.uniform(0, 11, n).astype(f4),
        rng.uniform(5000, 5010, n).astype(f4), data.astype(f4), np.zeros(n, np.int32), np.ones(n, f4),
        np.zeros(n, np.int32), np.arange(n),
    )  # fmt: skip
    return Contribution(lambda low, high: block.select((block.lam >= low) & (block.lam <= high)), n)


def test_room_for_the_sums_changes_no_bit():
    """Planes are judged one by one, whether the sums of one or of all are kept at a time."""
    parts = [exposure_of(seed) for seed in range(4)]
    found = []
    for room in (1, 1 << 28):
        settings = ByExposure(ExposureRejection(4.0), keep_sums=True, stack_bytes=room)
        plan = CubePlan(GRID, (0.0, 0.0), Resampling(), by_exposure=settings)
        slabs = list(slabs_between(parts, plan, 0, GRID.nz, 4, 1))
        found.append([part.tobytes() for s in slabs for part in (s.data, s.stat, s.exposures, s.sums)])
        assert sum(slab.disagreeing for slab in slabs) > 10
    assert found[0] == found[1]


def test_sums_of_exposures_are_part_of_the_memory():
    plain, counted = (CubePlan(GRID, (0.0, 0.0), Resampling(), by_exposure=by) for by in (None, ByExposure()))
    grid = pixel_grid(((0.0, 299.0), (0.0, 299.0), (5000.0, 5500.0)))
    heights = [planes_per_slab(replace(plan, grid=grid), 10**6, 2 * 10**8, 2) for plan in (plain, counted)]
    assert heights[0] > heights[1] > 1


@pytest.mark.parametrize(("place", "value"), [(3, np.nan), (10, 0.0), (11, 0.0), (6, 0.0)])
def test_a_grid_that_is_none_is_refused(place, value):
    head = SumsHeader(GRID, (0.0, 0.0), 1.0, 0.0)
    numbers = head.numbers()
    assert head.with_numbers(numbers) == head
    numbers[place] = value
    with pytest.raises(ValueError, match="which is no grid"):
        head.with_numbers(numbers)

# SPDX-License-Identifier: BSD-3-Clause
"""Store and cube: rows come back, strips and threads do not matter, flux is conserved, cosmic rays go."""

import numpy as np
import pytest

from muse_core.detector.pixels import build_pixel_map
from muse_core.detector.tables import SliceGeometry
from muse_core.framework import InputError
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.raw import RawSetup
from muse_core.twilight import cube as cubes
from muse_core.twilight.cube import SkyCubePlan, build_cube
from muse_core.twilight.quick_cube import quick_cube
from muse_core.twilight.store import RowStore
from tests.detector.whole_table import image_to_rows

SETUP = RawSetup(nx=192, ny=30, ifus=(1, 2))
LOW, HIGH = 5000.0, 9000.0


def pixel_map(ifu, mode="WFM-NOAO-N"):
    c = instrument.geometry_columns(SETUP, (ifu,))
    geometry = SliceGeometry(c["x"], c["y"], np.deg2rad(c["angle"]), c["width"])
    trace = instrument.trace_polynomials(SETUP, ifu)[:, 1:]
    return build_pixel_map(ifu, SETUP.shape, trace, instrument.wave_polynomials(SETUP, ifu), geometry, mode)


def filled(tmp_path, memory=10**9, spike=None, dq_fraction=0.01, level=None):
    store = RowStore(tmp_path, LOW, HIGH, memory, 10**5)
    parts = {}
    for ifu in (2, 1):
        rng = np.random.default_rng(ifu)
        data = rng.normal(100, 3, SETUP.shape).astype(np.float32)
        if level is not None:
            data[:] = level
        if spike:
            y, x = rng.integers(0, SETUP.shape[0], spike), rng.integers(0, SETUP.shape[1], spike)
            data[y, x] += 5000
        dq = (rng.random(SETUP.shape) < dq_fraction).astype(np.int32)
        parts[ifu] = store.add(pixel_map(ifu), data, np.abs(data), dq, np.full(48, 1.5))
    limits = np.array([p.limits for p in parts.values()])
    store.freeze({1: 1.0, 2: 2.0}, [f(limits[:, i]) for i, f in enumerate((np.min, np.max) * 3)])
    return store, parts


@pytest.mark.kernel
@pytest.mark.unit
@pytest.mark.parametrize("memory", [0, 10**9])
def test_rows_come_back_as_the_pixel_table_has_them(tmp_path, memory):
    with filled(tmp_path, memory)[0] as store:
        assert not list(tmp_path.iterdir())  # the temporary file has no name
        grid = cubes.cube_grid(store.limits, 250.0)
        rows, starts = store.strip(0, grid.ny, (grid.nz, grid.ny, grid.nx), 250.0)
        expected = {name: [] for name in ("xpos", "ypos", "lam", "data", "stat", "dq")}
        for ifu, scale in ((1, 1.0), (2, 2.0)):
            rng = np.random.default_rng(ifu)
            data = rng.normal(100, 3, SETUP.shape).astype(np.float32)
            dq = (rng.random(SETUP.shape) < 0.01).astype(np.int32)
            table = image_to_rows(data, np.abs(data), dq, pixel_map(ifu), LOW, HIGH)
            table["data"] = (table["data"] * np.float32(1.5) / np.float32(scale)).astype(np.float32)
            table["stat"] = (table["stat"] * np.float32(2.25) / np.float32(scale**2)).astype(np.float32)
            for name, column in expected.items():
                column.append(table[name])
        joined = {name: np.concatenate(column) for name, column in expected.items()}
        steps = zip(("lam", "ypos", "xpos"), (4, 2, 0), (250.0, 1.0, 1.0), strict=True)
        cells = [np.floor((joined[c].astype(float) - store.limits[i]) / d + 0.5) for c, i, d in steps]
        voxel = ((cells[0] * grid.ny + cells[1]) * grid.nx + cells[2]).astype(int)
        order = np.argsort(voxel, kind="stable")
        assert np.array_equal(np.diff(starts), np.bincount(voxel, minlength=starts.size - 1))
        for name, column in joined.items():
            if name == "stat":
                assert np.allclose(getattr(rows, name), column[order], rtol=2e-7)
            else:
                assert np.array_equal(getattr(rows, name), column[order]), name


@pytest.mark.law
def test_strips_hold_the_rows_of_the_whole(tmp_path):
    with filled(tmp_path)[0] as store:
        size = cubes.cube_grid(store.limits, 250.0).nz, 26, 17
        whole, starts = store.strip(0, size[1], size, 250.0)
        part, part_starts = store.strip(5, 9, size, 250.0)
        assert part.data.size > 100
        inside = np.diff(starts).reshape(size)
        assert np.array_equal(np.diff(part_starts), inside[:, 5:9].ravel())
        row = np.repeat(np.arange(inside.size) // size[2] % size[1], inside.ravel())
        for name, column in whole._asdict().items():
            assert np.array_equal(getattr(part, name), column[(row >= 5) & (row < 9)]), name


@pytest.mark.law
@pytest.mark.parametrize("method", ["drizzle", "nearest", "renka"])
def test_strips_threads_and_disk_give_the_same_bits(tmp_path, monkeypatch, method):
    plan = SkyCubePlan(method, "median", 5.0, 500.0)
    results = []
    for height, threads, memory in ((100, 1, 10**9), (3, 1, 10**9), (5, 3, 0)):
        monkeypatch.setattr(cubes, "LEAST_HEIGHT", height)
        with filled(tmp_path, memory, spike=40)[0] as store:
            results.append(build_cube(store, plan, 1, threads))
    assert results[0].rejected > 10
    for other in results[1:]:
        assert other.rejected == results[0].rejected
        assert np.array_equal(other.data, results[0].data, equal_nan=True)
        assert np.array_equal(other.stat, results[0].stat, equal_nan=True)


@pytest.mark.kernel
@pytest.mark.law
@pytest.mark.parametrize("method", ["drizzle", "linear", "quadratic", "renka", "lanczos", "nearest"])
def test_constant_stays_constant(tmp_path, method):
    with filled(tmp_path, dq_fraction=0.0, level=100.0)[0] as store:
        store.freeze({1: 1.0, 2: 1.0}, store.limits)
        cube = build_cube(store, SkyCubePlan(method, crsigma=0), 10**9)
    finite = np.isfinite(cube.data)
    # lanczos reaches 1.25 Angstrom only, so most voxels of 250 Angstrom stay empty
    assert finite.mean() > (0.01 if method == "lanczos" else 0.5)
    assert np.allclose(cube.data[finite], 150.0, rtol=1e-6)


@pytest.mark.kernel
@pytest.mark.unit
def test_drizzle_agrees_with_a_slow_twin(tmp_path):
    with filled(tmp_path)[0] as store:
        cube = build_cube(store, SkyCubePlan(crsigma=0, dlambda=400.0), 10**9)
        grid = cube.grid
        rows, _ = store.strip(0, grid.ny, (grid.nz, grid.ny, grid.nx), 400.0)
        low = store.limits
    k, iy, ix = 3, 11, 8
    centre = (low[0] + ix, low[2] + iy, low[4] + 400.0 * k)
    weight = np.ones(rows.lam.size)
    steps = {"xpos": (1, 1), "ypos": (1, 1), "lam": (1.25, 320)}
    for (name, (unit, size)), c in zip(steps.items(), centre, strict=True):
        d = np.abs(getattr(rows, name).astype(float) - c) / unit
        weight *= np.clip((1 + size) / 2 - d, 0, 1)
    use = (weight > 0) & (rows.dq == 0)
    w, d, v = weight[use], rows.data[use], rows.stat[use]
    assert use.sum() > 10
    assert cube.data[k, iy, ix] == pytest.approx((w * d).sum() / w.sum(), rel=1e-6)
    assert cube.stat[k, iy, ix] == pytest.approx((w * w * v).sum() / w.sum() ** 2, rel=1e-6)


@pytest.mark.unit
@pytest.mark.parametrize("crtype", ["median", "mean", "iraf"])
def test_spikes_are_rejected(tmp_path, crtype):
    sigma = {"median": 30.0, "mean": 5.0, "iraf": 60.0}[crtype]
    with filled(tmp_path, spike=20, dq_fraction=0.0)[0] as store:
        kept = build_cube(store, SkyCubePlan(crsigma=0), 10**9)
        clean = build_cube(store, SkyCubePlan(crtype=crtype, crsigma=sigma), 10**9)
    assert clean.rejected > 5
    assert np.nanmax(clean.data) < np.nanmax(kept.data)


@pytest.mark.unit
def test_absurd_field_is_refused():
    with pytest.raises(InputError, match="geometry"):
        cubes.cube_grid((0, 1e7, 0, 10, 5000, 9000), 250.0)
    with pytest.raises(InputError, match="dlambda"):
        cubes.cube_grid((0, 10, 0, 10, 5000, 9000), 0.01)


@pytest.mark.kernel
@pytest.mark.law
def test_quick_cube_is_the_mean_of_the_rows(tmp_path):
    cubes_found = []
    for threads, memory in ((1, 10**9), (3, 0)):
        with filled(tmp_path, memory)[0] as store:
            grid = cubes.cube_grid(store.limits, 250.0)
            size = grid.nz, grid.ny, grid.nx
            rows, starts = store.strip(0, grid.ny, size, 250.0)
            cubes_found.append(quick_cube(store, grid, threads))
    voxel = np.repeat(np.arange(starts.size - 1), np.diff(starts))
    good = rows.dq == 0
    sums = np.bincount(voxel[good], rows.data[good], starts.size - 1)
    counts = np.bincount(voxel[good], minlength=starts.size - 1)
    expected = np.where(counts, sums / np.maximum(counts, 1), np.nan).reshape(size)
    assert np.isfinite(expected).mean() > 0.5
    assert np.allclose(cubes_found[0], expected, rtol=1e-6, equal_nan=True)
    assert np.array_equal(cubes_found[0], cubes_found[1], equal_nan=True)

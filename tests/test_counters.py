# SPDX-License-Identifier: BSD-3-Clause
"""What a run costs, counted instead of timed: rows read and placed, memory, compiled functions, imports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from muse_core.data import exposure, memory
from muse_core.framework import run_recipe
from muse_core.resampling import schedule, voxel_layers
from muse_core.resampling.grid import pixel_grid
from muse_core.resampling.plan import CosmicRejection, CubePlan
from muse_core.resampling.weights import Resampling
from muse_core.simulate.scipost import simulate_scipost

RUN = """
import gc, json, sys
from muse_core.framework import run_recipe
run_recipe("muse_exp_combine", json.loads(sys.argv[1]), {"filter": "white"}, workdir=sys.argv[2], threads=2)
from numba.core.dispatcher import Dispatcher
used = [d for d in gc.get_objects() if isinstance(d, Dispatcher) and d.signatures]
print(json.dumps({
    "compiled": sorted(d.py_func.__name__ for d in used if d.stats.cache_misses),
    "used": sorted(d.py_func.__name__ for d in used),
    "modules": sorted(sys.modules),
}))
"""
SLACK = 1.1  # rows within the margin of a slab are read for both slabs


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """Frames of two reduced exposures, and how many rows each has."""
    folder = tmp_path_factory.mktemp("counters")
    simulation = simulate_scipost(
        folder / "in", seed=4, n_ifu=1, n_exposures=2, slices=12, lambda_range=(7160.0, 7185.0)
    )
    options = {"skymethod": "none", "save": "individual"}
    products = run_recipe("muse_scipost", simulation.frames(), options, workdir=folder)
    return [(str(p.path), p.tag) for p in products if p.tag == "PIXTABLE_REDUCED"]


class Counts:
    """Rows by what was done with them."""

    def __init__(self, monkeypatch):
        self.read = self.boxes = self.scanned = self.placed = self.new = self.lent = 0
        read, scan, place = exposure.read_jobs, exposure.scan_boxes, voxel_layers.place_rows
        borrow, new_piece = memory._Pool.borrow, memory._Pool._new_piece

        def read_jobs(*args, **kwargs):
            block = read(*args, **kwargs)
            if "most" in kwargs:
                self.read += len(block)  # an interval of wavelengths
            else:
                self.boxes += len(block)  # where the limits of the field may be
            return block

        def scan_boxes(*args):
            self.scanned += sum(
                min(exposure.BOX_ROWS, args[10] - box * exposure.BOX_ROWS) for box in args[11]
            )
            return scan(*args)

        def place_rows(voxel, *args):
            self.placed += int((voxel >= 0).sum())
            place(voxel, *args)

        def lend(pool, size):
            self.lent += size
            return borrow(pool, size)

        def make(pool, size):
            self.new += size
            return new_piece(pool, size)

        monkeypatch.setattr(exposure, "read_jobs", read_jobs)
        monkeypatch.setattr(exposure, "scan_boxes", scan_boxes)
        monkeypatch.setattr(voxel_layers, "place_rows", place_rows)
        monkeypatch.setattr(memory._Pool, "borrow", lend)
        monkeypatch.setattr(memory._Pool, "_new_piece", make)


def test_a_combination_reads_each_row_as_often_as_it_must(reduced, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "SMALLEST", 1 << 10)  # the arrays are small here
    monkeypatch.setattr(schedule, "MAX_PLANES", 2)
    memory.release_free_memory()
    counts = Counts(monkeypatch)
    run_recipe("muse_exp_combine", reduced, {"filter": "white"}, workdir=tmp_path, threads=1)
    rows = 2 * 18100
    assert counts.placed == rows  # each row is in one voxel
    assert counts.scanned == rows
    assert counts.boxes <= rows
    # the quick images take all of so few wavelengths
    assert 2 * rows <= counts.read <= 2 * SLACK * rows
    assert counts.new < 0.4 * counts.lent


def grid_of(planes):
    return pixel_grid(((0.0, 299.0), (0.0, 299.0), (5000.0, 5000.0 + 1.25 * (planes - 1))))


@pytest.mark.unit
def test_slabs_have_no_more_rows_with_more_exposures():
    plan = CubePlan(grid_of(3700), (0.0, 0.0), Resampling(), CosmicRejection("median", 10.0, 0))
    per_plane = 88_000
    heights = {
        n: schedule.planes_per_slab(plan, n * per_plane * 3700, 4 * 10**9, 2) for n in (1, 2, 4, 8, 16, 100)
    }
    assert heights == {1: 16, 2: 8, 4: 4, 8: 2, 16: 1, 100: 1}
    assert max(n * height * per_plane for n, height in heights.items() if height > 1) <= schedule.MOST_ROWS


def test_a_second_run_compiles_nothing_and_imports_little(reduced, tmp_path):
    run_recipe("muse_exp_combine", reduced, {"filter": "white"}, workdir=tmp_path, threads=2)
    command = [sys.executable, "-c", RUN, json.dumps(reduced), str(tmp_path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["compiled"] == []
    assert len(found["used"]) <= 18
    assert {"matplotlib", "photutils", "dask", "lmfit", "pandas"}.isdisjoint(found["modules"])
    own = [name for name in found["modules"] if name.startswith("muse_core.")]
    assert len(own) <= 160  # of them three with the rules of inputs, one with those of their sums

# SPDX-License-Identifier: BSD-3-Clause
"""Runs in one process cannot see each other, and leave nothing behind."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.law


class Collected(logging.Handler):
    """Keeps the messages of one run."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))


def simulated(folder, **changes):
    return simulate_scipost(
        folder, n_ifu=2, slices=6, lambda_range=(6285.0, 6330.0), **{"seed": 7, "n_exposures": 1, **changes}
    )


def run(frames, folder, **options):
    folder.mkdir()
    log = Collected()
    threads = options.pop("threads")
    settings = {"skymethod": "none", "filter": "white,nothing", **options}
    products = run_recipe("muse_scipost", frames, settings, workdir=folder, threads=threads, handlers=[log])
    return {product.path.name: product.path for product in products}, log.lines


def same_products(first, second):
    assert first.keys() == second.keys()
    for name in first:
        with fits.open(first[name]) as a, fits.open(second[name]) as b:
            assert [h.name for h in a] == [h.name for h in b]
            for x, y in zip(a, b):
                if x.data is not None:
                    assert np.asarray(x.data).tobytes() == np.asarray(y.data).tobytes()
            recorded = [{k: v for k, v in h[0].header.items() if k.startswith("ESO PRO REC")} for h in (a, b)]
            assert recorded[0] == recorded[1]


def recorded_parameters(path):
    header = fits.getheader(path)
    names = [
        key for key in header if key.startswith("ESO PRO REC") and key.endswith(" NAME") and "PARAM" in key
    ]
    return {header[key]: header[key.removesuffix("NAME") + "VALUE"] for key in names}


def test_two_runs_at_once_have_logs_products_and_warnings_of_their_own(tmp_path):
    observations = [simulated(tmp_path / "a", n_exposures=2), simulated(tmp_path / "b", seed=8)]
    options = [{"compat": True, "threads": 1, "dx": 0.3}, {"compat": False, "threads": 2, "dx": 0.4}]
    alone = [
        run(o.frames(), tmp_path / f"alone{i}", **x) for i, (o, x) in enumerate(zip(observations, options))
    ]
    together = [None, None]

    def work(i):
        together[i] = run(observations[i].frames(), tmp_path / f"together{i}", **options[i])

    workers = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for i in (0, 1):
        same_products(alone[i][0], together[i][0])
        warnings = [[t for level, t in lines if level == "WARNING"] for _, lines in (alone[i], together[i])]
        assert warnings[0] == warnings[1]
        assert [text.startswith("filter nothing not found") for text in warnings[1]].count(True) == 1
        parameters = [text for _, text in together[i][1] if text.startswith("parameters: ")]
        assert len(parameters) == 1
        assert ("compat=true" in parameters[0]) is (i == 0)
    assert recorded_parameters(together[0][0]["DATACUBE_FINAL.fits"])["compat"] == "true"
    assert "compat" not in recorded_parameters(together[1][0]["DATACUBE_FINAL.fits"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_a_caller_returns_to_its_level(tmp_path):
    small = simulated(tmp_path / "small")
    large = simulate_scipost(
        tmp_path / "large", seed=3, n_ifu=3, n_exposures=1, slices=48, lambda_range=(6285.0, 6600.0)
    )
    code = textwrap.dedent("""
        import gc, json, sys
        from pathlib import Path
        from muse_core.framework import run_recipe

        def resident(key="VmRSS"):
            text = Path("/proc/self/status").read_text()
            return int(next(line.split()[1] for line in text.splitlines() if line.startswith(key))) / 1024

        def go(frames, folder):
            Path(folder).mkdir()
            run_recipe("muse_scipost", [(Path(f), t) for f, t in frames],
                       {"skymethod": "none", "filter": "white"}, workdir=folder, threads=2)
            gc.collect()

        small, large, out = json.loads(sys.stdin.read())
        go(small, out + "/small")
        levels = []
        for n in range(8):
            go(large, f"{out}/{n}")
            levels.append(resident())
        print(json.dumps([levels, resident("VmHWM")]))
    """)
    frames = [[(str(f), t) for f, t in o.frames()] for o in (small, large)]
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps([*frames, str(tmp_path / "out")]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    levels, peak = json.loads(done.stdout.splitlines()[-1])
    # columns of rows go back at once; the heap of the rest is fragmented by some MB, but does not grow
    first, last = min(levels[:3]), min(levels[-3:])
    assert peak > first + 30.0  # the runs do take memory
    assert last < first + 20.0  # MB

# SPDX-License-Identifier: BSD-3-Clause
"""``musetools reduce`` killed at any time and started again: what was done is kept, products are the same."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from astropy.io import fits

from muse_core.simulate.night import NightSetup, simulate_night
from muse_core.simulate.raw_instrument import RawSetup

pytestmark = [pytest.mark.unit, pytest.mark.slow]

COUNTS = (("BIAS", 1), ("FLAT", 1), ("ARC", 3), ("SKYFLAT", 3), ("OBJECT", 2))
LINE = re.compile(r"\d\d:\d\d:\d\d (\d\d_\w+) +(runs|done|up to date) *([0-9.]*)")


def reduce(data, folder, kill=None):
    """Run the command, killed if wanted some seconds after a step began; returns its lines of steps."""
    words = ["-c", "import sys; from muse_core.tools import main; sys.exit(main(sys.argv[1:]))"]
    command = [sys.executable, "-P", *words, "reduce", str(data), "-o", str(folder), "--no-pages"]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        for line in job.stdout:
            if not (found := LINE.match(line)):
                continue
            said.append(found.groups())
            if kill and said[-1][:2] == (kill[0], "runs"):
                threading.Timer(kill[1], job.send_signal, [signal.SIGKILL]).start()
    assert job.returncode == 0 or (kill and job.returncode == -signal.SIGKILL)
    return said


def products(folder):
    """Bytes of the data of all products, by step and file."""
    found = {}
    for path in folder.glob("*/*.fits"):
        with fits.open(path) as hdus:
            data = [hdu.data for hdu in hdus]
        found[path.parent.name, path.name] = [b"" if one is None else one.tobytes() for one in data]
    return found


def test_killed_at_any_time(tmp_path):
    setup = NightSetup(raw=RawSetup(ifus=(1, 2), nx=512, ny=48, cosmics=2), counts=COUNTS, traps=False)
    simulate_night(tmp_path / "in", setup)
    whole = reduce(tmp_path / "in", tmp_path / "whole")
    seconds = {name: float(time) for name, state, time in whole if state == "done"}
    steps = list(seconds)
    assert len(steps) == 7
    rng = np.random.default_rng(23)
    cut = tmp_path / "cut"
    done, runs, kills = set(), 0, 0
    for victim in (steps[0], steps[2], steps[6]):
        said = reduce(tmp_path / "in", cut, (victim, float(rng.uniform(0.0, seconds[victim]))))
        now = {name for name, state, _ in said if state == "up to date"}
        assert now == done  # and nothing of it was run again
        runs += sum(state == "runs" for _, state, _ in said)
        done |= {name for name, state, _ in said if state == "done"}
        kills += len(done) < len(steps)
    said = reduce(tmp_path / "in", cut)
    runs += sum(state == "runs" for _, state, _ in said)
    assert len(steps) <= runs <= len(steps) + kills
    assert products(cut) == products(tmp_path / "whole")
    assert not [path for path in cut.rglob(".*") if path.name != ".reduce.lock"]

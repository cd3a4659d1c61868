# SPDX-License-Identifier: BSD-3-Clause
"""What a person at a terminal sees of a run: progress with total, per cent and time left, and time stamps."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit


def on_a_terminal(command, folder, **variables) -> str:
    """Run a command whose standard output and error are a terminal, and return what it writes there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40", **variables}
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    assert child.wait(60) == 0, b"".join(pieces)[-2000:]
    return b"".join(pieces).decode()


def test_progress_and_time_stamps(tmp_path):
    simulation = simulate_scipost(
        tmp_path / "in", seed=4, n_ifu=1, slices=4, columns=16, lambda_range=(7240.0, 7290.0)
    )
    sof = simulation.write_sof(tmp_path / "in.sof")
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "muse_core.hosts.muserun", f"--log-dir={tmp_path}"]
    command += [f"--output-dir={tmp_path / 'out'}", "muse_scipost", "--skymethod=none", str(sof)]
    text = on_a_terminal(command, tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"\d+/\d+ +\d+% .*left", plain)
    assert re.search(r"^\r?\d\d:\d\d:\d\d \[ *INFO *\]", plain, re.M)


def test_the_first_run_tells_that_it_compiles(tmp_path):
    simulation = simulate_scipost(
        tmp_path / "in", seed=4, n_ifu=1, slices=4, columns=16, lambda_range=(7240.0, 7290.0)
    )
    (tmp_path / "a.sof").write_text(f"{simulation.paths('PIXTABLE_OBJECT')[0]} PIXTABLE_OBJECT\n")
    command = [sys.executable, "-m", "muse_core.hosts.muserun", f"--log-dir={tmp_path}"]
    command += [f"--output-dir={tmp_path}", "muse_scipost_correct_rv", str(tmp_path / "a.sof")]
    told = [on_a_terminal(command, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "kernels")) for _ in range(2)]
    assert "compiling the kernels (first run only" in told[0]
    assert "musetools warm" in told[0]
    assert re.search(r"\d+ kernels compiled in \d+ s", told[0])
    assert "compil" not in told[1]

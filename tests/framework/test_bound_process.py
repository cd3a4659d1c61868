# SPDX-License-Identifier: BSD-3-Clause
"""Commands that end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from muse_core.framework.bound_process import bound

pytestmark = pytest.mark.unit

STARTER = """
import subprocess, sys
from muse_core.framework.bound_process import bound
job = subprocess.Popen(bound(["sleep", "60"]))
print(job.pid, flush=True)
job.wait()
"""


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="a service of the Linux kernel")
def test_a_killed_process_takes_its_command_along():
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as starter:
        child = int(starter.stdout.readline())
        assert is_running(child)
        starter.send_signal(signal.SIGKILL)
    until = time.monotonic() + 20
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(child)


def test_status_and_output_are_those_of_the_command():
    job = subprocess.run(
        bound(["sh", "-c", "echo told; exit 7"]), capture_output=True, text=True, check=False
    )
    assert (job.returncode, job.stdout) == (7, "told\n")
    job = subprocess.run(bound(["no-such-command"]), capture_output=True, text=True, check=False)
    assert job.returncode == 127
    assert job.stderr == "no-such-command cannot be started: No such file or directory\n"


@pytest.mark.skipif(sys.platform != "linux", reason="a service of the Linux kernel")
def test_nothing_starts_for_a_process_that_has_ended():
    words = bound(["echo", "late"])
    words[words.index(str(os.getpid()))] = "1"
    job = subprocess.run(words, capture_output=True, text=True, check=False)
    assert job.returncode == 130 and not job.stdout

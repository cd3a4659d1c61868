# SPDX-License-Identifier: BSD-3-Clause
"""Workers of a Dask cluster that die or fall silent: the others do the work, or one message ends the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import distributed
import pytest

from muse_core.framework import LostWorkerError, run_recipe
from muse_core.resampling import cluster
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.slow
OPTIONS = {"skymethod": "none", "save": "cube"}


@contextmanager
def running(folder, n_workers):
    """A scheduler and its workers in processes of their own; gives the scheduler file and the workers."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]]
    commands += [[*dask, "worker", "--nthreads", "1", "--no-dashboard", "--no-nanny"]] * n_workers
    processes = []
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log.txt").open("wb"))
        for command in commands:
            process = subprocess.Popen(
                [*command, "--scheduler-file", str(file)], cwd=folder, stdout=log, stderr=log
            )
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.kill)
        with distributed.Client(scheduler_file=str(file), timeout="60s") as client:
            client.wait_for_workers(n_workers, timeout=120)
        yield file, processes[1:]


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    return simulate_scipost(folder, seed=5, n_ifu=1, slices=2, columns=12, lambda_range=(6200.0, 6400.0))


@pytest.fixture
def impatient(monkeypatch):
    """Times that suit a test."""
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 12.0)
    monkeypatch.setattr(cluster, "SILENT_SECONDS", 15.0)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.5)


def reduce(observation, folder, file, monkeypatch):
    folder.mkdir()
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(file))
    return run_recipe("muse_scipost", observation.frames(), OPTIONS, workdir=folder, threads=1)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_lost_beforehand_is_left_out(observation, tmp_path, monkeypatch, impatient, number):
    with running(tmp_path, 2) as (file, workers):
        os.kill(workers[0].pid, number)
        assert reduce(observation, tmp_path / "out", file, monkeypatch)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_lost_at_work_is_replaced(observation, tmp_path, monkeypatch, impatient, number):
    with running(tmp_path, 2) as (file, workers):
        given = cluster._Tasks._give_payload

        def give_and_lose(tasks, living):
            given(tasks, living)
            holder = {w["pid"]: a for a, w in pids(tasks).items()}[workers[0].pid] == tasks._holder
            threading.Timer(0.05, os.kill, (workers[0 if holder else 1].pid, number)).start()
            monkeypatch.setattr(cluster._Tasks, "_give_payload", given)

        monkeypatch.setattr(cluster._Tasks, "_give_payload", give_and_lose)
        assert reduce(observation, tmp_path / "out", file, monkeypatch)


def pids(tasks):
    return {a: {"pid": pid} for a, pid in tasks._client.run(os.getpid).items()}


def test_all_workers_lost(observation, tmp_path, monkeypatch, impatient):
    with running(tmp_path, 1) as (file, workers):
        given = cluster._Tasks._give_payload

        def give_and_lose(tasks, living):
            given(tasks, living)
            os.kill(workers[0].pid, signal.SIGKILL)

        monkeypatch.setattr(cluster._Tasks, "_give_payload", give_and_lose)
        started = time.monotonic()
        with pytest.raises(LostWorkerError, match="workers of the Dask cluster"):
            reduce(observation, tmp_path / "out", file, monkeypatch)
        assert time.monotonic() - started < 120
    assert not list((tmp_path / "out").iterdir())

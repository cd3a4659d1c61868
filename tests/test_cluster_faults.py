# SPDX-License-Identifier: BSD-3-Clause
"""Workers that die or fall silent, a scheduler that is started again, in every pass: the work is done, or one
message ends the run."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import pytest

from muse_core.framework import LostWorkerError, RecipeError, cluster, identity, run_recipe
from muse_core.simulate.scipost import simulate_scipost
from tests.cluster_runs import be_impatient, running

pytestmark = pytest.mark.slow
OPTIONS = {"skymethod": "simple", "autocalib": "deepfield", "save": "cube,individual"}
PASSES = {
    "zone maps": "partial",
    "images": "RunOfPlanes",
    "sums": "OnSky",
    "sky": "_SkySums",
    "tables": "PieceWriter",
}


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    return simulate_scipost(folder, seed=5, n_ifu=1, slices=4, columns=20, lambda_range=(6200.0, 6400.0))


@pytest.fixture
def impatient(monkeypatch):
    be_impatient(monkeypatch)


def reduce(observation, folder, file, monkeypatch, frames=None):
    folder.mkdir()
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(file))
    return run_recipe("muse_scipost", frames or observation.frames(), OPTIONS, workdir=folder, threads=1)


def told(work):
    """Names of the classes and functions that a pass is made of."""
    names, met = set(), []
    while work is not None and work not in met:
        met.append(work)
        names |= {type(work).__name__, *getattr(work, "__qualname__", "").split(".")}
        owner = getattr(work, "__self__", None)
        work = getattr(work, "work", None) or getattr(work, "add", None) if owner is None else owner
    return names


def once_in(monkeypatch, name, act):
    """Call ``act(pass, workers)`` when the work of a pass has been given to the cluster, the first time."""
    given, met = cluster.Pass._give_work, []

    def give(self, living):
        given(self, living)
        if not met and PASSES[name] in told(self._work):
            met.append(name)
            act(self)

    monkeypatch.setattr(cluster.Pass, "_give_work", give)
    return met


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_lost_beforehand_is_left_out(observation, tmp_path, monkeypatch, impatient, number):
    with running(tmp_path, 2) as dask:
        os.kill(dask.workers[0].pid, number)
        assert reduce(observation, tmp_path / "out", dask.file, monkeypatch)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("name", PASSES)
def test_a_worker_lost_at_work_is_replaced(observation, tmp_path, monkeypatch, impatient, name, number):
    with running(tmp_path, 2) as dask:

        def lose(given):
            pids = given._client.run(os.getpid)
            first = pids[given._holder] == dask.workers[0].pid
            threading.Timer(0.02, os.kill, (dask.workers[0 if first else 1].pid, number)).start()

        met = once_in(monkeypatch, name, lose)
        assert reduce(observation, tmp_path / "out", dask.file, monkeypatch)
        assert met


@pytest.mark.parametrize("name", PASSES)
def test_a_scheduler_that_is_started_again(observation, tmp_path, monkeypatch, impatient, name):
    with running(tmp_path, 1) as dask:
        met = once_in(monkeypatch, name, lambda _: dask.restart())
        assert reduce(observation, tmp_path / "out", dask.file, monkeypatch)
        assert met


@pytest.mark.parametrize("name", PASSES)
def test_all_workers_lost(observation, tmp_path, monkeypatch, impatient, name):
    monkeypatch.setattr(cluster, "RETURN_SECONDS", 5.0)
    with running(tmp_path, 1) as dask:
        met = once_in(monkeypatch, name, lambda _: os.kill(dask.workers[0].pid, signal.SIGKILL))
        started = time.monotonic()
        with pytest.raises(LostWorkerError, match="workers of the Dask cluster"):
            reduce(observation, tmp_path / "out", dask.file, monkeypatch)
        assert met
        assert time.monotonic() - started < 120
    assert [path.name for path in (tmp_path / "out").iterdir()] in ([], [".muse-resume"])


def test_a_scheduler_lost_for_good(observation, tmp_path, monkeypatch, impatient):
    monkeypatch.setattr(cluster, "RETURN_SECONDS", 3.0)
    with running(tmp_path, 1) as dask:
        once_in(monkeypatch, "sums", lambda _: dask.scheduler.kill())
        with pytest.raises(LostWorkerError, match="is gone; start it again"):
            reduce(observation, tmp_path / "out", dask.file, monkeypatch)


def test_another_version(observation, tmp_path, monkeypatch):
    with running(tmp_path, 1) as dask:
        monkeypatch.setattr(identity, "__version__", "0.0.7")
        with pytest.raises(RecipeError, match="0.0.7 muse-recipes here, but .* on tcp"):
            reduce(observation, tmp_path / "out", dask.file, monkeypatch)


def test_workers_of_another_version_are_not_waited_for(monkeypatch, impatient):
    crew = cluster._Crew("tcp://127.0.0.1:1", logging.getLogger("test.cluster"))
    monkeypatch.setattr(crew, "_connect", lambda: None)
    monkeypatch.setattr(crew, "living", lambda: ["tcp://127.0.0.1:2"])
    here, there = {"numba": "1"}, {"w": {"numba": "2"}}
    monkeypatch.setattr(crew, "_check", lambda: cluster._check_versions(here, there))
    started = time.monotonic()
    with pytest.raises(RecipeError, match="1 numba here, but 2 numba on w"):
        crew.rejoin(None)
    assert time.monotonic() - started < 5


def test_a_worker_without_the_files(observation, tmp_path, monkeypatch):
    tables = [observation.frames(only=("PIXTABLE_OBJECT",))[0][0]]
    moved = tmp_path / "table.fits"
    moved.write_bytes(tables[0].read_bytes())
    frames = [(moved if path in tables else path, tag) for path, tag in observation.frames()]
    with running(tmp_path, 1) as dask:
        once_in(monkeypatch, "sums", lambda _: moved.unlink())
        with pytest.raises(RecipeError, match=r"a worker does not find .*table\.fits"):
            reduce(observation, tmp_path / "out", dask.file, monkeypatch, frames)

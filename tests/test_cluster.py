# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost on a Dask cluster of two worker processes: the same bits, and clear words when it fails."""

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import distributed
import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import RecipeError, run_recipe
from muse_core.resampling import slabs
from muse_core.simulate.scipost import simulate_scipost

OPTIONS = {"skymethod": "none", "crsigma": 5.0, "save": "cube,combined"}


@contextmanager
def running(folder, n_workers):
    """A scheduler and its workers in processes of their own; gives the scheduler file."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    # port 0: any that is free; no processes that watch the workers
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]]
    commands += [[*dask, "worker", "--nthreads", "1", "--no-dashboard", "--no-nanny"]] * n_workers
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log.txt").open("wb"))
        for command in commands:
            process = subprocess.Popen(
                [*command, "--scheduler-file", str(file)], cwd=folder, stdout=log, stderr=log
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        with distributed.Client(scheduler_file=str(file), timeout="30s") as client:
            client.wait_for_workers(n_workers, timeout=60) if n_workers else None
        yield file


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dask"), 2) as file:
        yield file


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    # long enough in wavelength for several tasks
    return simulate_scipost(folder, seed=5, n_ifu=2, n_exposures=2, slices=4, lambda_range=(6200.0, 6400.0))


def reduce(observation, folder):
    folder.mkdir()
    products = run_recipe("muse_scipost", observation.frames(), OPTIONS, workdir=folder, threads=2)
    return {product.path.name: product.path for product in products}


def forbidden(*_):
    raise AssertionError("the slabs were made here")


@pytest.mark.law
@pytest.mark.parametrize("by_file", [False, True])
def test_a_cluster_changes_no_bit(observation, cluster, tmp_path, monkeypatch, by_file):
    local = reduce(observation, tmp_path / "local")
    address = str(cluster) if by_file else json.loads(cluster.read_text())["address"]
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", address)
    monkeypatch.setattr(slabs, "slabs_between", forbidden)  # in this process; the workers have their own
    remote = reduce(observation, tmp_path / "remote")
    assert local.keys() == remote.keys()
    for name in local:
        with fits.open(local[name]) as a, fits.open(remote[name]) as b:
            for x, y in zip(a, b):
                if x.data is not None:
                    assert np.asarray(x.data).tobytes() == np.asarray(y.data).tobytes(), f"{name}[{x.name}]"


def test_no_scheduler(observation, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", "tcp://127.0.0.1:1")
    with pytest.raises(RecipeError, match="no Dask scheduler answers at 'tcp://127.0.0.1:1'"):
        reduce(observation, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_no_workers(observation, tmp_path, monkeypatch):
    with running(tmp_path, 0) as file:
        monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(file))
        with pytest.raises(RecipeError, match="has no workers"):
            reduce(observation, tmp_path / "out")

# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost on a Dask cluster of two worker processes: the same bits, and clear words when it fails."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from muse_core.framework import RecipeError, run_recipe
from muse_core.framework import cluster as cluster_of
from muse_core.photometry import fitting
from muse_core.postproc import stages
from muse_core.postproc.exposure import chain
from muse_core.resampling import schedule
from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, write_pair
from muse_core.simulate.raw import simulate_raw
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.slice_errors import SliceErrors
from muse_core.twilight import steps
from tests.cluster_runs import assert_same, forbidden, products_of, running
from tests.twilight.conftest import TINY, frames_of

OPTIONS = {"skymethod": "none", "crsigma": 5.0, "save": "cube,combined"}
EVERY_PASS = {
    "skymethod": "model",
    "autocalib": "deepfield",
    "darcheck": "check",
    "covariance": True,
    "save": "cube,skymodel,individual,positioned,combined,stacked,autocal,raman",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dask"), 2) as dask:
        yield dask.file


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    # long enough in wavelength for several tasks
    return simulate_scipost(folder, seed=5, n_ifu=2, n_exposures=2, slices=4, lambda_range=(6200.0, 6400.0))


@pytest.fixture(scope="module")
def with_lasers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lasers")
    return simulate_scipost(
        folder, seed=6, n_ifu=2, n_exposures=2, slices=6, columns=20, lambda_range=(6300.0, 6700.0),
        mode="WFM-AO-N", sky_mask="celestial", slice_errors=SliceErrors(slice_shift=0.05, throughput=0.02),
    )  # fmt: skip


def reduce(observation, folder, options=OPTIONS, without=()):
    return products_of("muse_scipost", observation.frames(without=without), folder, options)


def allow_nothing_here(monkeypatch):
    """No pass is made in this process; the workers are processes of their own."""
    monkeypatch.setattr(schedule, "slabs_between", forbidden)
    monkeypatch.setattr(chain.RowPass, "block", forbidden)


@pytest.mark.law
@pytest.mark.parametrize("by_file", [False, True])
def test_a_cluster_changes_no_bit(observation, cluster, tmp_path, monkeypatch, by_file):
    local = reduce(observation, tmp_path / "local")
    address = str(cluster) if by_file else json.loads(cluster.read_text())["address"]
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", address)
    allow_nothing_here(monkeypatch)
    assert_same(local, reduce(observation, tmp_path / "remote"))


@pytest.mark.law
@pytest.mark.parametrize("without", [(), ("SKY_MASK",)])
def test_every_pass_on_a_cluster(with_lasers, cluster, tmp_path, monkeypatch, without):
    monkeypatch.setattr(chain, "CHUNK_ROWS", 1 << 13)  # several tasks
    local = reduce(with_lasers, tmp_path / "local", EVERY_PASS, without)
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(cluster))
    allow_nothing_here(monkeypatch)
    assert_same(local, reduce(with_lasers, tmp_path / "remote", EVERY_PASS, without))


@pytest.mark.law
def test_passes_of_two_exposures_at_the_same_time(observation, cluster, tmp_path, monkeypatch, caplog):
    passes, made = [0, 0], cluster_of.Pass.results
    lock = threading.Lock()

    def results(self, tasks):
        with lock:
            passes[0] += 1
            passes[1] = max(passes)
        yield from made(self, tasks)
        with lock:
            passes[0] -= 1

    options = {"skymethod": "simple", "save": "cube,individual"}
    with caplog.at_level("INFO"):
        local = reduce(observation, tmp_path / "local", options)
        said = [record.getMessage() for record in caplog.records]
        monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(cluster))
        monkeypatch.setattr(cluster_of.Pass, "results", results)
        caplog.clear()
        remote = reduce(observation, tmp_path / "remote", options)
    assert passes == [0, 2]
    assert list(local) == list(remote)
    assert_same(local, remote)
    says = [record.getMessage() for record in caplog.records]
    assert [text for text in says if "xposure" in text] == [text for text in said if "xposure" in text]


def test_an_exposure_that_fails_ends_the_others(observation, cluster, tmp_path, monkeypatch):
    at_work = threading.Event()

    def correct(exposure, *_):
        if exposure.number == 1:
            assert at_work.wait(60)
            raise RecipeError("the first one cannot be corrected")
        for _ in exposure.chain.team.map(time.sleep, [0.2] * 1000):
            at_work.set()

    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(cluster))
    monkeypatch.setattr(stages, "correct", correct)
    started = time.monotonic()
    with pytest.raises(RecipeError, match="the first one cannot be corrected"):
        reduce(observation, tmp_path / "out")
    assert time.monotonic() - started < 60  # its passes alone take 100 s
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.law
def test_ifus_of_sky_flats_on_a_cluster(cluster, tmp_path, monkeypatch):
    simulate_raw(tmp_path, TINY)
    frames, options = frames_of(tmp_path), {"dlambda": 500.0}
    local = products_of("muse_twilight", frames, tmp_path / "local", options)
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(cluster))
    monkeypatch.setattr(steps.Preparation, "__call__", forbidden)
    assert_same(local, products_of("muse_twilight", frames, tmp_path / "remote", options))


@pytest.mark.law
def test_exposures_of_imphot_on_a_cluster(cluster, tmp_path, monkeypatch):
    truth = PairTruth(size=12.0, hst_noise=0.005)
    images = make_pair(make_sky(3, truth.size, nstar=3, ndisc=20), truth)
    names = [
        write_pair(tmp_path, f"e{i}", images, truth, i, f"2026-01-0{i + 1}T01:02:03.456") for i in range(3)
    ]
    frames = [(muse, "IMAGE_FOV") for _, muse in names] + [(names[0][0], "REFERENCE_IMAGE")]
    options = {"nproc": 2, "save": "model"}
    local = products_of("muse_imphot", frames, tmp_path / "local", options)
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(cluster))
    monkeypatch.setattr(fitting._Fit, "__call__", forbidden)
    assert_same(local, products_of("muse_imphot", frames, tmp_path / "remote", options))


def test_no_scheduler(observation, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", "tcp://127.0.0.1:1")
    with pytest.raises(RecipeError, match="no Dask scheduler answers at 'tcp://127.0.0.1:1'"):
        reduce(observation, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_no_workers(observation, tmp_path, monkeypatch):
    with running(tmp_path, 0) as dask:
        monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(dask.file))
        with pytest.raises(RecipeError, match="has no workers"):
            reduce(observation, tmp_path / "out")


@pytest.mark.law
def test_names_mean_the_same_on_workers_in_other_folders(observation, cluster, tmp_path, monkeypatch):
    here = tmp_path / "deep" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    frames = [(os.path.relpath(path), tag) for path, tag in observation.frames()]
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(cluster))
    products = run_recipe("muse_scipost", frames, OPTIONS, threads=2)
    assert {product.path.parent for product in products} == {Path()}
    assert (here / "PIXTABLE_COMBINED.fits").is_file()

# SPDX-License-Identifier: BSD-3-Clause
"""IFUs of recipes for raw frames on a Dask cluster of two worker processes: the same files as here."""

from __future__ import annotations

import os
import signal

import pytest
from astropy.io import fits

from muse_core.arcs import profile_steps
from muse_core.arcs import steps as arc_steps
from muse_core.basic import reduced
from muse_core.basic import steps as basic_steps
from muse_core.framework import RecipeError, cluster
from muse_core.masters import steps as master_steps
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.raw_masters import simulate_masters
from muse_core.simulate.raw_science import simulate_raw_science
from tests.arcs.runs import make_set
from tests.basic.conftest import TINY
from tests.cluster_runs import assert_same, be_impatient, forbidden, products_of, running

OPTIONS = {
    "muse_bias": {},
    "muse_dark": {},
    "muse_flat": {"nsum": 8, "order": 3, "samples": True},
    "muse_wavecal": {"residuals": True, "saveimages": True, "wavemap": True, "resample": True},
    "muse_lsf": {"save_subtracted": True, "lsf_size": 30, "lambda_size": 4},
    "muse_scibasic": {"resample": True, "cr": "dcr"},
}
MAKERS = (
    master_steps.MasterMaker, arc_steps.WavecalMaker, profile_steps.ProfileMaker, basic_steps._Ifus,
    reduced._Ifus,
)  # fmt: skip


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dask"), 2) as found:
        yield found


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Frames of each recipe, two IFUs or three."""
    folder = tmp_path_factory.mktemp("raw")
    setup = RawSetup(seed=8, nx=2048, ny=64, ifus=(1, 2), cosmics=0)
    masters = simulate_masters(folder / "masters", setup)
    arcs = make_set(folder / "arcs", nx=256, ifus=(1, 2))
    science = simulate_raw_science(
        folder / "science", TINY, exposures=2, n_stars=2, skyflats=0, illum=False, calibrations=False
    )
    calibrations = ("MASTER_BIAS", "MASTER_DARK", "BADPIX_TABLE")
    return {
        "muse_bias": masters.frames("BIAS", "BADPIX_TABLE"),
        "muse_dark": masters.frames("DARK", "MASTER_BIAS", "BADPIX_TABLE"),
        "muse_flat": masters.frames("FLAT", *calibrations),
        "muse_wavecal": arcs.frames,
        "muse_lsf": arcs.also("WAVECAL_TABLE"),
        "muse_scibasic": science.raw,
    }


@pytest.fixture
def impatient(monkeypatch):
    be_impatient(monkeypatch)


def forbid_here(monkeypatch):
    """No IFU is made in this process; the workers are processes of their own."""
    for maker in MAKERS:
        monkeypatch.setattr(maker, "__call__", forbidden)


def remote(recipe, frames, folder, options, dask, monkeypatch):
    """Products of a run on the cluster, by name."""
    monkeypatch.setenv("MUSE_RECIPES_CLUSTER", str(dask.file))
    forbid_here(monkeypatch)
    return products_of(recipe, frames, folder, options)


def assert_same_run(recipe, frames, folder, options, dask, monkeypatch):
    local = products_of(recipe, frames, folder / "local", options)
    made = remote(recipe, frames, folder / "remote", options, dask, monkeypatch)
    assert list(local) == list(made)
    assert_same(local, made)
    assert sorted(path.name for path in (folder / "remote").iterdir()) == sorted(made)


@pytest.mark.law
@pytest.mark.parametrize("recipe", OPTIONS)
def test_a_cluster_changes_no_bit(frames, dask, tmp_path, monkeypatch, recipe):
    assert_same_run(recipe, frames[recipe], tmp_path, OPTIONS[recipe], dask, monkeypatch)


@pytest.mark.law
@pytest.mark.parametrize("recipe", ["muse_flat", "muse_scibasic"])
def test_files_of_all_ifus(frames, dask, tmp_path, monkeypatch, recipe):
    options = {**OPTIONS[recipe], "merge": True}
    assert_same_run(recipe, frames[recipe], tmp_path, options, dask, monkeypatch)


@pytest.mark.law
def test_images_that_were_reduced_before(frames, dask, tmp_path, monkeypatch):
    tables = [(path, tag) for path, tag in frames["muse_scibasic"] if tag.endswith("_TABLE")]
    made = products_of("muse_scibasic", frames["muse_scibasic"], tmp_path / "before", {})
    images = [(path, "REDUCED") for name, path in made.items() if name.startswith("OBJECT_RED")]
    assert_same_run("muse_scibasic", [*images, *tables], tmp_path, {}, dask, monkeypatch)


def test_an_ifu_that_fails(frames, dask, tmp_path, monkeypatch, caplog):
    (bias,) = [path for path, tag in frames["muse_scibasic"] if tag == "MASTER_BIAS"]
    with fits.open(bias) as hdus:
        left = [hdu for hdu in hdus if not hdu.name.startswith("CHAN02")]
        fits.HDUList(left).writeto(tmp_path / "bias.fits")
    changed = [
        (tmp_path / "bias.fits" if path == bias else path, tag) for path, tag in frames["muse_scibasic"]
    ]
    with caplog.at_level("WARNING"):
        made = remote("muse_scibasic", changed, tmp_path / "out", {}, dask, monkeypatch)
    assert "IFU 2: no product: no MASTER_BIAS with CHAN02" in caplog.text
    assert "1 of 3 IFUs failed, see above: 2" in caplog.text
    assert {name[-7:-5] for name in made} == {"01", "03"}


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_worker_lost_at_work_is_replaced(frames, tmp_path, monkeypatch, impatient, number):
    given = cluster.Pass._give_work
    with running(tmp_path, 2) as own:

        def give(self, living):
            given(self, living)
            os.kill(own.workers[0].pid, number)

        monkeypatch.setattr(cluster.Pass, "_give_work", give)
        made = remote("muse_scibasic", frames["muse_scibasic"], tmp_path / "out", {}, own, monkeypatch)
    assert len(made) == 12
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(made)


def test_workers_that_do_not_see_the_folder_of_the_run(frames, dask, tmp_path, monkeypatch):
    given = cluster.Pass._give_work

    def give(self, living):
        folder = self._work.work._essence["workdir"]
        self._work.work._essence["workdir"] = folder.with_name("elsewhere")
        given(self, living)

    monkeypatch.setattr(cluster.Pass, "_give_work", give)
    with pytest.raises(
        RecipeError, match="a worker does not find .*elsewhere: inputs and output folder need"
    ):
        remote("muse_bias", frames["muse_bias"], tmp_path / "out", {}, dask, monkeypatch)
    assert not list((tmp_path / "out").iterdir())


def test_workers_without_the_files(frames, dask, tmp_path, monkeypatch):
    raws = [path for path, tag in frames["muse_bias"] if tag == "BIAS"]
    moved = tmp_path / "bias.fits"
    moved.write_bytes(raws[1].read_bytes())
    changed = [(moved if path == raws[1] else path, tag) for path, tag in frames["muse_bias"]]
    given = cluster.Pass._give_work

    def give(self, living):
        moved.unlink(missing_ok=True)
        given(self, living)

    monkeypatch.setattr(cluster.Pass, "_give_work", give)
    with pytest.raises(RecipeError, match=r"a worker does not find .*bias\.fits"):
        remote("muse_bias", changed, tmp_path / "out", {}, dask, monkeypatch)

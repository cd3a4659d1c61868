# SPDX-License-Identifier: BSD-3-Clause
"""Runs that are killed at any moment go on when they are started again, and their products are the same."""

from __future__ import annotations

import os
import random
import signal

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import resume, run_recipe
from muse_core.framework.delivery import locked_folder
from muse_core.framework.resume import FOLDER
from muse_core.resampling import kept_planes, slabs
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.law
DATES = ("DATE", "CHECKSUM", "DATASUM")
MOMENTS = ("save", "append", "keep_file", "once")


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    monkeypatch.setattr(resume, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(resume, "TIMES_SAVING", 0.0)


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    return simulate_scipost(folder, seed=3, n_ifu=2, n_exposures=2, slices=3, lambda_range=(6250.0, 6350.0))


def products(recipe, frames, options, folder):
    """Data and keywords of all products of a run."""
    found = {}
    for product in run_recipe(recipe, frames, options, workdir=folder, threads=2):
        with fits.open(product.path) as hdus:
            found[product.path.name] = [
                (
                    [repr(card) for card in hdu.header.cards if card.keyword not in DATES],
                    None if hdu.data is None else np.asarray(hdu.data).tobytes(),
                )
                for hdu in hdus
            ]
    return found


def killed(recipe, frames, options, folder, moment, *, of=MOMENTS, by=signal.SIGKILL):
    """Run in a process of its own that is killed at a moment, counted in steps of keeping.

    Returns
    -------
    bool
        it was killed; False: it had come to its end before
    """
    child = os.fork()
    if child == 0:
        count = 0

        def counted(function):
            def call(*args, **kwargs):
                nonlocal count
                count += 1
                if count == moment:
                    os.kill(os.getpid(), by)
                return function(*args, **kwargs)

            return call

        try:
            for name in of:
                owner = resume.Journal if name == "append" else resume.KeptResults
                setattr(owner, name, counted(getattr(owner, name)))
            run_recipe(recipe, frames, options, workdir=folder, threads=2)
            (folder / "steps").write_text(str(count))
        except BaseException:  # noqa: BLE001  the child must not go on with the tests
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -by)
    return os.waitstatus_to_exitcode(status) != 0


def number_of_steps(recipe, frames, options, folder):
    folder.mkdir()
    assert not killed(recipe, frames, options, folder, 0)
    return int((folder / "steps").read_text())


def left_in(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def check_kills(recipe, frames, options, tmp_path, number):
    """Kill runs at some moments, the first and the last ones among them."""
    (tmp_path / "whole").mkdir()
    wanted = products(recipe, frames, options, tmp_path / "whole")
    assert left_in(tmp_path / "whole") == []
    steps = number_of_steps(recipe, frames, options, tmp_path / "steps")
    others = random.Random(1).sample(range(2, steps), number - 2)
    for moment in (1, *sorted(others), steps):
        folder = tmp_path / f"killed-{moment}"
        folder.mkdir()
        assert killed(recipe, frames, options, folder, moment)
        assert products(recipe, frames, options, folder) == wanted, f"killed at step {moment}"
        assert left_in(folder) == []


OPTIONS = {"skymethod": "simple", "crsigma": 5.0, "save": "cube,skymodel,individual,combined"}


def test_muse_scipost_goes_on(observation, tmp_path):
    check_kills("muse_scipost", observation.frames(), OPTIONS, tmp_path, 5)


def test_it_may_be_killed_again_and_again(observation, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    wanted = products("muse_scipost", observation.frames(), OPTIONS, tmp_path / "whole")
    for moment in (6, 9, 12):
        assert killed("muse_scipost", observation.frames(), OPTIONS, tmp_path / "killed", moment)
    assert products("muse_scipost", observation.frames(), OPTIONS, tmp_path / "killed") == wanted
    assert left_in(tmp_path / "killed") == []


def test_finished_planes_are_not_made_again(observation, tmp_path, monkeypatch):
    frames = observation.frames()
    (tmp_path / "whole").mkdir()
    wanted = products("muse_scipost", frames, OPTIONS, tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    assert killed("muse_scipost", frames, OPTIONS, folder, 5, of=("append",))
    (journal,) = (folder / FOLDER).rglob("*.journal")
    done = sum(record.count for record in resume.Journal(journal, -1).records()[1:])
    assert done > 10
    begun = []
    made = slabs.slabs_between

    def noted(contributions, plan, first, *args):
        begun.append(first)
        return made(contributions, plan, first, *args)

    monkeypatch.setattr("muse_core.resampling.schedule.slabs_between", noted)
    assert products("muse_scipost", frames, OPTIONS, folder) == wanted
    assert begun == [done]


def test_a_white_light_image_goes_on(observation, tmp_path, monkeypatch):
    frames = observation.frames()
    (tmp_path / "whole").mkdir()
    wanted = products("muse_scipost", frames, OPTIONS, tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    assert killed("muse_scipost", frames, OPTIONS, folder, 7, of=("save",))
    begun = []
    made = slabs.slabs_between

    def noted(contributions, plan, first, *args):
        begun.append(first)
        return made(contributions, plan, first, *args)

    monkeypatch.setattr("muse_core.resampling.schedule.slabs_between", noted)
    assert products("muse_scipost", frames, OPTIONS, folder) == wanted
    assert begun[0] > 0  # of the first exposure; the image of the second and the cube are new
    assert begun[1:] == [0, 0]


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU])
def test_folders_of_killed_runs_are_gone_and_those_of_live_runs_stay(observation, tmp_path, by):
    frames, options = observation.frames(), {"skymethod": "none"}
    assert killed("muse_scipost", frames, options, tmp_path, 1, by=by)  # before anything was kept
    assert len(left_in(tmp_path)) == 1
    with locked_folder(tmp_path, ".muserun-") as alive, locked_folder(tmp_path, ".muse-run-") as other:
        products("muse_scipost", frames, options, tmp_path)
        assert sorted(left_in(tmp_path)) == sorted((alive.name, other.name))


def test_planes_that_did_not_reach_the_disk_are_made_again(observation, tmp_path):
    frames = observation.frames()
    (tmp_path / "whole").mkdir()
    wanted = products("muse_scipost", frames, OPTIONS, tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    assert killed("muse_scipost", frames, OPTIONS, folder, 5, of=("append",))
    (part,) = (folder / FOLDER).rglob("*.part")
    size = part.stat().st_size
    with part.open("r+b") as stream:  # a power cut: pages in the middle are empty, the end is gone
        stream.seek(size // 12 // 4096 * 4096)
        stream.write(bytes(8192))
        stream.truncate(size // 2)
    assert products("muse_scipost", frames, OPTIONS, folder) == wanted


@pytest.mark.parametrize("change", ["parameter", "input", "version"])
def test_no_mixture_after_a_change(observation, tmp_path, monkeypatch, change):
    frames, options = observation.frames(), dict(OPTIONS)
    folder = tmp_path / "killed"
    folder.mkdir()
    assert killed("muse_scipost", frames, options, folder, 20)
    if change == "parameter":
        options["crsigma"] = 4.0
    elif change == "version":
        monkeypatch.setattr("muse_core.framework.identity.__version__", "99")
    else:
        path = next(path for path, tag in frames if tag == "PIXTABLE_OBJECT")
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        with fits.open(copy, mode="update") as hdus:
            hdus["data"].data[1000:1100] += 50.0
        frames = [(copy if own == path else own, tag) for own, tag in frames]

    def adopt(planes, _):
        assert not planes.found
        return False

    monkeypatch.setattr(kept_planes.KeptPlanes, "adopt", adopt)
    (tmp_path / "whole").mkdir()
    assert products("muse_scipost", frames, options, folder) == products(
        "muse_scipost", frames, options, tmp_path / "whole"
    )


def test_nothing_is_kept_when_that_is_switched_off(observation, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSE_RECIPES_RESUME", "0")
    assert killed("muse_scipost", observation.frames(), OPTIONS, tmp_path, 2)  # `once` is called in any case
    assert not (tmp_path / FOLDER).exists()


def test_muse_exp_combine_goes_on(observation, tmp_path):
    (tmp_path / "reduced").mkdir()
    made = run_recipe(
        "muse_scipost", observation.frames(), {"skymethod": "none", "save": "individual"},
        workdir=tmp_path / "reduced",
    )  # fmt: skip
    frames = [(product.path, product.tag) for product in made]
    options = {"save": "cube,sums", "exposure_sigma": 5.0, "weight": "invvar"}
    check_kills("muse_exp_combine", frames, options, tmp_path, 4)

# SPDX-License-Identifier: BSD-3-Clause
"""Plans of the recipes: from headers alone, near what comes, and ended early where they cannot be done."""

from types import SimpleNamespace

import pytest
from astropy.io import fits

from muse_core.framework import LimitError, RecipeError, run_recipe, work_plan
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.law


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    return simulate_scipost(
        folder, n_ifu=2, slices=6, n_exposures=2, lambda_range=(6285.0, 6330.0), seed=7, posang=30.0
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_plan_is_all_that_is_made(observation, tmp_path, caplog):
    out = tmp_path / "out"
    out.mkdir()
    assert run_recipe("muse_scipost", observation.frames(), workdir=out, plan_only=True) == []
    assert list(out.iterdir()) == []
    text = "\n".join(caplog.messages)
    for said in (
        "files are read",
        "sky subtraction:",
        "cube and images:",
        "memory:",
        "products:",
        "time: about",
    ):
        assert said in text


@pytest.mark.parametrize("astrometry", [True, False])
def test_the_planned_cube_is_near_the_one_that_is_made(observation, tmp_path, monkeypatch, astrometry):
    plans = []
    monkeypatch.setattr(work_plan, "check_plan", lambda plan, _: plans.append(plan))
    options = {"skymethod": "none", "save": "cube", "astrometry": astrometry}
    frames = [frame for frame in observation.frames() if astrometry or "_0002-" not in frame[0].name]
    made = run_recipe("muse_scipost", frames, options, workdir=tmp_path)
    shape = next(fits.getdata(p.path, "DATA").shape for p in made if p.tag == "DATACUBE_FINAL")
    told = next(note for note in plans[0].notes if note.startswith("cube"))
    nx, ny, nz = (int(word) for word in told.split("about ")[1].split(" x "))
    assert (nz, ny, nx) == pytest.approx(shape, rel=0.25)


def test_the_cube_of_reduced_tables_is_planned_from_the_size_of_their_fields(
    observation, tmp_path, monkeypatch
):
    plans = []
    options = {"skymethod": "none", "save": "individual"}
    made = run_recipe("muse_scipost", observation.frames(), options, workdir=tmp_path)
    reduced = [(str(p.path), p.tag) for p in made if p.tag == "PIXTABLE_REDUCED"]
    monkeypatch.setattr(work_plan, "check_plan", lambda plan, _: plans.append(plan))
    made = run_recipe("muse_exp_combine", reduced, {"filter": "white"}, workdir=tmp_path)
    shape = next(fits.getdata(p.path, "DATA").shape for p in made if p.tag == "DATACUBE_FINAL")
    told = next(note for note in plans[0].notes if note.startswith("cube"))
    nx, ny, nz = (int(word) for word in told.split("about ")[1].split(" x "))
    assert nz == pytest.approx(shape[0], rel=0.1)
    assert max(shape[1:]) / 2 < max(nx, ny) < 2 * max(shape[1:])  # one half of the angle is no size


def test_too_little_memory_is_told_before_the_work(observation, tmp_path, monkeypatch):
    monkeypatch.setattr(work_plan, "available_memory", lambda: 1e6)
    with pytest.raises(LimitError, match="of memory at least"):
        run_recipe("muse_scipost", observation.frames(), workdir=tmp_path)
    assert [path for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_too_small_a_disk_is_told_before_the_work(observation, tmp_path, monkeypatch):
    small = SimpleNamespace(f_bavail=2000, f_frsize=1024, f_blocks=10**6)
    monkeypatch.setattr("os.statvfs", lambda _: small)
    with pytest.raises(RecipeError, match="the products of this run take about"):
        run_recipe("muse_scipost", observation.frames(), {"save": "cube,combined"}, workdir=tmp_path)


def test_a_recipe_without_a_plan_says_so(tmp_path):
    with pytest.raises(RecipeError, match="muse_exp_align makes no plan"):
        run_recipe("muse_exp_align", [], workdir=tmp_path, plan_only=True)


def test_planned_and_actual_are_told(observation, tmp_path, monkeypatch, caplog):
    for name in ("LEAST_SECONDS", "LEAST_STEP", "WORTH_TELLING"):
        monkeypatch.setattr(work_plan, name, 0.0)
    run_recipe("muse_scipost", observation.frames(), {"skymethod": "none"}, workdir=tmp_path)
    assert any(text.startswith("planned: ") for text in caplog.messages)
    assert any(text.startswith("planned and actual: ") for text in caplog.messages)
    caplog.clear()
    run_recipe("muse_scipost", observation.frames(), {"skymethod": "none"}, workdir=tmp_path, plan_only=True)
    assert any("as earlier runs of this machine" in text for text in caplog.messages)

# SPDX-License-Identifier: BSD-3-Clause
"""The python-cpl look-alike, side by side with python-cpl on the C plugin, and its own properties."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from muse_core import Recipe
from muse_core.cpl import CplError, RecipeCrash, esorex, frames, logger, param, result

from .conftest import RECIPE, RECIPES

pytestmark = pytest.mark.unit

SCENARIO = Path(__file__).with_name("scenario.py")


def session(python: str, module: str, folder: Path, place: Path, images) -> subprocess.Popen:
    place.mkdir()
    command = [python, str(SCENARIO), module, str(folder), RECIPE, "TEST_RAW", "TEST_TABLE", "TEST_IMAGE"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command += map(str, images)
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place, env=environment
    )


def test_same_answers_as_python_cpl(work, images, plugins, python_cpl):
    sessions = (
        session(python_cpl, "cpl", plugins, work / "theirs", images),
        session(sys.executable, "muse_core.cpl", RECIPES, work / "ours", images),
    )
    answers = []
    for run in sessions:
        output, complaints = run.communicate(timeout=180)
        assert run.returncode == 0, complaints[-3000:]
        answers.append(json.loads(output))
    theirs, ours = answers
    different = {
        question: (theirs[question], ours[question])
        for question in theirs
        if theirs[question] != ours[question]
    }
    assert different == {}
    assert len(theirs) > 80
    assert len([a for a in theirs.values() if isinstance(a, list) and a[:1] == ["error"]]) < 30


@pytest.fixture
def recipe(work, monkeypatch):
    monkeypatch.setattr(Recipe, "path", [str(RECIPES)])
    return Recipe(RECIPE)


def close(made) -> None:
    for _, value in made:
        for hdus in value if not hasattr(value, "writeto") else [value]:
            hdus.close()


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_crash_has_its_own_error(recipe, images, name):
    with pytest.raises(RecipeCrash, match=name) as caught:
        recipe(str(images[0]), param={"fault": name})
    assert caught.value.log.warning[0] == f"_fail: fault: {name}"
    assert list(Path.cwd().iterdir()) == []


def test_process_that_ends_without_error(recipe, images):
    with pytest.raises(CplError, match="Unspecified") as caught:
        recipe(str(images[0]), param={"fault": "hardexit"})
    assert caught.value.code is None


def test_products_can_be_read_after_the_folder_is_gone(recipe, images):
    made = recipe([str(path) for path in images])
    assert list(Path.cwd().iterdir()) == []
    assert made.TEST_IMAGE[1][1].data.shape == (40, 30)
    assert made.TEST_TABLE[1].data["NAME"][0] == images[0].name
    close(made)


def test_interrupt_ends_the_worker(work, images):
    code = (
        "import muse_core.cpl as cpl, sys; cpl.Recipe.path = sys.argv[1]; "
        f"cpl.Recipe({RECIPE!r})(sys.argv[2], param={{'fault': 'hang'}}, output_dir='o')"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", code, str(RECIPES), str(images[0])], stderr=subprocess.DEVNULL
    )
    marker = work / "o" / ".hanging"
    deadline = time.monotonic() + 20
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker = int(marker.read_text())
    host.send_signal(signal.SIGINT)
    assert host.wait(5) != 0
    assert not Path(f"/proc/{worker}").exists()
    assert not marker.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_worker_ends_with_python_cpl(work, images, plugins, python_cpl, number):
    """python-cpl runs the plugin in a forked process, which must not outlive it either."""
    code = (
        "import cpl, sys; cpl.Recipe.path = sys.argv[1]; "
        f"cpl.Recipe({RECIPE!r})(sys.argv[2], param={{'fault': 'hang'}}, output_dir='o')"
    )
    command = [python_cpl, "-c", code, str(plugins), str(images[0])]
    host = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    marker = work / "o" / ".hanging"
    deadline = time.monotonic() + 20
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    (os.killpg if number == signal.SIGINT else os.kill)(host.pid, number)
    assert host.wait(5) != 0

    def running() -> list[int]:
        """Processes of the session that are left, zombies apart."""
        left = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            if int(fields[3]) == host.pid and fields[0] != "Z":
                left.append(int(entry.name))
        return left

    deadline = time.monotonic() + 5
    while running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running() == []
    assert not marker.exists()


def test_many_threads_at_once(recipe, images):
    Recipe.set_maxthreads(2)
    before = threading.active_count()
    runs = [recipe(str(images[0]), threaded=True, param={"nrow": n}) for n in range(1, 5)]
    for n, run in enumerate(runs, 1):
        assert run.TEST_TABLE[0].header["ESO PRO REC1 PARAM2 VALUE"] == str(n)
        close(run)
    Recipe._slots = None
    assert threading.active_count() == before


def test_environment_of_one_call(recipe, images, monkeypatch):
    monkeypatch.setenv("MUSE_RECIPES_COMPAT", "1")
    recipe.env = {"MUSE_RECIPES_COMPAT": None, "A": "1"}
    close(recipe(str(images[0]), env={"A": None}))
    assert os.environ["MUSE_RECIPES_COMPAT"] == "1"


def test_modules_and_names():
    import muse_core.cpl as cpl

    names = (
        "Recipe",
        "Result",
        "CplError",
        "RecipeCrash",
        "Parameter",
        "FrameConfig",
        "cpl_versions",
        "esorex",
        "logger",
    )
    assert all(hasattr(cpl, name) for name in names)
    assert esorex.msg.level in range(100)
    for module, name in (
        (param, "ParameterList"),
        (frames, "FrameList"),
        (result, "Result"),
        (logger, "LogList"),
    ):
        assert hasattr(module, name)


def test_missing_configuration_is_an_error_clients_catch(work):
    with pytest.raises(FileNotFoundError):
        esorex.init()
    with pytest.raises(FileNotFoundError):
        esorex.load_sof("no-such.sof")


def test_log_file(recipe, images, work):
    esorex.log.dir = str(work)
    esorex.log.filename = "run.log"
    esorex.log.level = "info"
    try:
        close(recipe(str(images[0])))
    finally:
        esorex.log.level = "off"
        esorex.log.filename = None
    assert f"cpl.{RECIPE}.run: echoed 1 images" in (work / "run.log").read_text()


def test_nested_names():
    from muse_core.framework import Param, RecipeSpec

    spec = RecipeSpec(
        "muse_x", "x", (Param("sky.width", 2), Param("sky.deep-fit", 1.5), Param("two words", "a"))
    )
    values = param.ParameterList.from_spec(spec)
    values.sky.width = "7"
    values.two_words = "b"
    assert values["sky.width"].value == 7
    assert values.sky.deep_fit.default == 1.5
    assert sorted(dir(values)) == ["sky", "two_words"]
    assert values.settings({"sky.deep-fit": 2}) == {
        "muse.muse_x.sky.width": "7",
        "muse.muse_x.two words": "b",
        "muse.muse_x.sky.deep-fit": "2",
    }

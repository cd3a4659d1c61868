# SPDX-License-Identifier: BSD-3-Clause
"""The python-cpl look-alike, side by side with python-cpl on the C plugin, and its own properties."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from astropy.io import fits

from muse_core import Recipe
from muse_core.cpl import CplError, RecipeCrash, dfs, esorex, frames, logger, param, result
from muse_core.framework import RecipeError
from muse_core.framework.registry import load
from muse_core.hosts.installation import description_text
from tests.hosts.conftest import RECIPE, RECIPES

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


@pytest.mark.slow
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


def test_a_plugin_library_stands_for_the_recipe_that_it_starts(tmp_path, monkeypatch):
    (tmp_path / "muse_bias.so").write_bytes(b"of the C pipeline")
    (tmp_path / f"{RECIPE}.so").write_bytes(b"")
    text = description_text(load(RECIPE, [RECIPES]), sys.executable, tmp_path / "worker.py")
    (tmp_path / f"{RECIPE}.meta").write_text(text)
    monkeypatch.setattr(Recipe, "path", [str(tmp_path)])
    assert [name for name, _ in Recipe.list()] == [RECIPE]
    assert Recipe.get_recipefilename(RECIPE) == str(RECIPES / f"{RECIPE}.py")


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


RUNS = ".muse-run-*"  # folders in which a run works


def hanging(work: Path) -> Path:
    """Wait until the recipe has started to hang; its file has the number of the process."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for marker in (work / "o").glob(f"{RUNS}/.hanging"):
            if marker.read_text():
                return marker
        time.sleep(0.02)
    pytest.fail("the recipe does not hang")


def test_interrupt_ends_the_worker(work, images):
    code = (
        "import muse_core.cpl as cpl, sys; cpl.Recipe.path = sys.argv[1]; "
        f"cpl.Recipe({RECIPE!r})(sys.argv[2], param={{'fault': 'hang'}}, output_dir='o')"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", code, str(RECIPES), str(images[0])], stderr=subprocess.DEVNULL
    )
    worker = int(hanging(work).read_text())
    host.send_signal(signal.SIGINT)
    assert host.wait(30) != 0
    assert not Path(f"/proc/{worker}").exists()
    assert not list((work / "o").glob(RUNS))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_worker_ends_with_python_cpl(work, images, plugins, python_cpl, number):
    """python-cpl runs the plugin in a forked process, which must not outlive it either."""
    code = (
        "import cpl, sys; cpl.Recipe.path = sys.argv[1]; "
        f"cpl.Recipe({RECIPE!r})(sys.argv[2], param={{'fault': 'hang'}}, output_dir='o')"
    )
    command = [python_cpl, "-c", code, str(plugins), str(images[0])]
    host = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    hanging(work)
    (os.killpg if number == signal.SIGINT else os.kill)(host.pid, number)
    assert host.wait(30) != 0

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

    deadline = time.monotonic() + 30
    while running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running() == []
    assert not list((work / "o").glob(RUNS))


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


def test_an_hdulist_is_written_before_a_threaded_call_returns(recipe, images):
    """The caller may change it at once: the run must see what was given."""
    with fits.open(images[0]) as opened:
        given = fits.HDUList([hdu.copy() for hdu in opened])
    wanted = given[1].data.copy()
    run = recipe(given, threaded=True)
    given[1].data[:] = -1.0
    np.testing.assert_array_equal(run.TEST_IMAGE[1].data, 2 * wanted)
    close(run)


def test_calibrations_in_memory_get_their_datamd5(recipe, images):
    mask = fits.HDUList([fits.PrimaryHDU(np.arange(12.0).reshape(3, 4))])
    recipe.calib.TEST_MASK = mask
    made = recipe(str(images[0]))
    data = np.arange(12.0).reshape(3, 4).astype(">f8").tobytes().ljust(2880, b"\0")
    expected = hashlib.md5(data).hexdigest()
    assert made.TEST_TABLE[0].header["ESO PRO REC1 CAL1 DATAMD5"] == expected
    assert "DATAMD5" not in mask[0].header
    close(made)


def test_processing_info_tells_how_a_product_was_made(recipe, images):
    recipe.param.nrow = 7
    recipe.calib.TEST_MASK = fits.HDUList([fits.PrimaryHDU(np.zeros((3, 3)))])
    made = recipe(str(images[0]))
    product = made.TEST_TABLE
    for source in (product, product[0], product[0].header):
        info = dfs.ProcessingInfo(source)
        assert (info.name, info.tag, info.raw) == (RECIPE, "TEST_RAW", images[0].name)
        assert info.param == {p.name: p.value if p.value is not None else p.default for p in recipe.param}
        assert info.md5sum == product[0].header["DATAMD5"]
        assert list(info.md5sums) == [info.calib["TEST_MASK"]]
    assert dfs.ProcessingInfo.list(product) == [info]
    again = info.create_recipe()
    assert (again.__name__, again.tag, again.param.nrow.value) == (RECIPE, "TEST_RAW", 7)
    script = io.StringIO()
    info.create_script(script)
    compile(script.getvalue(), "script", "exec")
    with pytest.raises(RecipeError, match="REC3"):
        dfs.ProcessingInfo(product, 3)
    close(made)


def test_recipe_path_is_honoured(work, monkeypatch):
    """Recipes of other names count, those that are not in the path do not."""
    source = (RECIPES / f"{RECIPE}.py").read_text().replace('name="muse_test_echo"', 'name="echo_two"')
    (work / "deep").mkdir()
    (work / "deep" / "echo_two.py").write_text(source)
    monkeypatch.setattr(Recipe, "path", [str(work)])
    assert Recipe.list() == [("echo_two", ["2.8.7"])]
    assert Recipe("echo_two").__file__ == str(work / "deep" / "echo_two.py")
    with pytest.raises(OSError, match="did you mean 'echo_two'"):
        Recipe("echo_tow")
    with pytest.raises(OSError, match="muse_scipost"):
        Recipe("muse_scipost")


def test_wrong_names_suggest_the_right_ones(recipe, images):
    for where, wrong, right in ((recipe.param, "nrwo", "nrow"), (recipe.calib, "TEST_MSK", "TEST_MASK")):
        assert not hasattr(where, wrong)
        assert getattr(where, wrong, None) is None
        for access in (getattr, lambda place, name: place[name], lambda place, name: setattr(place, name, 1)):
            for kind in (AttributeError, KeyError):
                with pytest.raises(kind, match=f"did you mean '{right}'"):
                    access(where, wrong)
    with pytest.raises(AttributeError, match=r"recipe\.param\.nrow"):
        recipe.nrow = 3
    with pytest.raises(AttributeError, match=r"recipe\.calib\.TEST_MASK"):
        print(recipe.TEST_MASK)
    with pytest.raises(TypeError, match="did you mean param="):
        recipe(str(images[0]), nrow=3)
    with pytest.raises(TypeError, match="did you mean 'threaded'"):
        recipe(str(images[0]), thraded=True)
    made = recipe(str(images[0]))
    with pytest.raises(AttributeError, match="did you mean 'TEST_TABLE'"):
        print(made.TEST_TABEL)
    close(made)


def test_calibration_files_are_checked_when_they_are_assigned(recipe, images, work):
    recipe.calib.TEST_MASK = str(images[0])
    with pytest.warns(UserWarning, match=r"calib\.TEST_MASK: none\.fits does not exist"):
        recipe.calib.TEST_MASK = "none.fits"
    with pytest.warns(UserWarning, match="is no regular file"):
        recipe.calib = {"TEST_LIST": [str(images[0]), str(work)]}


def test_values_are_checked_when_they_are_assigned():
    from muse_core.framework import Param, RecipeSpec

    values = param.ParameterList.from_spec(RecipeSpec("muse_x", "x", (Param("n", 2, low=1, high=4),)))
    assert values.n.range == (1, 4)
    with pytest.raises(ValueError, match="above the largest value 4"):
        values.n = 5


def test_texts_for_notebooks(recipe, images):
    recipe.param.title = "<b>"
    made = recipe(str(images[0]), output_dir="o")
    for item in (recipe, recipe.param, recipe.param.title, recipe.calib, made):
        text = item._repr_html_()
        ElementTree.fromstring(f"<p>{text}</p>")
        assert "<b>" not in text
    assert "TEST_TABLE.fits" in repr(made)
    assert "fault: none" in made._repr_html_()


def test_messages_below_a_warning_reach_the_log_file(work):
    log = logging.getLogger("cpl")
    before = log.level
    log.setLevel(logging.NOTSET)
    esorex.log.filename = str(work / "a.log")
    esorex.log.level = "info"
    try:
        log.info("something")
        esorex.log.filename = str(work / "b.log")
        esorex.log.level = "off"
        log.info("else")
    finally:
        esorex.log.level = "off"
        esorex.log.filename = None
        log.setLevel(before)
    assert "something" in (work / "a.log").read_text()
    assert (work / "b.log").read_text() == ""

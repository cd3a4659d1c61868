# SPDX-License-Identifier: BSD-3-Clause
"""Recipes as PyCPL classes: with a strict stub, the real PyCPL (folder in PYCPL_FOLDER), without PyCPL."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from muse_core.framework import ParameterError
from muse_core.framework.registry import available, load, recipe_folder
from muse_core.hosts import pycpl
from tests.hosts.conftest import RECIPE, RECIPES

pytestmark = pytest.mark.unit

STUB = Path(__file__).with_name("stub")
PLACES = [str(STUB)] + ([os.environ["PYCPL_FOLDER"]] if os.environ.get("PYCPL_FOLDER") else [])

# Done in a process of its own, as pyesorex does: import the file, instantiate every class it shows, run one.
SESSION = """
import importlib.util, json, os, sys
sys.path.insert(0, sys.argv[1])
sys.path.append(sys.argv[2])
import cpl, cpl.ui
folder, sof_files = sys.argv[3], sys.argv[4:]
answer = {}
for name in sorted(os.listdir(folder)):
    if name.endswith(".py"):
        spec = importlib.util.spec_from_file_location("plugin_" + name[:-3], os.path.join(folder, name))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for key, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, cpl.ui.PyRecipe):
                recipe = kind()
                about = [(p.name, p.default, p.cli_alias, type(p).__name__) for p in recipe.parameters]
                answer[recipe._name] = about
from muse_core.framework.registry import load
from muse_core.hosts import pycpl
kind = pycpl.recipe_class(load("muse_test_echo", [os.environ["TEST_RECIPES"]]), pycpl.load_pycpl())
Frame = cpl.ui.Frame
def run(settings, tweak=None):
    recipe = kind()
    if tweak:
        recipe.parameters["muse.muse_test_echo.scale"].value = tweak
    frames = cpl.ui.FrameSet([Frame(file, tag="TEST_RAW") for file in sof_files])
    made = recipe.run(frames, settings)
    groups = [frame.group.name for frame in frames]
    return groups, [(f.file, f.tag, f.group.name, f.level.name, f.type.name) for f in made]
answer["run"] = run({"nrow": "8", "muse.muse_test_echo.title": ""})
from astropy.io import fits
def values():
    header = fits.getheader("TEST_TABLE.fits")
    return [header[f"ESO PRO REC1 PARAM{i} VALUE"] for i in (1, 2, 3, 4)]
answer["values"] = [values()]
run({}, 7.0)
answer["values"].append(values())
run({"scale": 3.0}, 7.0)
answer["values"].append(values())
for name, settings in (("unknown", {"nope": 1}), ("bad", {"method": "nope"}), ("fault", {"fault": "raise"})):
    try:
        run(settings)
    except Exception as error:
        answer[name] = [type(error).__name__, str(error)]
print("ANSWER" + json.dumps(answer))
"""


@pytest.mark.parametrize("place", PLACES)
def test_contract(work, images, place):
    root = recipe_folder().parent
    environment = {**os.environ, "TEST_RECIPES": str(RECIPES)}
    command = [sys.executable, "-c", SESSION, place, str(root), str(recipe_folder()), *map(str, images)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=work, env=environment)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout.split("ANSWER")[1])
    for name in ("muse_scipost", "muse_exp_align", "muse_twilight", "muse_imphot"):
        spec = load(name).spec
        expected = [
            [spec.full_name(p), p.default, p.name, "ParameterEnum" if p.choices else "ParameterValue"]
            for p in spec.params
        ]
        assert answer[name] == expected
    groups, made = answer["run"]
    assert groups == ["RAW", "RAW"]
    assert made == [
        ["TEST_IMAGE_0001.fits", "TEST_IMAGE", "PRODUCT", "FINAL", "IMAGE"],
        ["TEST_IMAGE_0002.fits", "TEST_IMAGE", "PRODUCT", "FINAL", "IMAGE"],
        ["TEST_TABLE.fits", "TEST_TABLE", "PRODUCT", "INTERMEDIATE", "IMAGE"],
    ]
    assert answer["values"] == [["2", "8", "", "mean"], ["7", "3", "a,b", "mean"], ["3", "3", "a,b", "mean"]]
    assert answer["unknown"][0] == answer["bad"][0] == "ParameterError"
    assert "mean, median, none" in answer["bad"][1]
    assert answer["fault"] == ["ValueError", "a defect of the recipe itself"]


LISTING = """
import importlib.util, sys
for name in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("plugin", name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if name.endswith("_pyesorex.py"):
        shown = {k: v for k, v in vars(module).items() if isinstance(v, type)}
        print(sorted(shown), all(shown[k]().parameters is not None for k in shown))
assert not any(heavy in sys.modules for heavy in ("numpy", "astropy", "numba", "scipy"))
"""


def listing(python: str) -> subprocess.CompletedProcess:
    files = sorted(map(str, recipe_folder().glob("*.py")))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(pycpl.__file__).parents[2])}
    command = [python, "-c", LISTING, *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def test_listing_without_pycpl_is_silent_and_fast(work):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = listing(sys.executable)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    elapsed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime  # others do not count
    assert (run.returncode, run.stderr) == (0, "")
    names, ready = run.stdout.rsplit(" ", 1)
    assert eval(names) == [recipe.spec.name for recipe in available()]
    assert ready.strip() == "True"
    assert elapsed < 1.0  # 0.08 s on an idle machine, interpreter included


def test_listing_beside_python_cpl(work, python_cpl):
    """python-cpl is also called cpl; it must neither be taken for PyCPL nor disturb."""
    run = listing(python_cpl)
    assert (run.returncode, run.stderr) == (0, "")
    assert "muse_scipost" in run.stdout


def test_a_broken_cpl_is_no_obstacle(work, monkeypatch):
    (work / "cpl.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.syspath_prepend(str(work))
    monkeypatch.delitem(sys.modules, "cpl", raising=False)
    assert pycpl.load_pycpl() is None


def test_plain_frames_without_pycpl(work, images):
    recipe = pycpl.recipe_class(load(RECIPE, [RECIPES]))()

    class PlainFrame:
        def __init__(self, file):
            self.file, self.tag = str(file), "TEST_RAW"

    recipe.parameters[0].value = 5.0
    made = recipe.run([PlainFrame(path) for path in images], {"nrow": 4})
    assert made == [
        ("TEST_IMAGE_0001.fits", "TEST_IMAGE"),
        ("TEST_IMAGE_0002.fits", "TEST_IMAGE"),
        ("TEST_TABLE.fits", "TEST_TABLE"),
    ]
    assert fits.getheader("TEST_TABLE.fits")["ESO PRO REC1 PARAM1 VALUE"] == "5"
    with pytest.raises(ParameterError, match="nope"):
        recipe.run([], {"nope": 3})


def test_plugin_path_is_the_recipe_folder(capsys):
    from muse_core.tools import main

    assert main(["plugins", "--path"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "muse_recipes_pyesorex.py").is_file()

# SPDX-License-Identifier: BSD-3-Clause
"""The contract of esorex's Python extension, with a stand-in for esorex that speaks JSON with a process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from astropy.io import fits

from muse_core.framework import RecipeError
from muse_core.framework.registry import available, load, recipe_folder
from muse_core.hosts import esorex_python
from muse_core.hosts.installation import _frame_lines
from tests.hosts.conftest import RECIPE, RECIPES

pytestmark = pytest.mark.unit

# As esorex is documented: find the classes with a base called CplPlugin, describe and execute them.
HOST = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("plugin", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
kinds = {}
for kind in vars(module).values():
    if isinstance(kind, type) and any(base.__name__ == "CplPlugin" for base in kind.__mro__):
        kinds[kind.name] = kind
request = json.load(sys.stdin)
if request is None:
    heavy = [name for name in ("numpy", "astropy", "numba", "scipy") if name in sys.modules]
    words = "name version synopsis description author email copyright parameters recipeconfig".split()
    answer = {name: {word: getattr(kind, word) for word in words} for name, kind in kinds.items()}
    answer = {"recipes": answer, "heavy": heavy}
else:
    plugin = kinds[request["name"]]()
    status = plugin.execute(request)
    answer = {"status": status, "frames": request["frames"], "error": plugin.error_message}
json.dump(answer, sys.stdout)
"""


@pytest.fixture(scope="module")
def plugin_file(tmp_path_factory):
    return esorex_python.install_file(tmp_path_factory.mktemp("esorex"), extra=[RECIPES])


def host(plugin_file, request, cwd):
    command = [sys.executable, "-I", "-c", HOST, str(plugin_file)]
    run = subprocess.run(
        command, input=json.dumps(request), capture_output=True, text=True, timeout=120, cwd=cwd, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), run.stderr


def request(recipe, frames, changed=None, folders=(RECIPES,)):
    """Build what esorex sends: every declared parameter with its value, the frames without groups."""
    changed = changed or {}
    spec = load(recipe, folders).spec
    parameters = [
        {
            **esorex_python.parameter_entry(spec, param),
            "value": changed.get(param.name, param.default),
            "present": param.name in changed,
        }
        for param in spec.params
    ]
    entries = [{"filename": str(f), "tag": tag, "type": 1, "group": 0, "level": 0} for f, tag in frames]
    return {"name": recipe, "parameters": parameters, "frames": entries}


def test_declarations(plugin_file, work):
    answer, messages = host(plugin_file, None, work)
    assert (messages, answer["heavy"]) == ("", [])
    recipes = answer["recipes"]
    shipped = [recipe.spec.name for recipe in available()]
    assert sorted(recipes) == sorted([*shipped, RECIPE])
    for name, about in recipes.items():
        spec = load(name, [RECIPES]).spec
        version = 100 if name == "muse_imphot" else 20807  # C has no such recipe
        assert (about["name"], about["version"], about["synopsis"]) == (name, version, spec.summary)
        assert about["description"].startswith(spec.description[:40])
        assert all(about[word] for word in ("author", "email", "copyright"))
        assert [entry["cli_alias"] for entry in about["parameters"]] == [param.name for param in spec.params]
        lines = []
        for entry in about["recipeconfig"]:
            tag = entry["tag"]
            lines.append(("tag", tag, entry["min"], entry["max"]))
            lines += [("input", tag, e["tag"], e["min"], e["max"]) for e in entry["inputs"]]
            lines += [("output", tag, product) for product in entry["outputs"]]
        assert lines == _frame_lines(spec)
    by_alias = {entry["cli_alias"]: entry for entry in recipes[RECIPE]["parameters"]}
    assert by_alias["method"] == {
        "name": "muse.muse_test_echo.method",
        "class": "enum",
        "description": "How to combine.",
        "context": "muse.muse_test_echo",
        "default": "mean",
        "cli_alias": "method",
        "cli_enabled": True,
        "cfg_alias": "muse.muse_test_echo.method",
        "choices": ["mean", "median", "none"],
    }
    assert (by_alias["scale"]["class"], "choices" in by_alias["scale"]) == ("value", False)
    assert not by_alias["small"]["cli_enabled"]
    types = [type(by_alias[name]["default"]) for name in ("scale", "nrow", "title", "strict")]
    assert types == [float, int, str, bool]


def test_run(plugin_file, work, images):
    frames = [(path, "TEST_RAW") for path in images]
    answer, messages = host(plugin_file, request(RECIPE, frames, {"nrow": 8, "title": ""}), work)
    assert (answer["status"], answer["error"]) == (0, "")
    assert "echoed 2 images" in messages
    given, made = answer["frames"][:2], answer["frames"][2:]
    assert [(f["filename"], f["group"]) for f in given] == [(str(path), 1) for path in images]
    assert made == [
        {"filename": "TEST_IMAGE_0001.fits", "tag": "TEST_IMAGE", "type": 2, "group": 3, "level": 3},
        {"filename": "TEST_IMAGE_0002.fits", "tag": "TEST_IMAGE", "type": 2, "group": 3, "level": 3},
        {"filename": "TEST_TABLE.fits", "tag": "TEST_TABLE", "type": 2, "group": 3, "level": 2},
    ]
    header = fits.getheader(work / "TEST_TABLE.fits")
    assert [header[f"ESO PRO REC1 PARAM{i} VALUE"] for i in (1, 2, 3, 4)] == ["2", "8", "", "mean"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"method": "nope"}, "mean, median, none"),
        ({"nrow": 1.5, "strict": "maybe"}, "not an integer"),
        ({"fault": "recipe"}, "this run cannot go on"),
        ({"fault": "input"}, "y.fits: column lambda: expected Angstrom, found nm"),
        ({"fault": "raise"}, "unexpected ValueError: a defect of the recipe itself"),
        ({"fault": "exit"}, "exit with status 3"),
    ],
)
def test_errors(work, images, changed, text):
    plugin = esorex_python.recipe_class(RECIPE, [RECIPES])()
    data = request(RECIPE, [(path, "TEST_RAW") for path in images], changed)
    assert plugin.execute(data) == -1
    assert text in plugin.error_message
    assert len(data["frames"]) == 2
    assert list(work.glob("*.fits")) == []
    good = request(RECIPE, [(path, "TEST_RAW") for path in images])
    assert (plugin.execute(good), plugin.error_message, len(good["frames"])) == (0, "", 5)


def test_odd_requests(work, images):
    plugin = esorex_python.recipe_class(RECIPE, [RECIPES])()
    frames = [(images[0], "TEST_RAW")]
    unknown = request(RECIPE, frames)
    unknown["parameters"].append({"name": "muse.muse_test_echo.nope", "value": 1, "present": True})
    assert plugin.execute(unknown) == -1
    assert "nope" in plugin.error_message
    assert plugin.execute({"parameters": []}) == -1
    assert "frames" in plugin.error_message
    assert plugin.execute(request(RECIPE, [])) == -1
    assert "TEST_RAW" in plugin.error_message
    unmarked = request(RECIPE, frames, {"scale": 7.0})
    unmarked["parameters"] = [{"name": "muse.muse_test_echo.scale", "value": 7.0}]
    assert plugin.execute(unmarked) == 0
    assert fits.getheader("TEST_TABLE.fits")["ESO PRO REC1 PARAM1 VALUE"] == "7"


def test_command(work, capsys, monkeypatch):
    from muse_core.tools import main

    assert main(["plugins", "--esorex-python", str(work / "new")]) == 0
    path = work / "new" / "muse_recipes_esorex.py"
    assert capsys.readouterr().out.strip() == str(path)
    assert list((work / "new").iterdir()) == [path]
    with pytest.raises(RecipeError, match="read by pyesorex"):
        esorex_python.install_file(recipe_folder() / "below")
    monkeypatch.setenv("PYESOREX_PLUGIN_DIR", str(work / "other"))
    with pytest.raises(RecipeError, match="read by pyesorex"):
        esorex_python.install_file(work / "other")
    assert not (recipe_folder() / "below").exists()
    assert not (work / "other").exists()

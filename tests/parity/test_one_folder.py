# SPDX-License-Identifier: BSD-3-Clause
"""One folder with our recipes and links to the other C recipes: every host finds each recipe once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from astropy.io import fits

from muse_core.framework.registry import available
from muse_core.hosts.c_recipes import find_c_folder
from muse_core.simulate.night import write_raw
from muse_core.simulate.night_schedule import NightSetup, schedule
from muse_core.tools import main
from tests.hosts.conftest import esorex_command, plugins, python_cpl  # noqa: F401
from tests.oracle import need_c_recipe
from tests.parity.test_hosts import exp_align_input

pytestmark = pytest.mark.parity

TWICE = "Multiple copies"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, plugins) -> Path:  # noqa: F811  (plugins: skips without a compiler)
    """What ``musetools plugins --install DIR --with-c`` makes, when muse_bias is left to the C pipeline."""
    need_c_recipe("muse_ampl")
    place = tmp_path_factory.mktemp("one")
    assert main(["plugins", "--install", str(place), "--with-c", "--leave", "muse_bias"]) == 0
    return place


@pytest.fixture
def esorex(tmp_path, monkeypatch, esorex_command):  # noqa: F811
    """Run esorex with a search path given as in a shell, from the current folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def run(path, *words) -> subprocess.CompletedProcess:
        environment = {**os.environ, "ESOREX_PLUGIN_DIR": str(path), "OMP_NUM_THREADS": "1"}
        command = [esorex_command, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)

    return run


def listed(text: str) -> list[str]:
    """Names of the recipes in what ``esorex --recipes`` prints."""
    return sorted(re.findall(r"^  (muse_\w+)", text, re.MULTILINE))


def test_every_recipe_is_listed_once(folder, esorex):
    run = esorex(folder, "--recipes")
    names = listed(run.stdout)
    theirs = {path.stem for path in find_c_folder().glob("*.so")}
    ours = {recipe.spec.name for recipe in available()}
    assert names == sorted(theirs | ours)
    assert "muse_ampl" in theirs - ours
    assert "ERROR" not in run.stdout + run.stderr


def test_two_folders_in_the_search_path_are_what_esorex_complains_of(folder, esorex):
    run = esorex(f"{folder}:{find_c_folder()}", "--man-page", "muse_scipost")
    assert TWICE in run.stdout + run.stderr


def test_recipes_of_both_run(folder, esorex, tmp_path):
    raw = write_raw(tmp_path / "raw", NightSetup(), [f for f in schedule(NightSetup()) if f.tag == "BIAS"])
    (tmp_path / "bias.sof").write_text("".join(f"{path} BIAS\n" for path in raw))
    (tmp_path / "fields").mkdir()
    images, options = exp_align_input(tmp_path / "fields")
    (tmp_path / "align.sof").write_text("".join(f"{path} {tag}\n" for path, tag in images))
    for recipe, words, product, made_by in (
        ("muse_bias", ["--nifu=1", "bias.sof"], "MASTER_BIAS-01.fits", "muse/2.8.7"),
        ("muse_exp_align", [*options, "align.sof"], "OFFSET_LIST.fits", "muse-recipes/"),
    ):
        run = esorex(folder, recipe, *words)
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
        assert TWICE not in run.stdout + run.stderr
        assert fits.getheader(tmp_path / product)["ESO PRO REC1 PIPE ID"].startswith(made_by)


def test_a_recipe_is_left_to_the_c_pipeline_and_taken_back(folder, esorex, tmp_path):
    place = shutil.copytree(folder, tmp_path / "one", symlinks=True)

    def is_ours() -> bool:
        run = esorex(place, "--man-page", "muse_twilight")
        assert TWICE not in run.stdout + run.stderr
        return "muse-recipes" in run.stdout  # the end of the description of ours

    assert is_ours()
    assert main(["plugins", "--install", str(place), "--with-c", "--leave", "muse_twilight"]) == 0
    assert not is_ours()
    assert not (place / "muse_twilight.meta").exists()
    assert main(["plugins", "--install", str(place), "--with-c"]) == 0
    assert is_ours()


PATHS = """
import cpl, sys
cpl.Recipe.path = sys.argv[1]
names = [name for name, versions in cpl.Recipe.list()]
print(len(names) == len(set(names)), "muse_bias" in names, cpl.Recipe("muse_bias").version[1])
print(cpl.Recipe("muse_scipost").__file__)
"""


def test_python_cpl_takes_the_folder(folder, python_cpl, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HOME", str(tmp_path))
    command = [python_cpl, "-c", PATHS, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.split() == ["True", "True", "2.8.7", str(folder / "muse_scipost.so")]

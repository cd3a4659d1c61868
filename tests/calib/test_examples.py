# SPDX-License-Identifier: BSD-3-Clause
"""Each set of frames in sof_examples runs with the command of its first line, on data made by one command."""

from __future__ import annotations

import pytest

from muse_core.framework import registry, run_recipe
from muse_core.framework.places import shipped_folder
from muse_core.framework.sof import check_files, load_sof
from muse_core.tools import main

EXAMPLES = sorted(path for path in shipped_folder("sof_examples").glob("*.sof"))
RUNNABLE = {path.stem: path for path in EXAMPLES if "\n$MUSE_EXAMPLES" in path.read_text()}
OURS = sorted(name for name, path in RUNNABLE.items() if "muserun" in path.read_text().split("\n")[0])

# where it is not the first that the recipe declares
MAIN_PRODUCT = {
    "muse_create_sky": "SKY_LINES",
    "muse_exp_align": "OFFSET_LIST",
    "muse_imphot": "OFFSET_LIST",
    "muse_scibasic": "PIXTABLE_OBJECT",
    "muse_twilight": "TWILIGHT_CUBE",
}


def command(name):
    return first_words(RUNNABLE[name])


def first_words(path):
    """The command in the first line of a set of frames."""
    line = path.read_text().split("\n")[0]
    assert line.startswith("# run: "), path
    return line.removeprefix("# run: ").split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    assert main(["simulate-examples", str(folder)]) == 0
    return folder


@pytest.mark.unit
def test_each_of_our_recipes_has_one():
    named = {command(name)[1] for name in OURS}
    assert named == {recipe.spec.name for recipe in registry.available()}
    assert {path.stem for path in EXAMPLES} - set(RUNNABLE) == {
        "scibasic",
        "scipost_demo",
        "twilight",
    }  # of the demonstrations


@pytest.mark.unit
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_first_line_is_a_command(path):
    program, recipe, *options = first_words(path)
    settings = dict(option.removeprefix("--").split("=", 1) for option in options)
    if program == "muserun":
        assert registry.load(recipe).spec.values(settings)
    else:
        assert (program, recipe) in {("esorex", "muse_bias"), ("esorex", "muse_dark")}


@pytest.mark.unit
@pytest.mark.parametrize("name", OURS)
def test_ours(name, data, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSE_EXAMPLES", str(data))
    recipe, *options = command(name)[1:]
    settings = dict(option.removeprefix("--").split("=", 1) for option in options)
    frames = load_sof(RUNNABLE[name])
    check_files(frames)
    products = run_recipe(recipe, frames, settings, workdir=tmp_path, threads=2)
    declared = [product.tag for product in registry.load(recipe).spec.products]
    wanted = MAIN_PRODUCT.get(recipe, declared[0])
    assert wanted in declared
    assert wanted in {product.tag for product in products}

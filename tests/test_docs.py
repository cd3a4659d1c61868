# SPDX-License-Identifier: BSD-3-Clause
"""The pages name what there is: recipes, commands, variables, pages, and the arrows between the rooms."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import registry
from muse_core.tools import command_names
from tests.test_imports import ALLOWED

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DESIGN = (ROOT / "docs" / "design.md").read_text()
RECIPES = sorted(recipe.spec.name for recipe in registry.available())


@pytest.mark.parametrize("page", ["README.md", "docs/workflows.md", "CITATION.cff", "CHANGELOG.md"])
def test_a_page_names_all_recipes(page):
    text = (ROOT / page).read_text()
    single = "muse_scipost_" if re.search(r"muse_scipost_\\?\*", text) else "none"  # named together
    assert [name for name in RECIPES if name not in text and not name.startswith(single)] == []


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_has_a_page(recipe):
    pages = ROOT / "docs" / "recipes"
    steps = (pages / "muse_scipost_steps.md").read_text()
    assert (pages / f"{recipe}.md").exists() or f"| `{recipe}` |" in steps


def test_readme_lists_the_commands_of_musetools():
    rows = README.split("| command | |\n| --- | --- |\n")[1].split("\n\n")[0].splitlines()
    listed = [name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])]
    assert sorted(listed) == command_names()


def test_readme_leads_to_every_page():
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    site = {"docs/index.md", "docs/api.md"}  # they only lead on
    assert {page for page in pages - site if f"`{page}`" not in README} == set()


def test_readme_names_the_variables_that_are_read():
    source = (ROOT / "muse_core" / "framework" / "settings.py").read_text()
    read = set(re.findall(r'"((?:MUSE_RECIPES|OMP)_\w+)"', source))
    hidden = {"MUSE_RECIPES_PYTHON"}  # for development, docs/hosts.md
    assert {name for name in read - hidden if name not in README} == set()


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        text = page.read_text()
        named = re.findall(r"`((?:docs|calib_db|tests|sof_examples|muse_core|recipes)/[\w./-]+\.\w+)`", text)
        linked = re.findall(
            r"\]\((?!http|#|generated/)([^)#]+)", text
        )  # made with the site, which is checked
        broken += [(page.name, name) for name in named if not (ROOT / name).exists()]
        broken += [(page.name, name) for name in linked if not (page.parent / name).exists()]
    assert broken == []


def test_design_tells_the_arrows_between_the_rooms_of_the_physics():
    physics = {"detector", "masters", "basic", "twilight", "postproc", "alignment"}
    arrows = {f"{a} -> {b}" for a in physics for b in ALLOWED[a] & physics}
    assert arrows == {
        "postproc -> alignment", "twilight -> postproc", "twilight -> detector", "basic -> detector",
        "masters -> detector",
    }  # fmt: skip
    for text in (
        "postproc uses alignment",
        "twilight uses postproc",
        "basic, twilight and masters use detector",
    ):
        assert text in DESIGN


def test_explained_parameters_exist():
    """What the site says of a parameter is about a parameter of a recipe."""
    explained = tomllib.loads((ROOT / "docs" / "_ext" / "parameters.toml").read_text())
    known = {f"{recipe.spec.name}.{p.name}" for recipe in registry.available() for p in recipe.spec.params}
    names = known | {name.split(".")[1] for name in known}
    assert set(explained) - names == set()


def test_modules_of_the_reference_exist():
    source = (ROOT / "docs" / "_ext" / "api_modules.py").read_text()
    for module in re.findall(r'"((?:muse_core|imphot)[\w.]*)"', source):
        assert importlib.util.find_spec(module), module


def test_pictures_are_small():
    pictures = [path for path in (ROOT / "docs" / "pictures").rglob("*") if path.is_file()]
    assert all(path.stat().st_size < 200_000 for path in pictures)
    assert sum(path.stat().st_size for path in pictures) < 3_000_000


def commands(page: Path) -> str:
    """The commands of a page, one after the other."""
    return "".join(re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_the_tutorial_makes_its_cube(tmp_path):
    """The commands run one after the other; the cube has both exposures, aligned, and no sky."""
    script = "set -eu\n" + commands(ROOT / "docs" / "tutorial.md")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, env=settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    night = tmp_path / "night"
    for page in ("twilight/muse_twilight", "basic/muse_scibasic", "exposure1/muse_scipost"):
        assert (night / f"{page}_report.html").exists()
    assert (night / "cube.png").stat().st_size > 20_000
    with fits.open(night / "align" / "OFFSET_LIST.fits") as hdus:
        offsets = 3600 * np.array([hdus[1].data["RA_OFFSET"], hdus[1].data["DEC_OFFSET"]])
    assert np.abs(offsets).max() < 0.05  # the pointings of the simulation are right
    with fits.open(night / "final" / "DATACUBE_FINAL.fits") as hdus:
        data = hdus["DATA"].data
        white = np.nanmean(data[:, np.isfinite(data).any(axis=0)], axis=0)
        noise = np.sqrt(np.nanmedian(hdus["STAT"].data))
    assert abs(np.nanpercentile(white, 30)) < 0.5 * noise


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")))
def test_notebooks_run(name, monkeypatch):
    """From their first cell to the last, without an error."""
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook shows its pictures
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs" / "notebooks" / name, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 2


def test_messages_of_the_troubleshooting_page_exist():
    """Each text in backticks of a first column stands in the code."""
    sources = [*(ROOT / "muse_core").rglob("*.py"), *(ROOT / "imphot").rglob("*.py")]
    code = "\n".join(path.read_text() for path in sources)
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # texts over several lines
    code = re.sub(r"%[-+.\d]*[dgfsr%]|\{[^{}]*\}", "…", code)
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    texts = [
        text
        for row in re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
        for text in re.findall(r"`(.*?)`", row)
    ]
    assert len(texts) > 30
    pieces = {piece.strip(" ,.:()") for text in texts for piece in re.split(r"…|%[ds]", text)}
    assert [piece for piece in sorted(pieces) if len(piece) > 4 and piece not in code] == []

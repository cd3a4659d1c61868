# SPDX-License-Identifier: BSD-3-Clause
"""Programs that astronomers use on top of esorex and python-cpl, unchanged, on our recipes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from tests.hosts.conftest import esorex_command, plugins, python_cpl  # noqa: F401
from tests.oracle import missing
from tests.parity.test_hosts import exp_align_input, scipost_input, twilight_input

pytestmark = pytest.mark.parity

# PipeRecipes builds the command lines, runs them in a shell and moves what it expects to be there; what it
# takes from the rest of pymusepipe (folders, names) is given here.
PYMUSEPIPE = """
import sys, types
from pathlib import Path
from pymusepipe.recipes_pipe import PipeRecipes

class Pipe(PipeRecipes):
    verbose, _debug, dataset, filter_for_alignment = False, False, 1, "nothing"
    _save_alignment_images, _suffix_prealign = False, "_prealign"
    def __init__(self, folder, **options):
        self.paths = types.SimpleNamespace(
            pipe_products=f"{folder}/Pipe_products/", esorex_log=f"{folder}/Esorex_log/",
            log_filename=f"{folder}/musepipe.log")
        for path in (self.paths.pipe_products, self.paths.esorex_log, f"{folder}/out"):
            Path(path).mkdir(exist_ok=True)
        super().__init__(likwid=None, **options)

pipe = Pipe(sys.argv[1])
align, twilight, scipost = sys.argv[2:5]
names = ["OFFSET_LIST", "PREVIEW_FOV"]
pipe.recipe_align(align, "out", names, names, "T1", "g")
pipe.recipe_twilight(twilight, "out", ["DATACUBE_SKYFLAT", "TWILIGHT_CUBE"], "T2")
pipe.recipe_scipost(scipost, "T3", "OBJECT", "out", ["DATACUBE_FINAL", "IMAGE_FOV", "PIXTABLE_REDUCED"],
    ["", "_0001", "_0001"], ["", "_white", ""], ["", "_0001", "_0001"], [1, 1, 1],
    save="cube,individual", skymethod="'none'", astrometry="'FALSE'", lambdamin=6290.0, lambdamax=6310.0)
"""


def write_sof(path: Path, frames) -> Path:
    path.write_text("".join(f"{file} {tag}\n" for file, tag in frames))
    return path


@pytest.fixture(scope="module")
def sofs(tmp_path_factory) -> list[Path]:
    """Sets of frames for the recipes that pymusepipe calls."""
    folder = tmp_path_factory.mktemp("clients")
    made = []
    for make in (exp_align_input, twilight_input, scipost_input):
        place = folder / make.__name__
        place.mkdir()
        made.append(write_sof(folder / f"{make.__name__}.sof", make(place)[0]))
    return made


@pytest.mark.parametrize("host", ["esorex", "muserun"])
def test_pymusepipe(tmp_path, sofs, host, esorex_command, plugins):  # noqa: F811
    """Only the plugin folder (esorex) or PATH (muserun under the name of esorex) is changed."""
    if importlib.util.find_spec("pymusepipe") is None:
        missing("pymusepipe")
    environment = {**os.environ, "MPLBACKEND": "Agg", "HOME": str(tmp_path), "OMP_NUM_THREADS": "2"}
    if host == "esorex":
        environment["ESOREX_PLUGIN_DIR"] = str(plugins)
    else:
        program = tmp_path / "bin" / "esorex"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m muse_core.hosts.muserun "$@"\n')
        program.chmod(0o755)
        environment["PATH"] = f"{program.parent}:{environment['PATH']}"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PYMUSEPIPE, str(tmp_path), *map(str, sofs)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
    )
    log = tmp_path / "musepipe.log.out"
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "DATACUBE_FINAL_T3.fits",
        "DATACUBE_SKYFLAT_T2.fits",
        "IMAGE_FOV_white_T3_0001.fits",
        "OFFSET_LIST.fits",
        "PIXTABLE_REDUCED_T3_0001.fits",
        "PREVIEW_FOV.fits",
        "TWILIGHT_CUBE_T2.fits",
    ], log.read_text()
    for name in ("exp_align_g_T1", "twilight_T2", "scipost_OBJECT_T3"):
        assert (tmp_path / "Esorex_log" / f"{name}.log").read_text().count("[ INFO  ]") > 3
    with fits.open(tmp_path / "out" / "OFFSET_LIST.fits") as hdus:
        assert hdus[0].header["ESO PRO REC1 PARAM11 VALUE"] == "80"
        assert len(hdus[1].data) == 2


# The calls of musered, in its order: set-up, parameters and calibrations by item, raw dict, results.
MUSERED = """
import importlib, os, sys
module, folder, name, sof, out = sys.argv[1:6]
cpl = importlib.import_module(module)
try:
    cpl.esorex.init()
except FileNotFoundError:
    pass
cpl.Recipe.path = folder
os.makedirs(out + "/logs", exist_ok=True)
cpl.esorex.log.filename = out + "/logs/run.log"
cpl.esorex.log.level = "debug"
cpl.esorex.log.format = "%(asctime)s - %(levelname)s - %(message)s"
cpl.esorex.msg.level = "off"
recipe = cpl.Recipe(name, version=None)
recipe.output_dir, recipe.temp_dir = out, out
assert recipe.version[1] == "2.8.7" and "nifu" not in recipe.param and recipe.env == {}
recipe.env["OMP_NUM_THREADS"] = "2"
for key, value in {"save": "cube", "skymethod": "none", "lambdamin": 6290, "filter": "white"}.items():
    recipe.param[key] = value
frames = cpl.esorex.load_sof(sof)
raw = frames.pop(recipe.tag)
for tag, files in frames.items():
    if tag in recipe.calib:
        recipe.calib[tag] = files
results = recipe(raw={recipe.tag: raw if isinstance(raw, list) else [raw]})
assert results.stat.user_time + results.stat.sys_time > 0
assert isinstance(results.log.warning, list)
assert recipe.output[recipe.tag][0] == "DATACUBE_FINAL"
log = open(cpl.esorex.log.filename).read()
print(sorted(results.tags), os.path.isfile(results.DATACUBE_FINAL[0]), log != "")
"""


@pytest.mark.parametrize("module", ["cpl", "muse_core.cpl"])
def test_call_pattern_of_musered(tmp_path, sofs, module, plugins, python_cpl):  # noqa: F811
    reduced = tmp_path / "reduced.sof"
    reduced.write_text(sofs[2].read_text())
    python = python_cpl if module == "cpl" else sys.executable
    environment = {**os.environ, "HOME": str(tmp_path)}
    run = subprocess.run(
        [python, "-c", MUSERED, module, str(plugins), "muse_scipost", str(reduced), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split() == "['DATACUBE_FINAL', 'IMAGE_FOV'] True True".split()
    with fits.open(tmp_path / "out" / "DATACUBE_FINAL.fits") as hdus:
        assert hdus[0].header["ESO PRO CATG"] == "DATACUBE_FINAL"

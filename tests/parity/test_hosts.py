# SPDX-License-Identifier: BSD-3-Clause
"""Our recipes in the hosts of the C recipes: the same declarations, and the same products from every host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from muse_core.framework import registry
from muse_core.framework.registry import load
from tests.hosts.conftest import esorex_command, plugins, python_cpl  # noqa: F401
from tests.oracle import need_c_recipe

pytestmark = pytest.mark.parity

SINGLE = tuple(name for name in registry.names() if name.startswith("muse_scipost_"))
RECIPES = (
    "muse_exp_align",
    "muse_scipost",
    "muse_twilight",
    "muse_create_sky",
    "muse_standard",
    "muse_astrometry",
    "muse_bias",
    "muse_dark",
    "muse_flat",
    *SINGLE,
)
SHORT = ("muse_create_sky", "muse_standard")
"""Recipes with few parameters."""


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Keep the user's rc files out, and the compiled kernels of the session in one place."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


def create_config(command: list[str], folder: Path, recipe: str) -> list[dict]:
    target = folder / f"{Path(command[0]).name}{len(command)}.json"
    subprocess.run(
        [*command, f"--create-config={target}", recipe], capture_output=True, check=True, cwd=folder
    )
    return json.loads(target.read_text())


def own_parameters(recipe: str) -> list[str]:
    """Names of the parameters that the C recipe does not have."""
    return [param.name for param in registry.load(recipe).spec.params if param.ours]


@pytest.mark.parametrize("recipe", RECIPES)
def test_parameters_equal_the_c_recipe(tmp_path, recipe, esorex_command, plugins):  # noqa: F811
    need_c_recipe(recipe)
    theirs = create_config([esorex_command], tmp_path, recipe)
    keys = ("name", "value", "valtype", "partype", "valenum", "display_name", "recipe")
    for command in (
        [esorex_command, f"--recipe-dir={plugins}"],
        [sys.executable, "-m", "muse_core.hosts.muserun"],
    ):
        ours = create_config(command, tmp_path, recipe)
        shown = [{k: e.get(k) for k in keys} for e in ours]
        # those of ours come behind those of C
        assert shown[: len(theirs)] == [{k: e.get(k) for k in keys} for e in theirs]
        assert [e["display_name"] for e in shown[len(theirs) :]] == own_parameters(recipe)


@pytest.mark.parametrize("recipe", RECIPES)
def test_hidden_parameters_equal_the_c_recipe(tmp_path, recipe, esorex_command, plugins):  # noqa: F811
    need_c_recipe(recipe)
    shown = []
    for command in ([esorex_command], [esorex_command, f"--recipe-dir={plugins}"]):
        run = subprocess.run([*command, "--help", recipe], capture_output=True, text=True, cwd=tmp_path)
        words = [line.split()[0] for line in run.stdout.splitlines() if line.startswith("  --")]
        shown.append(words)
    assert shown[1] == [*shown[0], *(f"--{name}" for name in own_parameters(recipe))]
    assert len(shown[0]) > (0 if recipe in SINGLE else 4 if recipe in SHORT else 10)


OWN_INPUTS = ("REFERENCE_IMAGE", "REFERENCE_CATALOG")
OWN_PRODUCTS = ("SKY_REFINEMENT",)
MISNAMED = ("muse_scipost_apply_astrometry", "muse_scipost_calibrate_flux", "muse_scipost_correct_dar")
"""C says that they make PIXTABLE_OBJECT; what they make is PIXTABLE_REDUCED."""
FRAMES = """
import cpl, json, sys
cpl.Recipe.path = sys.argv[1].split(":")
answers = {}
for name in sys.argv[2:]:
    recipe = cpl.Recipe(name)
    answers[name] = {
        "tags": recipe.tags, "output": recipe.output, "version": recipe.version,
        "calib": [(c.tag, c.min, c.max) for c in recipe.calib],
    }
print(json.dumps(answers))
"""


def test_frames_equal_the_c_recipe(tmp_path, python_cpl, plugins):  # noqa: F811
    need_c_recipe("muse_scipost")
    c_folder = next(Path("/usr/lib").glob("*/cpl/plugins"))
    answers = []
    for folder in (c_folder, plugins):
        run = subprocess.run(
            [python_cpl, "-c", FRAMES, str(folder), *RECIPES],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        answers.append(json.loads(run.stdout))
    for name in MISNAMED:
        assert answers[0][name]["output"] == {"PIXTABLE_OBJECT": ["PIXTABLE_OBJECT"]}
        answers[0][name]["output"] = {"PIXTABLE_OBJECT": ["PIXTABLE_REDUCED"]}
    for ours in answers[1].values():
        # inputs of ours come besides those of C
        ours["calib"] = [entry for entry in ours["calib"] if entry[0] not in OWN_INPUTS]
        ours["output"] = {
            tag: [p for p in made if p not in OWN_PRODUCTS] for tag, made in ours["output"].items()
        }
    assert answers[0] == answers[1]


def test_c_and_python_recipes_mix_in_one_session(tmp_path, python_cpl, plugins):  # noqa: F811
    """Folder order decides which muse_scipost runs; the other C recipes stay available."""
    need_c_recipe("muse_geometry")
    c_folder = next(Path("/usr/lib").glob("*/cpl/plugins"))
    code = (
        "import cpl, sys; cpl.Recipe.path = sys.argv[1:]; "
        "print(cpl.Recipe('muse_scipost').__file__, cpl.Recipe('muse_geometry').__file__, "
        "len(cpl.Recipe.list()) > 20)"
    )
    for order in ((plugins, c_folder), (c_folder, plugins)):
        run = subprocess.run(
            [python_cpl, "-c", code, *map(str, order)],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        scipost, geometry, many = run.stdout.split()
        assert scipost.startswith(str(order[0]))
        assert geometry.startswith(str(c_folder))
        assert many == "True"


# --- bit-identical products from every host ---------------------------------------------------------------


def exp_align_input(folder: Path):
    from muse_core.simulate.fields import FieldPlan, simulate_fields, write_fields

    plan = FieldPlan(exposures=2, shape=(110, 120), stars=25, dither_arcsec=0.5, error_arcsec=0.5, seed=4)
    paths = write_fields(simulate_fields(plan), folder)
    return [(path, "IMAGE_FOV") for path in paths], ["--threshold=10.5", "--expmap=true"]


def scipost_input(folder: Path):
    from muse_core.simulate.scipost import simulate_scipost

    made = simulate_scipost(folder, n_ifu=1, slices=8, lambda_range=(6290.0, 6310.0))
    return made.frames(), ["--skymethod=simple", "--filter=white", "--save=cube,individual"]


def twilight_input(folder: Path):
    from muse_core.simulate.raw import RawSetup, simulate_raw

    simulate_raw(folder, RawSetup(nx=192, ny=40, ifus=(1, 2), cosmics=5))
    lines = (folder / "twilight.sof").read_text().splitlines()
    return [(folder / name, tag) for name, tag in (line.split() for line in lines)], ["--xorder=1"]


def imphot_input(folder: Path):
    from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, write_pair

    truth = PairTruth(size=8.0)
    hst, muse = write_pair(folder, "pair", make_pair(make_sky(2, truth.size), truth), truth)
    return [(muse, "IMAGE_FOV"), (hst, "HST_IMAGE")], ["--nproc=1"]


def single_input(folder: Path):
    frames, _ = scipost_input(folder)
    wanted = ("PIXTABLE_OBJECT", "STD_RESPONSE", "EXTINCT_TABLE")
    return [(path, tag) for path, tag in frames if tag in wanted], ["--lambdamin=6295"]


def bias_input(folder: Path):
    from muse_core.simulate.raw_instrument import RawSetup
    from muse_core.simulate.raw_masters import simulate_masters

    made = simulate_masters(folder, RawSetup(nx=64, ny=40, ifus=(1,)), biases=3, darks=(), flats=())
    return made.frames("BIAS", "BADPIX_TABLE"), ["--nifu=1", "--hisigmabadpix=2.5"]


def flat_input(folder: Path):
    from muse_core.simulate.raw_instrument import RawSetup
    from muse_core.simulate.raw_masters import simulate_masters

    made = simulate_masters(folder, RawSetup(nx=2048, ny=40, ifus=(1,)), biases=0, darks=())
    return made.frames("FLAT", "MASTER_BIAS"), ["--nifu=1", "--nsum=8", "--order=2", "--samples=TRUE"]


def dark_input(folder: Path):
    from muse_core.simulate.raw_instrument import RawSetup
    from muse_core.simulate.raw_masters import simulate_masters

    made = simulate_masters(
        folder, RawSetup(nx=64, ny=40, ifus=(1,)), biases=0, darks=(1800.0,) * 3, flats=()
    )
    return made.frames("DARK", "MASTER_BIAS"), ["--nifu=1", "--hotsigma=4"]


INPUTS = {
    "muse_dark": dark_input,
    "muse_flat": flat_input,
    "muse_bias": bias_input,
    "muse_exp_align": exp_align_input,
    "muse_scipost_calibrate_flux": single_input,
    "muse_scipost": scipost_input,
    "muse_twilight": twilight_input,
    "muse_imphot": imphot_input,
}

PYTHON_CPL = """
import cpl, sys
folder, name, sof, out = sys.argv[1:5]
cpl.Recipe.path = folder
recipe = cpl.Recipe(name)
recipe.output_dir = out
frames = cpl.esorex.load_sof(sof)
options = dict(option[2:].split("=", 1) for option in sys.argv[5:])
print(sorted(recipe(raw=frames, param=options).tags))
"""


@pytest.mark.parametrize("recipe", list(INPUTS))
def test_every_host_gives_the_same_products(recipe, tmp_path, esorex_command, plugins, python_cpl):  # noqa: F811
    (tmp_path / "in").mkdir()
    frames, options = INPUTS[recipe](tmp_path / "in")
    sof = tmp_path / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    own = PYTHON_CPL.replace("import cpl, sys", "import muse_core.cpl as cpl, sys")
    hosts = {
        "muserun": [
            sys.executable,
            "-m",
            "muse_core.hosts.muserun",
            "--output-dir=OUT",
            recipe,
            *options,
            sof,
        ],
        "esorex": [esorex_command, f"--recipe-dir={plugins}", "--output-dir=OUT", recipe, *options, sof],
        "python-cpl": [python_cpl, "-c", PYTHON_CPL, plugins, recipe, sof, "OUT", *options],
        "muse_core.cpl": [sys.executable, "-c", own, load(recipe).file.parent, recipe, sof, "OUT", *options],
    }
    folders = {}
    for host, words in hosts.items():
        folders[host] = tmp_path / host
        folders[host].mkdir()
        command = [str(word).replace("OUT", str(folders[host])) for word in words]
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        run = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, timeout=300, env=environment
        )
        assert run.returncode == 0, f"{host}: {run.stdout[-1500:]}{run.stderr[-1500:]}"
    reference = folders.pop("muserun")
    names = sorted(path.name for path in reference.glob("*.fits"))
    assert names
    for host, folder in folders.items():
        assert sorted(path.name for path in folder.glob("*.fits")) == names, host
        for name in names:
            with fits.open(reference / name) as a, fits.open(folder / name) as b:
                difference = fits.FITSDiff(a, b, ignore_keywords=["DATE", "CHECKSUM", "DATASUM", "DATAMD5"])
                assert difference.identical, f"{host}: {name}\n{difference.report()}"

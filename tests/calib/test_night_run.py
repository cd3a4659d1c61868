# SPDX-License-Identifier: BSD-3-Clause
"""A simulated night end to end: index, plan, and every step run, from raw frames to the combined cube."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.framework.sof import check_files, load_sof
from muse_core.simulate.night import NightSetup, simulate_night
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.tools import main


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("night") / "in"
    simulate_night(root, NightSetup(raw=RawSetup(ifus=(1, 2), nx=512, ny=48, cosmics=2)))
    return root


def plan_of(folder):
    return tomllib.loads((folder / "plan.toml").read_text())["step"]


def run_step(folder, step):
    """Run a step of a plan in this process, as its command says; returns the tags of the products."""
    (command,) = step["commands"]
    host, recipe, *options, sof = command.split()
    assert host == "muserun"
    work = folder / f"{step['number']:02d}_{step['recipe']}"
    work.mkdir()
    frames = load_sof((work / sof).resolve())
    check_files(frames)
    settings = dict(option.removeprefix("--").split("=", 1) for option in options)
    products = run_recipe(recipe, frames, settings, workdir=work, threads=2)
    made = {product.path.name for product in products}
    assert set(step["products"]) <= made, "the plan names products that the recipe does not make"
    return {product.tag for product in products}


@pytest.mark.unit
def test_from_the_archive_to_the_cube(night, tmp_path, capsys):
    assert main(["calib", "index", str(night)]) == 3  # one file is broken, and named
    words = ["sof", "--night", str(night), "-o", str(tmp_path / "p")]
    assert main(words) == 0
    steps = plan_of(tmp_path / "p")
    assert [step["recipe"].removeprefix("muse_") for step in steps] == [
        "twilight", "scibasic", "scibasic", "scibasic", "create_sky", "scipost", "scipost", "exp_align",
        "exp_combine",
    ]  # fmt: skip
    for step in steps:
        tags = run_step(tmp_path / "p", step)
    assert {"DATACUBE_FINAL", "IMAGE_FOV"} <= tags
    last = tmp_path / "p" / "09_muse_exp_combine"
    image = fits.getdata(last / "IMAGE_FOV_0001.fits", "DATA")
    # six stars of the field, each in both exposures: the sum of two is not smeared
    bright = np.nan_to_num(image) > 0.2 * np.nanmax(image)
    assert 4 < bright.sum() < 0.1 * image.size
    header = fits.getheader(last / "DATACUBE_FINAL.fits")
    assert header["ESO PRO CATG"] == "DATACUBE_FINAL" and header["SIMULATE"] is True
    # the products are found again, and what was done needs no other plan
    assert main(["calib", "index", str(tmp_path / "p")]) == 0
    capsys.readouterr()
    assert main(["calib", "find", "--used-by", str(last / "DATACUBE_FINAL.fits")]) == 0
    told = capsys.readouterr().out
    assert told.count("REC3 RAW PIXTABLE_REDUCED") == 2 and told.count("REC3 CAL OFFSET_LIST") == 1
    assert (
        f"REC1 CAL TWILIGHT_CUBE    TWILIGHT_CUBE.fits: {tmp_path}/p/01_muse_twilight/TWILIGHT_CUBE.fits"
        in told
    )
    assert "REC1 RAW OBJECT           MUSE.2017-06-16T00:00:00.867.fits.fz: not here" in told  # another tree
    assert main(words) == 0 and plan_of(tmp_path / "p") == steps


@pytest.mark.unit
def test_reduce_goes_on_without_an_ifu(night, tmp_path, capfd):
    """An exposure lacks an IFU: all else is made, the page says what is missing; then no work is left."""
    data = tmp_path / "in"
    shutil.copytree(night, data)
    (data / ".muse-index.sqlite").unlink(missing_ok=True)
    damaged = next(data.glob("raw/MUSE*00?24?00*"))
    with fits.open(damaged) as hdus:
        hdus["CHAN02"].data = hdus["CHAN02"].data[:20]
        hdus.writeto(tmp_path / "changed.fits")
    (tmp_path / "changed.fits").replace(damaged)
    assert main(["reduce", str(data), "--jobs", "2"]) == 4
    told = capfd.readouterr().out
    assert "03_muse_scibasic           done in part" in told
    folder = data / "sof"
    steps = json.loads((folder / "night.json").read_text())["steps"]
    assert [step["state"] for step in steps].count("done") == 8 and steps[2]["state"] == "partial"
    assert steps[6]["left_out"] == ["PIXTABLE_OBJECT_0001-02.fits"]
    page = (folder / "night.html").read_text()
    assert "7 of 9 steps made all they should" in page and "09_muse_exp_combine/DATACUBE_FINAL.fits" in page
    assert main(["reduce", str(data)]) == 4
    assert capfd.readouterr().out.count("up to date") == 9


@pytest.mark.unit
def test_a_night_without_sky_flats(tmp_path, capfd):
    """The cube is made; plan, log and page say what it lacks."""
    counts = tuple((tag, 0 if tag == "SKYFLAT" else n) for tag, n in NightSetup().counts)
    raw = RawSetup(ifus=(1, 2), nx=512, ny=48, cosmics=2)
    simulate_night(tmp_path / "in", NightSetup(raw=raw, mode="WFM-NOAO-N", counts=counts, traps=False))
    assert main(["reduce", str(tmp_path / "in"), "--no-pages"]) == 0
    told = capfd.readouterr().out
    assert "muse_twilight" not in told and "8 of 8 steps made all they should" in told
    missed = "the illumination of the field is not corrected"
    assert told.count(f"C020 no TWILIGHT_CUBE for MUSE.2017-06-16T00:00:00.867: {missed}") == 1
    assert told.count("C020") == 3  # two exposures and the sky
    folder = tmp_path / "in" / "sof"
    assert (
        f"[WARNING] muse_scibasic: no TWILIGHT_CUBE: {missed}"
        in (folder / "01_muse_scibasic" / "log.txt").read_text()
    )
    assert (folder / "08_muse_exp_combine" / "DATACUBE_FINAL.fits").is_file()


@pytest.mark.unit
def test_reduce_plans_only(night, tmp_path, capsys):
    assert main(["reduce", str(night), "-o", str(tmp_path / "p"), "--plan"]) == 0
    assert "09_muse_exp_combine" in capsys.readouterr().out
    assert not list((tmp_path / "p").glob("*/"))
    assert main(["reduce", str(night), "-o", str(tmp_path / "p"), "--again", "10"]) == 1
    assert "--again 10: no such step" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["reduce", str(night), "-o", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'} is a file; give a folder" in capsys.readouterr().err


@pytest.mark.unit
def test_the_script_of_the_plan(night, tmp_path):
    """run.sh does the same; a second time nothing is left to do."""
    assert main(["sof", "--night", str(night), "-o", str(tmp_path / "p")]) == 0
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    script = [str(tmp_path / "p" / "run.sh")]
    job = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    logs = [path.read_text()[-1500:] for path in sorted((tmp_path / "p").glob("*/log.txt"))]
    assert job.returncode == 0, job.stdout + (logs[-1] if logs else "")
    assert "05_muse_create_sky" in job.stdout
    assert (tmp_path / "p" / "09_muse_exp_combine" / "DATACUBE_FINAL.fits").is_file()
    job = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    assert job.stdout == ""

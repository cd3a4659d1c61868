# SPDX-License-Identifier: BSD-3-Clause
"""The examples of CONTRIBUTING.md are the code that is tested, and its recipe runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, registry, run_recipe

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n# (\S+)\n(.*?)```", TEXT, re.DOTALL)
RECIPE = "recipes/muse_image_level.py"  # exists on the page only


@pytest.mark.parametrize(("path", "code"), [block for block in BLOCKS if block[0] != RECIPE])
def test_examples_stand_in_their_files(path, code):
    assert code in (ROOT / path).read_text()


def test_the_parameter_of_ours_is_a_living_one():
    section = TEXT.split("## Add a parameter of ours")[1].split("\n## ")[0]
    (name,) = re.findall(r'Param\(\s*"(\w+)"', section)
    (variable,) = re.findall(r'Variable\.\w+\("(\w+)"', section)
    param = registry.load("muse_scipost").spec.param(name)
    assert param.ours
    assert param.variable.name == variable


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / Path(RECIPE).name).write_text(dict(BLOCKS)[RECIPE])
    return registry.load("muse_image_level", [folder])


def image(path, value):
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "MUSE"
    fits.HDUList([primary, fits.ImageHDU(np.full((3, 4), value, np.float32), name="DATA")]).writeto(path)
    return path, "IMAGE_FOV"


def test_the_recipe_runs(recipe, tmp_path):
    frames = [image(tmp_path / f"{value}.fits", value) for value in (2.0, 5.0)]
    (product,) = run_recipe(recipe, frames, {"factor": 3.0}, workdir=tmp_path)
    np.testing.assert_array_equal(fits.getdata(product.path, 1)["LEVEL"], [6.0, 15.0])


def test_the_recipe_names_all_faults(recipe, tmp_path):
    frames = [image(tmp_path / f"{value}.fits", np.nan) for value in (1, 2)]
    with pytest.raises(InputError, match=r"(?s)1\.fits.*2\.fits"):
        run_recipe(recipe, frames, {}, workdir=tmp_path)

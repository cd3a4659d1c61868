# SPDX-License-Identifier: BSD-3-Clause
"""The example of docs/quality_pages.md makes a page, during the run of a recipe and afterwards."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework.record import RunRecord
from muse_core.report import makers

pytestmark = pytest.mark.unit
PAGE = Path(__file__).resolve().parents[2] / "docs" / "quality_pages.md"


@pytest.fixture
def levels(tmp_path, monkeypatch):
    """A LEVEL_TABLE, and the module of the example under its name."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    module = types.ModuleType("muse_core.report.level")
    module.__dict__["np"] = np
    exec(compile(blocks[0], "level.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    line = eval(blocks[1], {"Maker": makers.Maker})
    monkeypatch.setattr(makers, "MAKERS", (*makers.MAKERS, line))
    path = tmp_path / "LEVEL_TABLE.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("LEVEL", "D", array=[1.0, 2.0, -3.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return {"LEVEL_TABLE": [path]}


def test_the_example_makes_a_page(levels):
    page = makers.maker(levels)(levels)
    assert page.looks == ["Image 3: the level is negative."]
    html = page.html(RunRecord("muse_image_level"))
    assert "Levels of 3 image(s), median 1.0." in html
    assert "data:image/svg+xml" in html


def test_other_products_get_the_page_of_cubes():
    with pytest.raises(KeyError):
        makers.maker(("TWILIGHT_CUBE", "DATACUBE_SKYFLAT"))({})
    assert "nothing to show" in makers.maker(("SKY_LINES",))({}).verdict


def test_every_maker_can_be_imported():
    for one in makers.MAKERS:
        module = __import__(f"muse_core.report.{one.module}", fromlist=["page_of_files"])
        assert callable(module.page_of_files)

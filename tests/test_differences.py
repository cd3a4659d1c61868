# SPDX-License-Identifier: BSD-3-Clause
"""The list of defects, the page about them, and the parity tests that show them hold together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from muse_core.framework import registry
from muse_core.framework.defects import Defects
from muse_core.tools.differences import topics, updated

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "differences.md"


COLLECT = """
import pytest
class Marks:
    def pytest_collection_modifyitems(self, items):
        for item in items:
            for mark in item.iter_markers("defect"):
                print("DEFECTS", *mark.args)
raise SystemExit(pytest.main(["--collect-only", "-q", "tests/parity"], plugins=[Marks()]))
"""


@pytest.fixture(scope="module")
def marked():
    """Names that parity tests give to the marker ``defect``."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("DEFECTS"))
    return {name for names in lines for name in names}


def test_the_page_holds_the_tables_of_the_list():
    text = PAGE.read_text()
    assert updated(text) == text, "run: musetools differences --update docs/differences.md"
    assert [topic for topic in topics() if f"<!-- table: {topic} -->" not in text] == []


def test_each_defect_has_a_parity_test(marked):
    assert marked == set(Defects.names())


def test_each_defect_is_declared_by_a_recipe():
    declared = {name for recipe in registry.available() for name in recipe.spec.defects}
    assert declared == set(Defects.names())


def test_one_defect_alone():
    assert Defects.only("integer_keywords") != Defects.all()
    assert bool(Defects.only("integer_keywords"))
    assert not Defects()

# SPDX-License-Identifier: BSD-3-Clause
"""The list of defects, the page about them, and the parity tests that show them hold together."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from muse_core.framework import registry
from muse_core.framework.defects import Defects
from muse_core.tools.differences import topics, updated

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "differences.md"


def marked_defects():
    """Names that parity tests give to the marker ``defect``."""
    found = set()
    for path in (ROOT / "tests" / "parity").glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "defect"
            ):
                found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found


def test_the_page_holds_the_tables_of_the_list():
    text = PAGE.read_text()
    assert updated(text) == text, "run: musetools differences --update docs/differences.md"
    assert [topic for topic in topics() if f"<!-- table: {topic} -->" not in text] == []


def test_markers_name_defects_that_exist():
    assert marked_defects() <= set(Defects.names())


def test_each_defect_is_declared_by_a_recipe():
    declared = {name for recipe in registry.available() for name in recipe.spec.defects}
    assert declared == set(Defects.names())


def test_one_defect_alone():
    assert Defects.only("integer_keywords") != Defects.all()
    assert bool(Defects.only("integer_keywords"))
    assert not Defects()

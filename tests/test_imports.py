# SPDX-License-Identifier: BSD-3-Clause
"""The house has a direction: imports run along the arrows of docs/design.md; listing recipes stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ADAPTER = ROOT / "recipes" / "muse_recipes_pyesorex.py"  # for pyesorex, not a recipe

# what each part may import besides itself
ALLOWED = {
    "framework": set(),
    "data": {"framework"},
    "resampling": {"data", "framework"},
    "detector": {"data", "framework"},
    "alignment": {"data", "framework"},
    "postproc": {"resampling", "data", "framework"},
    "twilight": {"detector", "resampling", "postproc", "data", "framework"},
    "report": {"data", "framework", "resampling", "alignment", "twilight", "postproc"},
    "hosts": {"framework"},
    "cpl": {"hosts", "framework"},
    "simulate": {"data", "framework", "detector", "resampling", "alignment"},
    "tools": {
        "framework",
        "simulate",
        "report",
        "hosts",
        "data",
        "resampling",
        "postproc",
        "alignment",
        "twilight",
        "cpl",
    },
}


def imported_modules(path: Path) -> set[str]:
    """Absolute names of all modules a file imports, in functions too."""
    package = path.relative_to(ROOT).with_suffix("").parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.unit
@pytest.mark.parametrize(
    "path", sorted((ROOT / "muse_core").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_follow_the_arrows(path):
    part = path.relative_to(ROOT / "muse_core").parts[0]
    if part.endswith(".py"):
        return
    wrong = set()
    for name in imported_modules(path):
        words = name.split(".")
        if words[0] == "muse_core" and len(words) > 1:
            target = words[1]
            is_part = (ROOT / "muse_core" / target).is_dir()
            if is_part and target != part and target not in ALLOWED[part]:
                wrong.add(name)
        if words[0] == "cpl" and part != "hosts":
            wrong.add(name)
    assert not wrong, f"{path.name} of {part} imports against the arrows: {sorted(wrong)}"


@pytest.mark.unit
@pytest.mark.parametrize(
    "path", sorted(set((ROOT / "recipes").glob("muse_*.py")) - {ADAPTER}), ids=lambda p: p.name
)
def test_recipe_files_import_only_the_framework_at_the_top(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            first = node.module.split(".")
            assert node.module.startswith("muse_core.framework") or first[0] in sys.stdlib_module_names
        elif isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] in sys.stdlib_module_names for alias in node.names)


@pytest.mark.unit
def test_listing_recipes_loads_neither_numpy_nor_astropy():
    code = (
        "import sys; from muse_core.framework import registry; "
        "names = [r.spec.name for r in registry.available()];"
        "assert 'muse_scipost' in names; assert not {'numpy', 'astropy', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

# SPDX-License-Identifier: BSD-3-Clause
"""The house has a direction: imports run along the arrows of docs/design.md; listing recipes stays cheap.

Every import counts, those inside functions too; only what stands under ``if TYPE_CHECKING:`` is left out,
since it is never run.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ADAPTER = ROOT / "recipes" / "muse_recipes_pyesorex.py"  # for pyesorex, not a recipe

# what each part may import besides itself; `version` stands below all of them
ALLOWED = {
    "version": set(),
    "framework": set(),
    "manuals": {"framework"},
    "data": {"framework"},
    "resampling": {"data", "framework"},
    "detector": {"data", "framework"},
    "alignment": {"data", "framework"},
    "postproc": {"alignment", "resampling", "data", "framework"},
    "masters": {"detector", "data", "framework"},
    "stars": {"postproc", "resampling", "data", "framework"},
    "astrometry": {"stars", "postproc", "resampling", "data", "framework"},
    "standard": {"stars", "postproc", "resampling", "data", "framework"},
    "basic": {"detector", "resampling", "data", "framework"},
    "twilight": {"detector", "resampling", "postproc", "data", "framework"},
    "arcs": {"detector", "resampling", "postproc", "data", "framework"},
    "photometry": {"imphot", "data", "framework"},
    "report": {
        "data",
        "framework",
        "resampling",
        "alignment",
        "basic",
        "masters",
        "twilight",
        "postproc",
        "photometry",
        "arcs",
    },
    "hosts": {"framework"},
    "cpl": {"hosts", "framework"},
    "calib": {"framework"},
    "simulate": {"data", "framework", "detector", "resampling", "alignment", "imphot"},
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
        "calib",
    },
    "muse_core": {"cpl", "resampling"},  # the package itself: `from muse_core import Recipe, noise_factor`
    "imphot": {"framework"},
    "recipes": {
        "framework",
        "basic",
        "masters",
        "manuals",
        "calib",
        "detector",
        "data",
        "resampling",
        "postproc",
        "standard",
        "astrometry",
        "alignment",
        "twilight",
        "arcs",
        "photometry",
        "report",
        "imphot",
    },
}

# the rooms of a part from the ground up: a room imports what stands before it
STOREYS = {
    "muse_core.alignment": (
        "arrays",
        "sphere",
        "parameters",
        "images",
        "sources",
        "references",
        "offsets",
        "disagreement",
        "results",
        "log",
        "preview",
        "quality",
        "fits_bytes",
        "products",
    ),
    "muse_core.postproc": (
        "declarations",
        "settings",
        "exposure",
        "inputs",
        "flatfield",
        "flux",
        "refraction",
        "velocity",
        "astrometry",
        "lsf",
        "white_light",
        "sky",
        "autocalibration",
        "raman",
        "combination",
        "cube",
        "stages",
        "work_plan",
        "single",
    ),
}


def find_modules() -> dict[str, Path]:
    """Names and files of all modules of the project; a package stands for its ``__init__.py``."""
    found = {}
    for top in ("muse_core", "imphot", "recipes"):
        for path in sorted((ROOT / top).rglob("*.py")):
            words = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


MODULES = find_modules()


def import_statements(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements of a file that can be run."""
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def imported_names(path: Path) -> set[str]:
    """Absolute names of what a file imports: modules, and modules with one of their names."""
    package = path.relative_to(ROOT).with_suffix("").parts
    names = set()
    for node in import_statements(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        else:
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(path: Path) -> set[str]:
    """Modules of this project that a file imports."""
    found = set()
    for name in imported_names(path):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {""}


ARROWS = {name: imported_modules(path) - {name} for name, path in MODULES.items()}


def part_of(module: str) -> str:
    """Part of the house: a folder or file of `muse_core`, `imphot`, `recipes`."""
    words = module.split(".")
    return words[1] if words[0] == "muse_core" and len(words) > 1 else words[0]


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Groups of nodes that reach each other (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in sorted(arrows.get(node, ())):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    for node in sorted(arrows):
        if node not in number:
            visit(node)
    return found


@pytest.mark.unit
def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}) == []
    assert circles({"a": {"b"}, "b": {"c", "e"}, "c": {"a"}, "e": {"f"}, "f": {"e"}}) == [
        {"e", "f"},
        {"a", "b", "c"},
    ]


@pytest.mark.unit
def test_imports_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "b.py"
    path.write_text(
        "import x.y\nfrom . import c\nfrom ..d import e\n"
        "if TYPE_CHECKING:\n    import never\nelse:\n    import ever\n"
        "def f():\n    with g:\n        from h import i, j\n"
    )
    assert imported_names(path) == {"x.y", "a.c", "d.e", "ever", "h.i", "h.j"}


@pytest.mark.unit
def test_every_part_has_its_place():
    assert {part_of(name) for name in MODULES} <= set(ALLOWED)


@pytest.mark.unit
@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_follow_the_arrows(module):
    part = part_of(module)
    allowed = ALLOWED[part] | {part, "version"}
    if MODULES[module] == ADAPTER:
        allowed = {"hosts"}
    wrong = {name for name in ARROWS[module] if part_of(name) not in allowed}
    if part != "hosts":  # the CPL bindings belong to the hosts
        wrong |= {name for name in imported_names(MODULES[module]) if name.split(".")[0] in ("cpl", "pycpl")}
    assert not wrong, f"{module} imports against the arrows: {sorted(wrong)}"


@pytest.mark.unit
def test_no_file_imports_itself_through_others():
    assert circles(ARROWS) == []


def room_arrows(package: str) -> set[tuple[str, str]]:
    """Arrows between what stands side by side in a package (folders and files)."""

    def room(module: str) -> str:
        return ".".join(module.split(".")[: package.count(".") + 2])

    inside = {name for name in MODULES if name.startswith(f"{package}.")}
    return {(room(a), room(b)) for a in inside for b in ARROWS[a] & inside if room(a) != room(b)}


@pytest.mark.unit
@pytest.mark.parametrize("package", sorted(n for n, p in MODULES.items() if p.name == "__init__.py"))
def test_rooms_of_a_package_make_no_circle(package):
    arrows: dict[str, set[str]] = {}
    for room, other in room_arrows(package):
        arrows.setdefault(room, set()).add(other)
    assert circles(arrows) == [], f"rooms of {package} import each other"


@pytest.mark.unit
@pytest.mark.parametrize("package", sorted(STOREYS))
def test_rooms_import_downwards(package):
    order = [f"{package}.{room}" for room in STOREYS[package]]
    inside = {name for name in MODULES if name.rpartition(".")[0] == package}
    assert inside <= set(order), f"give the new rooms their storey: {sorted(inside - set(order))}"
    upwards = {(a, b) for a, b in room_arrows(package) if order.index(b) > order.index(a)}
    assert upwards == set()


@pytest.mark.unit
@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_are_absolute(module):
    relative = [n for n in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
                if isinstance(n, ast.ImportFrom) and n.level]  # fmt: skip
    assert not relative, f"{module}, line {[n.lineno for n in relative]}"


@pytest.mark.unit
@pytest.mark.parametrize(
    "path", sorted(set((ROOT / "recipes").glob("muse_*.py")) - {ADAPTER}), ids=lambda p: p.name
)
def test_recipe_files_import_only_the_framework_at_the_top(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            first = node.module.split(".")
            # declarations that recipes share, and manuals, import the framework alone, too
            shared = node.module.endswith(".declarations") or node.module.startswith("muse_core.manuals.")
            shared = shared or [alias.name for alias in node.names] == ["declarations"]
            assert (
                shared or node.module.startswith("muse_core.framework") or first[0] in sys.stdlib_module_names
            )
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

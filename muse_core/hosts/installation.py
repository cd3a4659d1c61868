# SPDX-License-Identifier: BSD-3-Clause
"""Compiling the C plugin and writing each recipe's description beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from muse_core.framework.errors import RecipeError
from muse_core.framework.registry import LoadedRecipe, available
from muse_core.framework.spec import Param, RecipeSpec
from muse_core.hosts.helptext import frame_tables, license_text, manual, raw_inputs
from muse_core.hosts.wire import join_fields, plain_text
from muse_core.version import __version__

SOURCES = ("plugin.c", "meta.c", "worker.c", "run.c")
TEXT_WIDTH = 76  # of descriptions; esorex indents them
CPL_LIBRARIES = ("cpldfs", "cplui", "cplcore")
WARNINGS = (
    "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wstrict-prototypes",
    "-Wmissing-prototypes", "-Wformat=2", "-Wundef",
)  # fmt: skip

_ADVICE = (
    "The C plugin needs a C compiler and the CPL headers. On Debian: 'apt-get install gcc libcpl-dev'; "
    "elsewhere install a compiler and CPL 7, and set CPLDIR to CPL's folder. "
    "muserun, pyesorex and muse_core.Recipe work without it."
)


def source_folder() -> Path:
    """Return the folder with the plugin's C source."""
    return Path(__file__).resolve().parent / "plugin"


def compile_plugin(target: Path, *, compiler: str | None = None, flags: Iterable[str] = ()) -> None:
    """Compile the plugin library into the file `target`.

    Raises
    ------
    RecipeError
        with advice, when the compiler or CPL are missing
    """
    words = (compiler or os.environ.get("CC") or "cc").split()
    if shutil.which(words[0]) is None:
        raise RecipeError(f"no C compiler '{words[0]}' found. {_ADVICE}")
    home = os.environ.get("CPLDIR")
    places = [f"-I{home}/include", f"-L{home}/lib", f"-Wl,-rpath,{home}/lib"] if home else []
    shared = (
        ["-bundle", "-undefined", "dynamic_lookup"]
        if sys.platform == "darwin"
        else ["-shared", "-Wl,--no-as-needed"]
    )
    command = [
        *words, "-std=c11", "-O2", *WARNINGS, "-fPIC", "-fvisibility=hidden", *shared, *places, *flags,
        *(str(source_folder() / name) for name in SOURCES), "-o", str(target),
        *(f"-l{name}" for name in CPL_LIBRARIES),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = "\n".join(result.stderr.strip().splitlines()[-8:])
        raise RecipeError(f"the C plugin could not be compiled:\n{last}\n{_ADVICE}")


def _default(param: Param) -> str:
    if isinstance(param.default, bool):
        return "true" if param.default else "false"
    return f"{param.default:.17g}" if isinstance(param.default, float) else str(param.default)


def _frame_lines(spec: RecipeSpec) -> list[tuple[object, ...]]:
    lines: list[tuple[object, ...]] = []
    calibrations = [i for i in spec.inputs if i.group != "RAW" and not i.ours]
    for number, raw in enumerate(raw_inputs(spec)):
        lines.append(("tag", raw.tag, raw.host_min, raw.host_max))
        lines += [("input", raw.tag, c.tag, c.host_min, c.host_max) for c in calibrations]
        if number == 0:
            lines += [("output", raw.tag, product.tag) for product in spec.products]
    return lines


def description_text(recipe: LoadedRecipe, python: str, worker: Path) -> str:
    """Return the description file of a recipe: one line per fact, fields between tabs."""
    spec = recipe.spec
    lines: list[tuple[object, ...]] = [
        ("format", 1),
        ("python", python),
        ("worker", worker),
        ("file", recipe.file),
        ("name", spec.name),
        ("version", spec.version),
        ("synopsis", plain_text(spec.summary)),
        ("description", plain_text(f"{manual(spec, TEXT_WIDTH)}\n\nmuse-recipes {__version__} (Python)")),
        ("tables", plain_text(frame_tables(spec))),
        ("author", plain_text(spec.author)),
        ("email", spec.email),
        ("copyright", plain_text(license_text())),
    ]
    for param in spec.params:
        choices = param.choices or param.told_range or ()
        lines.append(
            ("param", spec.full_name(param), spec.context, param.name, param.type_name, _default(param))
            + (int(param.hidden), plain_text(param.help), *choices)
        )
    return "".join(join_fields(line) + "\n" for line in [*lines, *_frame_lines(spec)])


def install_plugins(
    folder: Path,
    *,
    extra: Iterable[Path] = (),
    compiler: str | None = None,
    flags: Iterable[str] = (),
    leave: Collection[str] = (),
) -> list[Path]:
    """Compile the plugin, put a copy with its description per recipe into `folder`, return the libraries.

    Parameters
    ----------
    leave : names of recipes that are not installed; what an earlier call installed of them is removed

    Raises
    ------
    RecipeError
        when the folder cannot be made, a name is that of no recipe, or compiler or CPL are missing
    """
    recipes = available([Path(place).resolve() for place in extra])
    unknown = sorted(set(leave) - {recipe.spec.name for recipe in recipes})
    if unknown:
        names = ", ".join(recipe.spec.name for recipe in recipes)
        raise RecipeError(f"expected one of our recipes to leave out ({names}), found {', '.join(unknown)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecipeError(f"folder {folder} cannot be made: {error.strerror}") from None
    worker = Path(__file__).resolve().parent / "worker.py"
    installed = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        library = Path(scratch) / "shim.so"
        compile_plugin(library, compiler=compiler, flags=flags)
        for recipe in recipes:
            name = recipe.spec.name
            if name in leave:
                _remove(folder, name)
                continue
            text = description_text(recipe, sys.executable, worker)
            _put(folder / f"{name}.meta", text.encode("utf-8", "surrogateescape"), scratch)
            _put(folder / f"{name}.so", library.read_bytes(), scratch)
            installed.append(folder / f"{name}.so")
    return installed


def _remove(folder: Path, name: str) -> None:
    """Remove a recipe of ours; a link to another library of its name stays."""
    if not (folder / f"{name}.so").is_symlink():
        (folder / f"{name}.so").unlink(missing_ok=True)
    (folder / f"{name}.meta").unlink(missing_ok=True)


def _put(target: Path, data: bytes, scratch: str) -> None:
    """Replace a file in one step: a library that a host has loaded keeps its old content."""
    temporary = Path(scratch) / target.name
    temporary.write_bytes(data)
    temporary.chmod(0o644)
    temporary.replace(target)

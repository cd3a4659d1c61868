# SPDX-License-Identifier: BSD-3-Clause
"""Recipes for a C esorex that was built with its Python extension.

That esorex reads Python files, takes the classes that derive from a class called ``CplPlugin``, and exchanges
their declaration, the frames and the parameters as JSON. Written from the documented contract.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from muse_core.framework.errors import ParameterError, RecipeError
from muse_core.framework.registry import LoadedRecipe, available, load, recipe_folder
from muse_core.framework.spec import Param, RecipeSpec
from muse_core.hosts.helptext import full_description, license_text, raw_inputs
from muse_core.version import __version__

FILE_NAME = "muse_recipes_esorex.py"
FAILED = -1

# CPL's numbers, as they stand in the frames' dictionaries.
GROUPS = {"RAW": 1, "CALIB": 2, "PRODUCT": 3}
LEVELS = {"INTERMEDIATE": 2, "FINAL": 3}
TYPES = {"IMAGE": 1 << 1, "TABLE": 1 << 3}


def parameter_entry(spec: RecipeSpec, param: Param) -> dict[str, Any]:
    """Return the dictionary that declares one parameter."""
    entry: dict[str, Any] = {
        "name": spec.full_name(param),
        "class": "enum" if param.choices else "value",
        "description": param.help,
        "context": spec.context,
        "default": param.default,
        "cli_alias": param.name,
        "cli_enabled": not param.hidden,
        "cfg_alias": spec.full_name(param),
    }
    if param.choices:
        entry["choices"] = list(param.choices)
    return entry


def frame_entries(spec: RecipeSpec) -> list[dict[str, Any]]:
    """Return the frame tags per raw tag; the products stand with the leading one, as in the C plugin."""
    inputs = [
        {"tag": declared.tag, "min": declared.host_min, "max": declared.host_max}
        for declared in spec.inputs
        if declared.group != "RAW" and not declared.ours
    ]
    return [
        {
            "tag": raw.tag,
            "min": raw.host_min,
            "max": raw.host_max,
            "inputs": [dict(entry) for entry in inputs],
            "outputs": [product.tag for product in spec.products] if number == 0 else [],
        }
        for number, raw in enumerate(raw_inputs(spec))
    ]


def recipe_class(recipe: str | LoadedRecipe, extra: Iterable[str | Path] = ()) -> type:
    """Return a class with the declaration and ``execute`` of one recipe; esorex's file adds ``CplPlugin``.

    Parameters
    ----------
    recipe : name or loaded recipe
    extra : folders with more recipe files, searched first
    """
    loaded = load(recipe, extra) if isinstance(recipe, str) else recipe
    spec = loaded.spec

    def execute(self: Any, data: dict[str, Any]) -> int:
        """Run the recipe, append its products to ``data['frames']``; returns 0 or an error code."""
        self.error_message = ""
        try:
            data["frames"].extend(_run(loaded, data))
        except (Exception, SystemExit) as error:
            self.error_message = _message(error)
            return FAILED
        return 0

    return type(
        f"{spec.name}_base",
        (),
        {
            "__doc__": spec.summary,
            "__module__": __name__,
            "execute": execute,
            "error_message": "",
            "name": spec.name,
            "version": spec.version,
            "synopsis": spec.summary,
            "description": f"{full_description(spec)}\n\nmuse-recipes {__version__} (Python)",
            "author": spec.author,
            "email": spec.email,
            "copyright": license_text(),
            "parameters": [parameter_entry(spec, param) for param in spec.params],
            "recipeconfig": frame_entries(spec),
        },
    )


def _settings(spec: RecipeSpec, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the user set; a changed value counts even without the mark 'present'."""
    settings = {}
    for entry in entries:
        param = spec.param(entry["name"])
        value = entry.get("value")
        if value is None:  # no value, or an empty text
            if not entry.get("present") or not isinstance(param.default, str):
                continue
            value = ""
        if entry.get("present") or _differs(param, value):
            settings[param.name] = value
    return settings


def _differs(param: Param, value: Any) -> bool:
    try:
        return param.coerce(value) != param.default
    except ParameterError:
        return True  # a bad value is reported with all others, when the run checks them


def _run(recipe: LoadedRecipe, data: Mapping[str, Any]) -> list[dict[str, Any]]:
    from muse_core.framework import Frame, run_recipe
    from muse_core.framework.log import ROOT

    frames = []
    for given in data["frames"]:
        declared = recipe.spec.input_for(given.get("tag") or "")
        if declared is not None:
            given["group"] = GROUPS[declared.group]
        frames.append(Frame(Path(given["filename"]), given.get("tag") or ""))
    settings = _settings(recipe.spec, data["parameters"])
    logger = logging.getLogger(ROOT)
    handler = logging.StreamHandler(sys.stderr)  # standard output may be the line to esorex
    handler.setLevel(logging.INFO)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(name)s: %(message)s"))
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        products = run_recipe(recipe, frames, settings)
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
    return [
        {
            "filename": str(product.path),
            "tag": product.tag,
            "type": TYPES["TABLE" if product.type == "TABLE" else "IMAGE"],
            "group": GROUPS["PRODUCT"],
            "level": LEVELS["FINAL" if product.level == "FINAL" else "INTERMEDIATE"],
        }
        for product in sorted(products, key=lambda product: product.tag)
    ]


def _message(error: BaseException) -> str:
    if isinstance(error, RecipeError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"the recipe asked to exit with status {error.code}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__}: {error} ({last.filename}, line {last.lineno})"


_HEAD = '''# SPDX-License-Identifier: BSD-3-Clause
"""The MUSE recipes for a C esorex with its Python extension; written by 'musetools plugins'."""

import sys as _sys
from importlib.util import find_spec as _find_spec

if _find_spec("muse_core") is None:
    _sys.path.append({root!r})

from muse_core.hosts import esorex_python as _adapter  # noqa: E402

_FOLDERS = {folders!r}


class CplPlugin:
    """esorex takes the classes that derive from a class of this name."""
'''

_CLASS = '''

class {name}(_adapter.recipe_class({name!r}, _FOLDERS), CplPlugin):
    """{name} as esorex runs it."""
'''

_TAIL = "\n\ndel CplPlugin  # else it might be taken for a recipe itself\n"


def plugin_text(extra: Iterable[str | Path] = ()) -> str:
    """Return the file that esorex reads: one class per recipe."""
    folders = [str(Path(folder).resolve()) for folder in extra]
    root = str(Path(__file__).resolve().parents[2])
    classes = [_CLASS.format(name=recipe.spec.name) for recipe in available(folders)]
    return _HEAD.format(root=root, folders=folders) + "".join(classes) + _TAIL


def install_file(folder: Path, extra: Iterable[str | Path] = ()) -> Path:
    """Write the file for esorex into `folder` and return its path.

    Raises
    ------
    RecipeError
        when pyesorex would read the folder, too, or when it cannot be written
    """
    target = folder.resolve()
    scanned = [recipe_folder().resolve()]
    scanned += [
        Path(place).resolve() for place in os.environ.get("PYESOREX_PLUGIN_DIR", "").split(":") if place
    ]
    for place in scanned:
        if target.is_relative_to(place):
            raise RecipeError(f"{folder} is read by pyesorex ({place}); choose a folder outside of it")
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / FILE_NAME).write_text(plugin_text(extra), encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{target / FILE_NAME} cannot be written: {error.strerror}") from None
    return target / FILE_NAME

# SPDX-License-Identifier: BSD-3-Clause
"""Finding recipes: every file of the recipe folder that declares ``RECIPE`` and ``run``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from muse_core.framework.errors import RecipeError, did_you_mean
from muse_core.framework.places import shipped_folder
from muse_core.framework.spec import RecipeSpec


class UnknownRecipeError(RecipeError):
    """No recipe of that name; hosts end with exit code 13."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe's declaration, its run function and its file."""

    spec: RecipeSpec
    run: Callable[..., Any]
    file: Path


def recipe_folder() -> Path:
    """Return the folder with the recipe files, also usable as PYESOREX_PLUGIN_DIR."""
    return shipped_folder("recipes")


@cache
def _import_file(path: Path) -> ModuleType:
    name = f"_muse_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _load_file(path: Path) -> LoadedRecipe | None:
    module = _import_file(path)
    declaration = getattr(module, "RECIPE", None)
    if not isinstance(declaration, RecipeSpec):
        return None
    return LoadedRecipe(declaration, module.run, path)


def _folders(extra: Iterable[str | Path], shipped: bool) -> list[Path]:
    folders = [Path(folder) for folder in extra]
    return [*folders, recipe_folder()] if shipped else folders


def names(extra: Iterable[str | Path] = ()) -> list[str]:
    """List recipe names from the file names alone, without importing anything."""
    found: dict[str, None] = {}
    for folder in _folders(extra, shipped=True):
        for path in sorted(folder.glob("muse_*.py")):
            if path.stem != "muse_recipes_pyesorex":
                found[path.stem] = None
    return sorted(found)


def available(extra: Iterable[str | Path] = ()) -> list[LoadedRecipe]:
    """Load all recipes, sorted by name; folders in `extra` are searched first."""
    found = [load(name, extra) for name in names(extra)]
    return sorted(found, key=lambda recipe: recipe.spec.name)


def load(name: str, extra: Iterable[str | Path] = (), *, shipped: bool = True) -> LoadedRecipe:
    """Load one recipe by name.

    Parameters
    ----------
    extra : folders that are searched first
    shipped : search the project's own recipes, too

    Raises
    ------
    UnknownRecipeError
        if no file of that name declares a recipe; the message suggests similar names
    """
    if name.isidentifier():
        for folder in _folders(extra, shipped):
            path = folder / f"{name}.py"
            if path.is_file():
                recipe = _load_file(path.resolve())
                if recipe is not None:
                    return recipe
    known = names(extra)
    hint = did_you_mean(name, known)
    raise UnknownRecipeError(
        f"there is no recipe {name!r}{hint}; known recipes: {', '.join(known) or 'none'}"
    )

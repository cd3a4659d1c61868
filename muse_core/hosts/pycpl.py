# SPDX-License-Identifier: BSD-3-Clause
"""Recipes as ``cpl.ui.PyRecipe`` classes for pyesorex and PyCPL; plain classes where PyCPL is absent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from muse_core.framework.registry import LoadedRecipe, available
from muse_core.hosts.helptext import full_description, license_text
from muse_core.version import __version__


def load_pycpl() -> Any:
    """Return PyCPL's ``cpl`` package, or None (python-cpl, which has the same name, does not count)."""
    try:
        found = find_spec("cpl")
        folders = found.submodule_search_locations if found is not None else None
        if folders and not any(
            path.stem.split(".")[0] == "ui" for f in folders for path in Path(f).iterdir()
        ):
            return None  # python-cpl: importing it would load numpy and astropy for nothing
        import cpl
        import cpl.ui
    except Exception:  # a broken installation must not break the listing of recipes
        return None
    return cpl if hasattr(cpl.ui, "PyRecipe") else None


class MessageHandler(logging.Handler):
    """Hands log records to ``cpl.core.Msg``."""

    def __init__(self, messages: Any) -> None:
        super().__init__()
        self._send = {"DEBUG": messages.debug, "INFO": messages.info, "WARNING": messages.warning}
        self._error = messages.error

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, a line at a time."""
        send = self._send.get(record.levelname, self._error)
        for line in record.getMessage().split("\n"):
            send(record.funcName or "run", line)


def recipe_class(recipe: LoadedRecipe, pycpl: Any = None) -> type:
    """Return the class of one recipe.

    Parameters
    ----------
    pycpl : PyCPL's package, or None for a class that takes any objects with ``file`` and ``tag``
    """
    spec = recipe.spec
    base = pycpl.ui.PyRecipe if pycpl is not None else object

    def __init__(self: Any) -> None:  # noqa: N807
        base.__init__(self)
        self.parameters = parameter_list(recipe, pycpl)

    def run(self: Any, frameset: Iterable[Any], settings: Mapping[str, Any] | None = None) -> Any:
        """Run the recipe; `settings` may hold any of the parameters, by alias or full name."""
        values = {**_changed(self.parameters), **dict(settings or {})}
        return _run(recipe, frameset, values, pycpl)

    return type(
        spec.name,
        (base,),
        {
            "__doc__": spec.summary,
            "__init__": __init__,
            "__module__": __name__,
            "run": run,
            "_name": spec.name,
            "_version": spec.version_text,
            "_author": spec.author,
            "_email": spec.email,
            "_copyright": license_text(),
            "_synopsis": spec.summary,
            "_description": f"{full_description(spec)}\n\nmuse-recipes {__version__} (Python)",
        },
    )


def recipe_classes(pycpl: Any = None, extra: Iterable[str | Path] = ()) -> dict[str, type]:
    """Return the classes of all recipes by name."""
    return {recipe.spec.name: recipe_class(recipe, pycpl) for recipe in available(extra)}


class PlainParameter:
    """Stands in for ``cpl.ui.ParameterValue`` where PyCPL is absent."""

    def __init__(self, name: str, description: str, context: str, default: Any, cli_alias: str) -> None:
        self.name = name
        self.description = description
        self.context = context
        self.default = self.value = default
        self.cli_alias = cli_alias


def parameter_list(recipe: LoadedRecipe, pycpl: Any = None) -> Any:
    """Return a fresh ``cpl.ui.ParameterList`` of a recipe (a list of plain objects without PyCPL)."""
    spec = recipe.spec
    if pycpl is None:
        return [
            PlainParameter(spec.full_name(p), p.help, spec.context, p.default, p.name) for p in spec.params
        ]
    parameters = []
    for param in spec.params:
        about = {
            "name": spec.full_name(param),
            "description": param.help,
            "context": spec.context,
            "default": param.default,
        }
        if param.choices:
            parameter = pycpl.ui.ParameterEnum(alternatives=list(param.choices), **about)
        else:
            parameter = pycpl.ui.ParameterValue(**about)
        parameter.cli_alias = param.name
        parameters.append(parameter)
    return pycpl.ui.ParameterList(parameters)


def _changed(parameters: Iterable[Any]) -> dict[str, Any]:
    return {
        parameter.name: parameter.value for parameter in parameters if parameter.value != parameter.default
    }


def _run(recipe: LoadedRecipe, frameset: Iterable[Any], settings: Mapping[str, Any], pycpl: Any) -> Any:
    from muse_core.framework import Frame, run_recipe
    from muse_core.framework.log import ROOT

    frames = []
    for given in frameset:
        declared = recipe.spec.input_for(given.tag or "")
        if declared is not None and pycpl is not None:
            given.group = getattr(pycpl.ui.Frame.FrameGroup, declared.group)
        frames.append(Frame(Path(given.file), given.tag or ""))
    text = {
        name: value if isinstance(value, str | bool | int | float) else str(value)
        for name, value in settings.items()
    }
    logger = logging.getLogger(ROOT)
    handler = MessageHandler(pycpl.core.Msg) if pycpl is not None else None
    propagate = logger.propagate
    if handler is not None:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        products = run_recipe(recipe, frames, text)
    finally:
        if handler is not None:
            logger.removeHandler(handler)
            logger.propagate = propagate
    if pycpl is None:
        return [(str(product.path), product.tag) for product in products]
    return _frame_set(products, pycpl)


def _frame_set(products: Iterable[Any], pycpl: Any) -> Any:
    kinds = pycpl.ui.Frame
    frames = pycpl.ui.FrameSet()
    for product in products:
        level = kinds.FrameLevel.FINAL if product.level == "FINAL" else kinds.FrameLevel.INTERMEDIATE
        kind = kinds.FrameType.TABLE if product.type == "TABLE" else kinds.FrameType.IMAGE
        frames.append(
            kinds(
                str(product.path),
                tag=product.tag,
                group=kinds.FrameGroup.PRODUCT,
                level=level,
                frameType=kind,
            )
        )
    return frames

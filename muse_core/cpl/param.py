# SPDX-License-Identifier: BSD-3-Clause
"""Parameters of a recipe as attributes, python-cpl style."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from muse_core.cpl import html
from muse_core.cpl.files import load_rc
from muse_core.cpl.names import unknown_name
from muse_core.framework.spec import Param, RecipeSpec

_NO = ("false", "no", "")


def attribute_name(name: str) -> str:
    """Return the attribute for a parameter name: dashes and blanks become underscores."""
    return re.sub(r"[- ]", "_", name)


class Parameter:
    """One parameter; ``value`` is None as long as the default holds."""

    def __init__(self, spec: RecipeSpec, declaration: Param) -> None:
        self.name = declaration.name
        self.fullname = spec.full_name(declaration)
        self.context = spec.context
        self.default = declaration.default
        self.type = type(declaration.default)
        self.range = _limits(declaration)
        self._declaration = declaration
        self.sequence = list(declaration.choices) if declaration.choices else None
        self.enabled = (not declaration.hidden, True, True)
        self._value: Any = None
        self.__doc__ = _documentation(declaration)

    @property
    def value(self) -> Any:
        """The value set, or None for the default."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = None if value is None else self.convert(value)

    def convert(self, value: Any) -> Any:
        """Return a value in the parameter's type; ValueError if there is no way."""
        if isinstance(value, Parameter):
            value = value.value if value.value is not None else value.default
        if self.type is bool and isinstance(value, str):
            converted: Any = value.strip().lower() not in _NO
        else:
            converted = self.type(value)
        if self.sequence is not None and converted not in self.sequence:
            raise ValueError(f"'{converted}' is not in {self.sequence}")
        self._declaration.coerce(converted)  # a ParameterError is a ValueError, too
        return converted

    def __getitem__(self, index: int) -> Any:
        """Let ``dict(iter(param))`` work; as in python-cpl an explicit False, 0 or '' shows the default."""
        return (self.name, self.value or self.default)[index]

    def __str__(self) -> str:
        return repr(self.value) if self.value is not None else f"{self.default!r} (default)"

    def __repr__(self) -> str:
        shown = f"value={self.value!r}" if self.value is not None else f"default={self.default!r}"
        return f"Parameter({self.name!r}, {shown})"

    def _repr_html_(self) -> str:
        return html.table(self.name, _HEADS, [self.row()])

    def row(self) -> tuple[object, ...]:
        """Return name, value, default and meaning."""
        value = self.default if self.value is None else self.value
        return self.name, value, self.default, self._declaration.help


_HEADS = ("parameter", "value", "default", "meaning")


def _limits(declaration: Param) -> tuple[float, float] | None:
    low = declaration.low if declaration.above is None else declaration.above
    if low is None and declaration.high is None:
        return None
    return -math.inf if low is None else low, math.inf if declaration.high is None else declaration.high


def _documentation(declaration: Param) -> str:
    text = f"{declaration.help} ({type(declaration.default).__name__}; default: {declaration.default!r})"
    return "\n".join(textwrap.wrap(text, 70))


class ParameterList:
    """The parameters of a recipe: by attribute, by name or full name, or iterated in the recipe's order."""

    _parameters: dict[str, Parameter]
    _tree: dict[str, Any]

    def __init__(self, parameters: Iterable[Parameter], prefix: str = "") -> None:
        self.__dict__["_parameters"] = {parameter.name: parameter for parameter in parameters}
        tree: dict[str, Any] = {}
        nested: dict[str, list[Parameter]] = {}
        for name, parameter in self._parameters.items():
            head, dot, _ = name.removeprefix(prefix).partition(".")
            if dot:
                nested.setdefault(head, []).append(parameter)
            else:
                tree[attribute_name(head)] = parameter
        for head, members in nested.items():
            tree[attribute_name(head)] = ParameterList(members, f"{prefix}{head}.")
        self.__dict__["_tree"] = tree

    @classmethod
    def from_spec(cls, spec: RecipeSpec) -> ParameterList:
        """Make the list for a recipe, everything at its default."""
        return cls(Parameter(spec, declaration) for declaration in spec.params)

    def _find(self, name: str) -> Any:
        if name in self._tree:
            return self._tree[name]
        for parameter in self._parameters.values():
            if name in (parameter.name, parameter.fullname, attribute_name(parameter.name)):
                return parameter
        raise unknown_name("parameter", name, [*self._parameters, *self._tree])

    def __getitem__(self, name: str) -> Any:
        return self._find(name)

    def __setitem__(self, name: str, value: Any) -> None:
        found = self._find(name)
        if isinstance(found, ParameterList):
            found.replace(value)
        else:
            found.value = value

    def __delitem__(self, name: str) -> None:
        self[name] = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._find(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __contains__(self, name: str) -> bool:
        try:
            self._find(name)
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())

    def __len__(self) -> int:
        return len(self._parameters)

    def __dir__(self) -> list[str]:
        return sorted(self._tree)

    def __eq__(self, other: object) -> bool:
        return dict(pairs(self)) == (dict(pairs(other)) if isinstance(other, ParameterList) else other)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return str(dict(pairs(self)))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [parameter.row() for parameter in self if parameter.enabled[0]]
        return html.table("parameters", _HEADS, rows)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        width = max((len(name) for name in self._parameters), default=0) + 1
        return "".join(
            f"{name:>{width}}: {parameter.__doc__}\n" for name, parameter in self._parameters.items()
        )

    def replace(self, values: Any) -> None:
        """Set all parameters anew: those not named go back to their default."""
        chosen = {self._find(name).name: value for name, value in settings_of(values).items()}
        for name, parameter in self._parameters.items():
            parameter.value = chosen.get(name)

    def settings(self, overrides: Any = None) -> dict[str, str]:
        """Return what differs from "default" as full name -> text, with the overrides of one call on top."""
        chosen = {p.fullname: p.value for p in self if p.value is not None}
        for name, value in settings_of(overrides).items():
            parameter = self._find(name)
            chosen[parameter.fullname] = None if value is None else parameter.convert(value)
        return {name: _text(value) for name, value in chosen.items() if value is not None}


def pairs(parameters: ParameterList) -> Iterator[tuple[str, Any]]:
    """Return (name, value or default) of each parameter."""
    return ((parameter.name, parameter[1]) for parameter in parameters)


def settings_of(values: Any) -> dict[str, Any]:
    """Return name -> value from a dict, a parameter list, pairs, or an rc file."""
    if values is None:
        return {}
    if isinstance(values, Mapping):
        return dict(values)
    if isinstance(values, ParameterList):
        return {parameter.name: parameter.value for parameter in values}
    if isinstance(values, str) or hasattr(values, "read"):
        return load_rc(values)
    return (
        {item.name: item.value if isinstance(item, Parameter) else item for item in values}
        if all(isinstance(item, Parameter) for item in values)
        else dict(values)
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.17g}" if isinstance(value, float) else str(value)

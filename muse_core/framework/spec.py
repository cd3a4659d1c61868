# SPDX-License-Identifier: BSD-3-Clause
"""The one declaration of a recipe: parameters, input tags and products, as plain data.

Everything a recipe says of itself (help, man page, defaults, configuration files, SOF template, product
headers, host plugins) is derived from a `RecipeSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muse_core.framework.errors import ParameterError

Value = str | int | float | bool

_TYPE_NAMES: dict[type, str] = {str: "string", int: "int", float: "double", bool: "bool"}


@dataclass(frozen=True)
class Param:
    """One recipe parameter; its type is the type of the default.

    Parameters
    ----------
    name : the alias, as the user types it
    default : str, int, float or bool
    help : one sentence for help texts, man page and product headers
    choices : the allowed values of a string enumeration, or None
    hidden : an expert parameter, accepted but not listed
    low : smallest allowed number, or None
    """

    name: str
    default: Value
    help: str = ""
    choices: tuple[str, ...] | None = None
    hidden: bool = False
    low: float | None = None

    @property
    def type_name(self) -> str:
        """CPL's name of the type: string, int, double or bool."""
        return _TYPE_NAMES[type(self.default)]

    def coerce(self, value: object) -> Value:
        """Return `value` as this parameter's type, or raise `ParameterError` with the reason."""
        number = _coerce_type(self, value)
        if self.choices is not None and number not in self.choices:
            raise ParameterError(
                f"parameter {self.name}: {value!r} is not one of {', '.join(self.choices)} (case counts)"
            )
        if self.low is not None and isinstance(number, int | float) and number < self.low:
            raise ParameterError(f"parameter {self.name}: {number} is below the smallest value {self.low:g}")
        return number


def _coerce_type(param: Param, value: object) -> Value:
    kind = type(param.default)
    if kind is bool:
        if isinstance(value, bool):
            return value
        text = str(value).strip()
        if text in ("TRUE", "true"):
            return True
        if text in ("FALSE", "false"):
            return False
        raise ParameterError(f"parameter {param.name}: {value!r} is not TRUE or FALSE")
    if kind is str:
        if isinstance(value, str):
            return value
        raise ParameterError(f"parameter {param.name}: {value!r} is not a string")
    if isinstance(value, bool):
        raise ParameterError(f"parameter {param.name}: {value!r} is not a number")
    try:
        if kind is int:
            if isinstance(value, float) and value != int(value):
                raise ParameterError(f"parameter {param.name}: {value!r} is not an integer")  # noqa: TRY301
            return int(value)  # type: ignore[call-overload]
        number = float(value)  # type: ignore[arg-type]
    except ParameterError:
        raise
    except (TypeError, ValueError, OverflowError):
        wanted = "an integer" if kind is int else "a number"
        raise ParameterError(f"parameter {param.name}: {value!r} is not {wanted}") from None
    if number != number:
        raise ParameterError(f"parameter {param.name}: NaN is not a usable number")
    return number


@dataclass(frozen=True)
class Input:
    """One input tag: its group (RAW or CALIB) and how many files it takes.

    ``min`` 0 means optional, ``max`` None any number. ``declared_min`` and ``declared_max`` are the numbers
    shown to hosts where the C recipe's declaration differs from what it takes (-1 = not specified).
    """

    tag: str
    group: str = "CALIB"
    min: int = 1
    max: int | None = 1
    help: str = ""
    declared_min: int | None = None
    aliases: tuple[str, ...] = ()
    declared_max: int | None = None

    @property
    def host_min(self) -> int:
        """Minimum number as the C recipe declares it."""
        return self.min if self.declared_min is None else self.declared_min

    @property
    def host_max(self) -> int:
        """Maximum number as the C recipe declares it (-1 = any number)."""
        if self.declared_max is not None:
            return self.declared_max
        return -1 if self.max is None else self.max


@dataclass(frozen=True)
class Product:
    """One product tag; a series is numbered (TAG_0001.fits ...)."""

    tag: str
    help: str = ""
    series: bool = False
    level: str = "FINAL"


@dataclass(frozen=True)
class RecipeSpec:
    """All a recipe says of itself."""

    name: str
    summary: str
    params: tuple[Param, ...] = ()
    inputs: tuple[Input, ...] = ()
    products: tuple[Product, ...] = ()
    description: str = ""
    version: int = 20807
    author: str = "The muse-recipes developers"
    email: str = "usd-help@eso.org"
    science: bool = True
    environment: tuple[tuple[str, str], ...] = field(default=())

    @property
    def version_text(self) -> str:
        """The version number as text, e.g. 2.8.7."""
        return f"{self.version // 10000}.{self.version // 100 % 100}.{self.version % 100}"

    @property
    def context(self) -> str:
        """The common prefix of full parameter names."""
        return f"muse.{self.name}"

    def full_name(self, param: Param | str) -> str:
        """Full name of a parameter, e.g. muse.muse_scipost.save."""
        return f"{self.context}.{param if isinstance(param, str) else param.name}"

    def param(self, name: str) -> Param:
        """Find a parameter by alias or full name; `ParameterError` if there is none."""
        alias = name.removeprefix(self.context + ".")
        for candidate in self.params:
            if candidate.name == alias:
                return candidate
        raise ParameterError(f"recipe {self.name} has no parameter {name!r}{_similar(alias, self.params)}")

    def input_for(self, tag: str) -> Input | None:
        """Return the declaration of an input tag (aliases count), or None."""
        for candidate in self.inputs:
            if tag == candidate.tag or tag in candidate.aliases:
                return candidate
        return None

    def product(self, tag: str) -> Product:
        """Return the declaration of a product tag."""
        for candidate in self.products:
            if candidate.tag == tag:
                return candidate
        raise KeyError(f"{self.name} declares no product {tag}")

    def values(self, settings: Mapping[str, object] | None = None) -> ParamValues:
        """Check settings (aliases or full names, any subset) and complete them with the defaults.

        Raises
        ------
        ParameterError
            naming every unknown parameter and every bad value at once
        """
        given: dict[str, Value] = {}
        complaints: list[str] = []
        for name, value in (settings or {}).items():
            try:
                param = self.param(name)
                given[param.name] = param.coerce(value)
            except ParameterError as error:
                complaints.append(str(error))
        if complaints:
            raise ParameterError("\n".join(complaints))
        return ParamValues(self, given)


def _similar(name: str, params: tuple[Param, ...]) -> str:
    import difflib

    close = difflib.get_close_matches(name, [param.name for param in params], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


class ParamValues:
    """The checked parameter values of one run, as attributes."""

    def __init__(self, spec: RecipeSpec, given: Mapping[str, Value]) -> None:
        self._spec = spec
        self._given = dict(given)
        self._values = {param.name: self._given.get(param.name, param.default) for param in spec.params}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"no parameter {name!r}") from None

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def items(self) -> list[tuple[Param, Value]]:
        """Return (declaration, value) of all parameters in the recipe's order."""
        return [(param, self._values[param.name]) for param in self._spec.params]

    def was_set(self, name: str) -> bool:
        """Tell whether the user gave this parameter, be it at its default."""
        return name in self._given

    def is_default(self, name: str) -> bool:
        """Tell whether the value equals the default."""
        return self._values[name] == self._spec.param(name).default


def value_text(value: Value) -> str:
    """Write a parameter value as CPL does: true/false, %g numbers, strings as they are.

    >>> value_text(True), value_text(15.0), value_text(0.3125)
    ('true', '15', '0.3125')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)

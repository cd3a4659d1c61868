# SPDX-License-Identifier: BSD-3-Clause
"""The one declaration of a recipe: parameters, input tags and products, as plain data.

Everything a recipe says of itself (help, man page, defaults, configuration files, SOF template, product
headers, host plugins) is derived from a `RecipeSpec`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muse_core.framework.defects import Defects
from muse_core.framework.errors import ParameterError, did_you_mean
from muse_core.framework.kinds import Kind
from muse_core.framework.variables import Variable
from muse_core.version import CONTACT, __version__

Value = str | int | float | bool

C_VERSION = 20807  # of the C pipeline whose recipes ours replace: 2.8.7
_major, _minor, _patch = (int(word) for word in __version__.split(".")[:3])
OWN_VERSION = 10000 * _major + 100 * _minor + _patch  # for recipes that the C pipeline does not have

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
    low, high : smallest and largest allowed number, or None; of a list they hold for every number
    above : the number must be larger than this, or None
    finite : refuse infinite numbers (a limit may be infinite, few others)
    kind : how the text of a string is read, if it holds a list (`muse_core.framework.kinds`)
    ours : a parameter that the C recipe does not have; it comes after those, and is in the header of a
        product where it differs from its default
    ranged : hosts are told the limits of an integer, as they are of the C recipe
    variable : environment variable that sets it where the user does not (read once, when a run starts)
    picks : names of extensions (a regular expression with a group for a number) of which the run reads those
        with the value as their number, if it is above 0, and else all
    """

    name: str
    default: Value
    help: str = ""
    choices: tuple[str, ...] | None = None
    hidden: bool = False
    low: float | None = None
    high: float | None = None
    above: float | None = None
    finite: bool = True
    kind: Kind | None = None
    ours: bool = False
    ranged: bool = False
    variable: Variable | None = None
    picks: str = ""

    @property
    def told_range(self) -> tuple[int, int] | None:
        """The limits that hosts are told, or None."""
        if not self.ranged or self.low is None or self.high is None:
            return None
        return int(self.low), int(self.high)

    @property
    def type_name(self) -> str:
        """CPL's name of the type: string, int, double or bool."""
        return _TYPE_NAMES[type(self.default)]

    def coerce(self, value: object) -> Value:
        """Return `value` as this parameter's type, or raise `ParameterError` with the reason.

        Lists in a string are left to `RecipeSpec.values`, which knows whether the run is as lenient as C.
        """
        number = _coerce_type(self, value)
        if self.choices is not None and number not in self.choices:
            raise ParameterError(
                f"parameter {self.name}: {value!r} is not one of {', '.join(self.choices)} (case counts)"
            )
        if isinstance(number, int | float):
            self.check_range(number)
        return number

    def parsed(self, value: Value) -> Any:
        """Return what the recipe works with: for a list in a string the list, else the value itself.

        Raises
        ------
        ParameterError
            if the text cannot be read, or a number in it is out of range
        """
        if self.kind is None:
            return value
        try:
            result = self.kind.parse(str(value))
        except ValueError as error:
            raise ParameterError(f"parameter {self.name}: {error}") from None
        for number in self.kind.numbers(result):
            self.check_range(number)
        return result

    def parsed_leniently(self, text: str) -> tuple[Any, str]:
        """Return what the C recipe makes of a list, and a warning about what is odd in it ("" for none).

        C knows no limits; numbers outside of ours are kept and told, but for those that are not finite.
        """
        if self.kind is None:
            return text, ""
        try:
            value, note = self.kind.parse_leniently(text)
        except ValueError as error:
            raise ParameterError(f"parameter {self.name}: {error}") from None
        notes = [f"parameter {self.name}: {note}"] if note else []
        for number in self.kind.numbers(value):
            if not math.isfinite(number):
                raise ParameterError(f"parameter {self.name}: {number} is not a usable number")
            try:
                self.check_range(number)
            except ParameterError as error:
                notes.append(f"{error}; used all the same, as in C")
        return value, "; ".join(notes)

    def check_range(self, number: float) -> None:
        """Raise `ParameterError` for a number that the declaration does not allow."""
        if number != number:
            raise ParameterError(f"parameter {self.name}: NaN is not a usable number")
        if self.finite and math.isinf(number):
            raise ParameterError(f"parameter {self.name}: {number} is not a finite number")
        if self.low is not None and number < self.low:
            raise ParameterError(f"parameter {self.name}: {number} is below the smallest value {self.low:g}")
        if self.above is not None and number <= self.above:
            raise ParameterError(f"parameter {self.name}: {number} is not above {self.above:g}")
        if self.high is not None and number > self.high:
            raise ParameterError(f"parameter {self.name}: {number} is above the largest value {self.high:g}")


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
            if not value.isprintable():
                raise ParameterError(f"parameter {param.name}: {value!r} holds characters that are no text")
            return value
        if isinstance(value, bool) and str(value).lower() in (param.choices or ()):
            return str(value).lower()
        raise ParameterError(f"parameter {param.name}: {value!r} is not a string")
    if isinstance(value, bool):
        raise ParameterError(f"parameter {param.name}: {value!r} is not a number")
    try:
        if kind is int:
            if isinstance(value, float) and value != int(value):
                raise ParameterError(f"parameter {param.name}: {value!r} is not an integer")  # noqa: TRY301
            whole = int(value)  # type: ignore[call-overload]
            if not -(2**31) <= whole < 2**31:  # as the parameters of hosts
                raise ParameterError(f"parameter {param.name}: {value} does not fit into 32 bits")  # noqa: TRY301
            return whole
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
    shown to hosts where the C recipe's declaration differs from what it takes (-1 = not specified). An input
    of ``ours`` is not in the lists that hosts compare with those of the C recipe.
    """

    tag: str
    group: str = "CALIB"
    min: int = 1
    max: int | None = 1
    help: str = ""
    declared_min: int | None = None
    aliases: tuple[str, ...] = ()
    declared_max: int | None = None
    ours: bool = False

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
    """One product tag; a series is numbered (TAG_0001.fits ...).

    ``by_ifu``: there is one file for each IFU (TAG-01.fits ...), or one for all (TAG.fits). ``save`` is the
    word of the parameter ``save`` that asks for it ("" if it is always made), ``type`` what a host is told:
    IMAGE or TABLE. With ``c_units`` units keep the spelling of C, for a product that C recipes read beside
    those of their own.
    """

    tag: str
    help: str = ""
    series: bool = False
    level: str = "FINAL"
    save: str = ""
    type: str = "IMAGE"
    c_units: bool = False
    by_ifu: bool = False


@dataclass(frozen=True)
class Manual:
    """What the manual says beyond the declaration.

    Parameters
    ----------
    inputs : tag -> what it is for, when it is needed, and what happens without it
    values : parameter -> pairs of a value, or a word of its list, and what it does
    environment : pairs of a variable and its meaning, besides those that set parameters
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RecipeSpec:
    """All a recipe says of itself.

    ``qc_group`` is the third word of its QC keywords (``ESO QC EXPCOMB ...``; "" derives it from the name),
    and ``fixed`` holds values that shared steps ask for and this recipe does not leave to the user.
    """

    name: str
    summary: str
    params: tuple[Param, ...] = ()
    inputs: tuple[Input, ...] = ()
    products: tuple[Product, ...] = ()
    description: str = ""
    version: int = C_VERSION
    author: str = "The muse-recipes developers"
    email: str = CONTACT
    science: bool = True
    kernels: bool = False
    plans: bool = False
    manual: Manual = field(default_factory=Manual)
    defects: tuple[str, ...] = ()
    fixed: tuple[tuple[str, Any], ...] = ()
    qc_group: str = ""

    def __post_init__(self) -> None:
        strange = set(self.manual.inputs) - {declared.tag for declared in self.inputs}
        strange |= set(self.manual.values) - {param.name for param in self.params}
        if strange:
            raise TypeError(f"the manual of {self.name} is about unknown {', '.join(sorted(strange))}")
        unknown = set(self.defects) - set(Defects.names())
        if unknown:
            raise TypeError(f"{self.name} declares unknown defects: {', '.join(sorted(unknown))}")
        if self.defects and all(param.name != COMPAT.name for param in self.params):
            object.__setattr__(self, "params", (*self.params, COMPAT))

    @property
    def qc_prefix(self) -> str:
        """What the QC keywords of the recipe begin with."""
        return f"ESO QC {self.qc_group or self.name.removeprefix('muse_').replace('_', '').upper()}"

    @property
    def c_params(self) -> tuple[Param, ...]:
        """The parameters that the C recipe has, too."""
        return tuple(param for param in self.params if not param.ours)

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
        hint = did_you_mean(alias, [candidate.name for candidate in self.params])
        raise ParameterError(f"recipe {self.name} has no parameter {name!r}{hint}")

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

    def values(
        self, settings: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None
    ) -> ParamValues:
        """Check settings (aliases or full names, any subset) and complete them with the defaults.

        Parameters
        ----------
        settings : what the user gave
        environment : variables that set parameters which the user did not give

        Raises
        ------
        ParameterError
            naming every unknown parameter and every bad value at once
        """
        given: dict[str, object] = {}
        complaints: list[str] = []
        for name, setting in (settings or {}).items():
            try:
                given[self.param(name).name] = setting
            except ParameterError as error:
                complaints.append(str(error))
        notes: list[str] = []
        for param in self.params:
            if param.name not in given and param.variable is not None:
                try:
                    found, note = param.variable.read(environment or {})
                except ValueError as error:
                    complaints.append(str(error))
                    continue
                notes += [note] if note else []
                if found is not None:
                    given[param.name] = found
        lenient = bool(self.defects) and str(given.get(COMPAT.name, "")).lower() in ("true", "1")
        raw: dict[str, Value] = {}
        parsed: dict[str, Any] = dict(self.fixed)
        for param in self.params:
            try:
                setting = given.get(param.name, param.default)
                raw[param.name], parsed[param.name], note = _read(param, setting, lenient)
                notes += [note] if note else []
            except ParameterError as error:
                complaints.append(str(error))
        if complaints:
            raise ParameterError("\n".join(complaints))
        return ParamValues(self, raw, parsed, tuple(notes))


COMPAT = Param(
    "compat",
    False,
    help="Restore the known defects of the C recipe, for the same numbers as there.",
    ours=True,
    variable=Variable.switch("MUSE_RECIPES_COMPAT"),
)
"""The compatible mode, a parameter of every recipe that declares defects."""

CALIB_MISMATCH = Param(
    "calib_mismatch",
    "error",
    choices=("error", "warn", "ignore"),
    help="A calibration of another mode, read-out, field or detector than the data: stop, warn, or use it.",
    ours=True,
)
"""What to do about calibrations that do not fit, a parameter of every recipe that takes them."""


def _read(param: Param, given: object, lenient: bool) -> tuple[Value, Any, str]:
    """Return the text of a parameter, its value, and a warning."""
    if lenient and param.kind is not None and isinstance(given, str) and not param.ours:
        return given, *param.parsed_leniently(given)
    value = param.coerce(given)
    return value, param.parsed(value), ""


class ParamValues:
    """The checked parameter values of one run, as attributes.

    Attributes are what the recipe works with (for a list written as a string the list); `items` and
    ``values[name]`` give what the user typed.
    """

    def __init__(
        self,
        spec: RecipeSpec,
        raw: Mapping[str, Value],
        parsed: Mapping[str, Any],
        notes: tuple[str, ...] = (),
    ) -> None:
        self._spec = spec
        self._raw = dict(raw)
        self._parsed = dict(parsed)
        self.notes = notes

    def wants(self, extension: str) -> bool:
        """Tell whether the run reads the data of an extension, as far as parameters pick by its name."""
        for param in self._spec.params:
            number = self._parsed[param.name] if param.picks else 0
            found = re.fullmatch(param.picks, extension) if number > 0 else None
            if found is not None and int(found[1]) != number:
                return False
        return True

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_parsed"][name]
        except KeyError:
            raise AttributeError(f"no parameter {name!r}") from None

    def also(self, **values: Any) -> ParamValues:
        """Return these values with further ones, under the names that shared steps ask for."""
        return ParamValues(self._spec, self._raw, {**self._parsed, **values}, self.notes)

    def __getitem__(self, name: str) -> Value:
        return self._raw[name]

    def items(self) -> list[tuple[Param, Value]]:
        """Return (declaration, value) of all parameters in the recipe's order."""
        return [(param, self._raw[param.name]) for param in self._spec.params]

    def is_default(self, name: str) -> bool:
        """Tell whether the value equals the default."""
        return self._raw[name] == self._spec.param(name).default

    def recorded(self) -> list[tuple[Param, Value]]:
        """Return what product headers record: all parameters of C, and those of ours that were changed."""
        return [(p, v) for p, v in self.items() if not p.ours or v != p.default]

    def defects(self) -> Defects:
        """Return the defects of the C recipe that this run repeats: all it declares, or none."""
        wanted = self._spec.defects and self._parsed.get(COMPAT.name, False)
        return Defects.only(*self._spec.defects) if wanted else Defects()


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

# SPDX-License-Identifier: BSD-3-Clause
"""Rules for what inputs may say: a line for each keyword, column or relation, checked where an input enters.

The rules of all inputs stand in `muse_core.data.input_rules`; the pages of the recipes list them
(``musetools rules``). A rule that is broken is an error or a warning; in compatible mode, since the C recipes
go on with whatever they find, a warning (`Defects.absurd_values_used`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from muse_core.framework import RunContext

REMEDY = "Repair the file, or leave it out."


class Values(Protocol):
    """What rules are asked of: a header, or the columns of a table by their names."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default where it is not there."""
        ...


@dataclass(frozen=True)
class Rule:
    """One thing that an input must fulfil.

    Parameters
    ----------
    item : what it is about, for example "keyword EXPTIME"
    demand : what is expected, in words
    contradiction : tells what was found against it, None if it holds (or is not there)
    is_error : else it is a warning
    """

    item: str
    demand: str
    contradiction: Callable[[Values], str | None]
    is_error: bool = True


def keyword(
    key: str,
    unit: str = "",
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    is_error: bool = True,
) -> Rule:
    """Make the rule of a keyword that is a number within limits, if it is there.

    >>> rule = keyword("EXPTIME", "s", above=0.0)
    >>> rule.demand, rule.contradiction({"EXPTIME": -1.0}), rule.contradiction({})
    ('a number above 0 s', '-1', None)
    """

    def contradiction(values: Values) -> str | None:
        value = values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return repr(value)
        return None if low <= value <= high and value > above else f"{value:.10g}"

    return Rule(f"keyword {key}", f"a number {_limits(low, high, above, unit)}", contradiction, is_error)


def column(
    name: str,
    unit: str = "",
    *,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    is_error: bool = True,
) -> Rule:
    """Make the rule of a column whose values (but for those that are not numbers) lie within limits.

    >>> column("flux", low=0.0).contradiction({"flux": [1.0, -2.0, float("nan")]})
    '-2 in row 2 (1 of 3 rows)'
    """

    def contradiction(values: Values) -> str | None:
        given = values.get(name)
        if given is None:
            return None
        numbers = np.asarray(given, np.float64)
        with np.errstate(invalid="ignore"):
            wrong = np.flatnonzero((numbers < low) | (numbers > high) | (numbers <= above))
        if not wrong.size:
            return None
        return f"{numbers[wrong[0]]:.6g} in row {wrong[0] + 1} ({wrong.size} of {numbers.size} rows)"

    return Rule(f"column {name}", f"values {_limits(low, high, above, unit)}", contradiction, is_error)


def _limits(low: float, high: float, above: float, unit: str) -> str:
    end = f" {unit}" if unit else ""
    lower = f"above {above:g}" if above > low else f"of {low:g}"
    if high == math.inf:
        return f"{lower}{end}" if above > low else f"{lower}{end} or more"
    if low == above == -math.inf:
        return f"of {high:g}{end} or less"
    return f"{lower} to {high:g}{end}"


def broken(rules: Iterable[Rule], values: Values) -> Iterator[tuple[Rule, str]]:
    """Yield the rules that do not hold, and what was found."""
    for rule in rules:
        found = rule.contradiction(values)
        if found is not None:
            yield rule, found


def check(
    path: Path | str, rules: Iterable[Rule], values: Values, ctx: RunContext, *, remedy: str = REMEDY
) -> bool:
    """Note what is wrong with an input in ``ctx.problems``, or warn of it; False if a rule is broken."""
    holds = True
    for rule, found in broken(rules, values):
        holds = False
        if rule.is_error and not ctx.defects.absurd_values_used:
            ctx.problems.add(path, rule.item, expected=rule.demand, found=found, remedy=remedy)
        else:
            ctx.log.warning("%s: %s: expected %s, found %s", path, rule.item, rule.demand, found)
    return holds

# SPDX-License-Identifier: BSD-3-Clause
"""Rules of the values of a column, or of a mask."""

from __future__ import annotations

import numpy as np

from muse_core.data.rules import Rule, Values


def in_places(name: str) -> Rule:
    """Positions that are not all the same."""

    def contradiction(values: Values) -> str | None:
        given = np.asarray(values.get(name, ()), np.float64)
        known = given[np.isfinite(given)]
        return f"{known[0]:.6g} in all {known.size} rows" if known.size > 1 and not np.ptp(known) else None

    return Rule(f"column {name}", "more than one value", contradiction, is_error=False)


def marks_some_sky() -> Rule:
    """A mask with pixels of both kinds: else it is an image of something else."""

    def contradiction(values: Values) -> str | None:
        share = values.get("SKY")
        return None if share is None or 0.0 < share < 1.0 else f"{100 * share:g} per cent"

    return Rule("pixels", "some that are sky, and some that are not", contradiction, is_error=False)


def all_numbers(name: str) -> Rule:
    """A column that has a number in each row: an error."""

    def contradiction(values: Values) -> str | None:
        given = values.get(name)
        if given is None:
            return None
        wrong = np.flatnonzero(~np.isfinite(np.asarray(given, np.float64)))
        return f"none in row {wrong[0] + 1} ({wrong.size} of {len(given)} rows)" if wrong.size else None

    return Rule(f"column {name}", "a finite number in each row", contradiction)


def two_rows(name: str) -> Rule:
    """A curve of at least two rows, between which it can be interpolated: an error."""

    def contradiction(values: Values) -> str | None:
        given = values.get(name)
        return None if given is None or len(given) > 1 else f"{len(given)}"

    return Rule(f"column {name}", "two rows at least", contradiction)


def some_number(name: str) -> Rule:
    """A column that has a number in some row: an error."""

    def contradiction(values: Values) -> str | None:
        given = values.get(name)
        if given is None or not len(given) or np.isfinite(np.asarray(given, np.float64)).any():
            return None
        return f"none in {len(given)} rows"

    return Rule(f"column {name}", "a finite number in some row", contradiction)


def median(name: str, low: float, high: float) -> Rule:
    """A column of which half the values lie within limits: a warning."""

    def contradiction(values: Values) -> str | None:
        numbers = np.asarray(values.get(name, ()), np.float64)
        known = numbers[np.isfinite(numbers)]
        middle = float(np.median(known)) if known.size else low
        return None if low <= middle <= high else f"a median of {middle:.3g}"

    return Rule(
        f"column {name}", f"values with a median of {low:g} to {high:g}", contradiction, is_error=False
    )


def mostly_numbers(name: str, otherwise: str) -> Rule:
    """A column that has a number in each row, if it has any."""

    def contradiction(values: Values) -> str | None:
        numbers = values.get(name)
        missing = [] if numbers is None else [n for n, value in enumerate(numbers, 1) if value != value]
        if not missing or len(missing) == len(numbers):
            return None
        return f"none in row {', '.join(map(str, missing[:5]))}: {otherwise}"

    return Rule(f"column {name}", "a number in each row", contradiction, is_error=False)

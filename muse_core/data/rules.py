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
import numpy.typing as npt

if TYPE_CHECKING:
    from muse_core.framework import RunContext

REMEDY = "Repair the file, or leave it out."
PIXELS = "pixels"
"""What rules about the extensions DATA and STAT are asked of: their pixels, or a sample of them."""
PLACES = "places"
"""What rules about the positions of rows are asked of: their extent, and the number of slices."""
LEVELS = "levels"
"""What rules about the counts of a raw frame are asked of: its own (LEVEL), those of its sisters (OTHERS)."""
SMALLEST_SCATTER, LARGEST_SCATTER = 0.05, 300.0
"""Differences of neighbouring pixels in units of their noise: 0.7 for pure noise; 0.3 where resampled pixels
share their noise, more where there is structure."""
NOT_RESAMPLED = 0.1
"""The same for pixels as they were read, each with a noise of its own."""


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
    about : what its values are: "" (a header, or columns), `PIXELS` of images, `PLACES` of rows or `LEVELS`
        of raw frames
    """

    item: str
    demand: str
    contradiction: Callable[[Values], str | None]
    is_error: bool = True
    about: str = ""


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


def present(key: str, otherwise: str) -> Rule:
    """Make the rule (a warning) that a keyword is there.

    >>> present("MJD-OBS", "no row is found by it").contradiction({})
    'no such keyword: no row is found by it'
    """

    def contradiction(values: Values) -> str | None:
        return f"no such keyword: {otherwise}" if values.get(key) is None else None

    return Rule(f"keyword {key}", "a value", contradiction, is_error=False)


def scatter_fits_noise(smallest: float = SMALLEST_SCATTER) -> Rule:
    """Make the rule (a warning) that STAT is of the size of the noise in DATA.

    Parameters
    ----------
    smallest : difference of neighbouring pixels at least, in units of their noise

    >>> rule = scatter_fits_noise()
    >>> data = np.random.default_rng(1).normal(100.0, 2.0, (3, 50))
    >>> rule.contradiction({"DATA": data, "STAT": np.full((3, 50), 4.0)})
    >>> rule.contradiction({"DATA": data, "STAT": np.full((3, 50), 4e6)})[:34]
    'neighbouring pixels that differ by'
    >>> rule.contradiction({"DATA": data, "STAT": np.full((3, 50), -4.0)})
    'negative variances in 150 of 150 pixels'
    """

    def contradiction(values: Values) -> str | None:
        data, stat = values.get("DATA"), values.get("STAT")
        if data is None or stat is None:
            return None
        measured = np.isfinite(data)
        if not measured.any():
            return None
        count = np.count_nonzero(measured)
        negative = np.count_nonzero(measured & (stat < 0))
        if negative:
            return f"negative variances in {negative} of {count} pixels"
        known = measured & np.isfinite(stat) & (stat > 0)
        if np.count_nonzero(known) < 0.5 * count:
            return f"a finite variance above 0 in {np.count_nonzero(known)} of {count} pixels with data"
        ratio = _scatter(data, stat, known)
        if ratio is None or smallest <= ratio <= LARGEST_SCATTER:
            return None
        return f"neighbouring pixels that differ by {ratio:.2g} of the noise that STAT tells"

    demand = f"variances of DATA: pixels differ by {smallest:g} to {LARGEST_SCATTER:g} of their noise"
    return Rule("extension STAT", demand, contradiction, is_error=False, about=PIXELS)


def level(name: str, low: float, high: float, unit: str = "") -> Rule:
    """Make the rule (a warning) of the median of an image.

    >>> level("DATA", 0.01, 100.0).contradiction({"DATA": np.full((3, 50), 1e38)})
    'a median of 1e+38'
    """

    def contradiction(values: Values) -> str | None:
        pixels = values.get(name)
        measured = () if pixels is None else pixels[np.isfinite(pixels)]
        if pixels is None:
            return None
        if not len(measured):
            return "no number"
        median = float(np.median(measured))
        return None if low <= median <= high else f"a median of {median:.3g}"

    demand = f"pixels about {low:g} to {high:g}{f' {unit}' if unit else ''}"
    return Rule(f"extension {name}", demand, contradiction, is_error=False, about=PIXELS)


def not_negative(name: str) -> Rule:
    """Make the rule (a warning) that no pixel of an image is below 0."""

    def contradiction(values: Values) -> str | None:
        pixels = values.get(name)
        wrong = 0 if pixels is None else np.count_nonzero(np.asarray(pixels) < 0)
        return f"{wrong} pixels below 0" if wrong else None

    return Rule(f"extension {name}", "no number below 0", contradiction, is_error=False, about=PIXELS)


def spread(name: str, factor: float) -> Rule:
    """Make the rule (a warning) that no pixel is far from the median of an image of positive numbers."""

    def contradiction(values: Values) -> str | None:
        pixels = values.get(name)
        if pixels is None or not np.isfinite(pixels).any():
            return None
        low, middle, high = (float(value) for value in np.nanpercentile(pixels, (0, 50, 100)))
        return None if middle < factor * low and high < factor * middle else f"{low:.3g} to {high:.3g}"

    demand = f"pixels within a factor of {factor:g} of their median"
    return Rule(f"extension {name}", demand, contradiction, is_error=False, about=PIXELS)


def measured(name: str, share: float) -> Rule:
    """Make the rule (a warning) that a part of the pixels of an image are numbers."""

    def contradiction(values: Values) -> str | None:
        pixels = values.get(name)
        if pixels is None or not np.size(pixels):
            return None
        found = float(np.mean(np.isfinite(pixels)))
        return None if found > share else f"{100 * found:.3g} per cent"

    demand = f"more than {100 * share:g} per cent of the pixels with a number"
    return Rule(f"extension {name}", demand, contradiction, is_error=False, about=PIXELS)


def unflagged(share: float) -> Rule:
    """Make the rule (a warning) that a part of the pixels are not flagged as bad.

    >>> unflagged(0.05).contradiction({"DQ": np.array([[1.0, 1.0], [1.0, np.nan]])})
    '0 per cent'
    """

    def contradiction(values: Values) -> str | None:
        flags = values.get("DQ")
        known = () if flags is None else flags[np.isfinite(flags)]
        if not len(known):
            return None
        good = float(np.mean(known == 0))
        return None if good > share else f"{100 * good:.3g} per cent"

    demand = f"more than {100 * share:g} per cent of the pixels without a flag"
    return Rule("extension DQ", demand, contradiction, is_error=False, about=PIXELS)


def known_flags(bits: int) -> Rule:
    """Make the rule (a warning) that the pixels of an image have no other flags than some.

    >>> known_flags(0xFF00).contradiction({"DQ": np.array([[0.0, 512.0], [255.0, np.nan]])})
    '255 in 1 of 3 pixels'
    """

    def contradiction(values: Values) -> str | None:
        flags = np.asarray(() if values.get("DQ") is None else values.get("DQ"), np.float64)
        known = flags[np.isfinite(flags)]
        wrong = known[(known.astype(np.int64) & ~bits) != 0]
        return f"{wrong[0]:.0f} in {wrong.size} of {known.size} pixels" if wrong.size else None

    demand = f"flags of these bits alone: {bits:#x}"
    return Rule("extension DQ", demand, contradiction, is_error=False, about=PIXELS)


def no_peak(name: str, factor: float) -> Rule:
    """Make the rule (a warning) that no pixel of an image is very far above its median.

    >>> no_peak("STAT", 1e6).contradiction({"STAT": np.array([[1.0, 2.0, 2.5e36]])})
    '2.5e+36, the median is 2'
    """

    def contradiction(values: Values) -> str | None:
        pixels = np.asarray(() if values.get(name) is None else values.get(name), np.float64)
        known = pixels[np.isfinite(pixels)]
        middle = float(np.median(known)) if known.size else 0.0
        if middle <= 0.0 or known.max() <= factor * middle:
            return None
        return f"{known.max():.3g}, the median is {middle:.3g}"

    demand = f"no pixel above {factor:g} times the median"
    return Rule(f"extension {name}", demand, contradiction, is_error=False, about=PIXELS)


def variances(otherwise: str) -> Rule:
    """Make the rule (a warning) that an image has variances."""

    def contradiction(values: Values) -> str | None:
        return f"no such extension: {otherwise}" if values.get("STAT") is None else None

    return Rule("extension STAT", "variances", contradiction, is_error=False, about=PIXELS)


def like_others(factor: float) -> Rule:
    """Make the rule (a warning) that the counts of a raw frame are those of the others of its kind.

    >>> like_others(2.0).contradiction({"LEVEL": 65535.0, "OTHERS": 1500.0})
    'a median of 65535 adu, 1500 in the others'
    """

    def contradiction(values: Values) -> str | None:
        level, others = values.get("LEVEL"), values.get("OTHERS")
        if level is None or others is None or (level <= factor * others and others <= factor * level):
            return None
        return f"a median of {level:.5g} adu, {others:.5g} in the others"

    demand = f"counts within a factor of {factor:g} of those of the other frames"
    return Rule("pixels", demand, contradiction, is_error=False, about=LEVELS)


def not_saturated() -> Rule:
    """Make the rule (a warning) that pixels of a raw frame have counts between nothing and too much.

    >>> not_saturated().contradiction({"SATURATED": 0.9})
    '90 per cent saturated'
    """

    def contradiction(values: Values) -> str | None:
        share, empty = values.get("SATURATED", 0.0), values.get("EMPTY", 0.0)
        if share > 0.5:
            return f"{100 * share:.3g} per cent saturated"
        return None if empty <= 0.05 else f"{100 * empty:.3g} per cent at 0"  # the bias is above

    demand = "counts above 0, less than half of the pixels saturated"
    return Rule("pixels", demand, contradiction, is_error=False, about=LEVELS)


def _scatter(
    data: npt.NDArray[np.float64], stat: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]
) -> float | None:
    """Median difference of neighbours over its noise; None where there are too few, or most are alike.

    That of the two directions in which it is smaller: the other one crosses the structure of the image.
    """
    found = []
    for axis, step in ((1, 1), (0, 2)):  # along the rows, and from row to row of each pair of rows
        ends = (slice(1, None, step), slice(None, -1, step))
        first, second = ((slice(None), end) if axis else (end,) for end in ends)
        pairs = known[first] & known[second]
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(data[first] - data[second])[pairs]
            ratio = (difference / np.sqrt(stat[first] + stat[second])[pairs])[difference > 0]
        if ratio.size >= max(20, 0.5 * difference.size):
            found.append(float(np.median(ratio)))
        elif difference.size >= 20 and ratio.size < 0.02 * difference.size:
            found.append(0.0)  # all alike
    return min(found, default=None)


def _limits(low: float, high: float, above: float, unit: str) -> str:
    end = f" {unit}" if unit else ""
    lower = f"above {above:g}" if above > low else f"of {low:g}"
    if high == math.inf:
        return f"{lower}{end}" if above > low else f"{lower}{end} or more"
    if low == above == -math.inf:
        return f"of {high:g}{end} or less"
    return f"{lower} to {high:g}{end}"


def broken(rules: Iterable[Rule], values: Values, about: str = "") -> Iterator[tuple[Rule, str]]:
    """Yield the rules about this kind of values that do not hold, and what was found."""
    for rule in rules:
        if rule.about != about:
            continue
        found = rule.contradiction(values)
        if found is not None:
            yield rule, found


def check(
    path: Path | str,
    rules: Iterable[Rule],
    values: Values,
    ctx: RunContext,
    *,
    remedy: str = REMEDY,
    about: str = "",
) -> bool:
    """Note what is wrong with an input in ``ctx.problems``, or warn of it; False if a rule is broken."""
    holds = True
    for rule, found in broken(rules, values, about):
        holds = False
        if rule.is_error and not ctx.defects.absurd_values_used:
            ctx.problems.add(path, rule.item, expected=rule.demand, found=found, remedy=remedy)
        else:
            ctx.log.warning("%s: %s: expected %s, found %s", path, rule.item, rule.demand, found)
    return holds

# SPDX-License-Identifier: BSD-3-Clause
"""Parameters whose text holds more than one value: lists of numbers, lists of words, a number or "none".

A host sees the text; the recipe sees what `parse` makes of it. The limits (`low`, `high`) stand in the
declaration of the parameter and hold for every number of a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from muse_core.framework.errors import did_you_mean

_LEADING_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


class Kind(Protocol):
    """How the text of a string parameter is read."""

    def parse(self, text: str) -> Any:
        """Return the value; `ValueError` with the reason where the text has none."""
        ...

    def parse_leniently(self, text: str) -> tuple[Any, str]:
        """Return the value that the C recipe makes of any text, and a warning ("" for none)."""
        ...

    def numbers(self, value: Any) -> Iterable[float]:
        """Return the numbers in a value, for the check of the limits."""
        ...


def leading_number(text: str) -> float | None:
    """Return the number that a text begins with, or None.

    >>> leading_number("4x"), leading_number("yes")
    (4.0, None)
    """
    match = _LEADING_NUMBER.match(text)
    return float(match.group(1)) if match else None


@dataclass(frozen=True)
class FloatList:
    """Numbers with commas between.

    Parameters
    ----------
    least, most : how many numbers there may be (most None: any number)
    fallback : what the C recipe takes if the count is wrong; () if it goes on with what is there
    needs_digits : the C recipe refuses an item that does not begin with a number (others take 0 for it)
    nothing : texts that stand for an empty list
    """

    least: int = 1
    most: int | None = None
    fallback: tuple[float, ...] = ()
    needs_digits: bool = False
    nothing: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[float, ...]:
        """Return the numbers.

        >>> FloatList(1, 3).parse("0.8, 0.6"), FloatList(3, 3, nothing=("none",)).parse("none")
        ((0.8, 0.6), ())
        """
        if text.strip() in self.nothing:
            return ()
        values = []
        for word in text.split(","):
            try:
                values.append(float(word))
            except ValueError:
                raise ValueError(f"{word.strip()!r} in {text!r} is not a number") from None
        if len(values) < self.least or (self.most is not None and len(values) > self.most):
            raise ValueError(f"{text!r} has {len(values)} values, {self._wanted()} are expected")
        return tuple(values)

    def parse_leniently(self, text: str) -> tuple[tuple[float, ...], str]:
        """Return the numbers that begin the items (0 where there is none), or the fallback.

        >>> FloatList().parse_leniently(" 30. , 4x,, .8,-2")[0]
        (30.0, 4.0, 0.8, -2.0)
        """
        if text.strip() in self.nothing:
            return (), ""
        for word in text.split(","):
            if self.needs_digits and word.strip() and leading_number(word) is None:
                raise ValueError(f"{word.strip()!r} in {text!r} is not a number")
        values = tuple(leading_number(word) or 0.0 for word in text.split(",") if word.strip())
        if len(values) < self.least or (self.most is not None and len(values) > self.most):
            taken = self.fallback or values
            shown = ", ".join(f"{value:g}" for value in taken)
            return taken, f"{text!r} has {len(values)} values instead of {self._wanted()}: {shown} used"
        return values, ""

    def numbers(self, value: tuple[float, ...]) -> Iterable[float]:
        """Return all numbers."""
        return value

    def _wanted(self) -> str:
        if self.most is None:
            return f"{self.least} or more"
        return f"{self.least}" if self.most == self.least else f"{self.least} to {self.most}"


@dataclass(frozen=True)
class Words:
    """Words with commas between, from a list; at least one must be known.

    Parameters
    ----------
    choices : the known words; () if any word will do
    nothing : words that stand for an empty list
    strict : the C recipe refuses unknown words, too
    """

    choices: tuple[str, ...] = ()
    nothing: tuple[str, ...] = ()
    strict: bool = False

    def parse(self, text: str) -> tuple[str, ...]:
        """Return the words in the order given, each once.

        >>> Words(("cube", "raman")).parse("raman, cube,raman")
        ('raman', 'cube')
        """
        words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
        words = tuple(word for word in words if word not in self.nothing)
        for word in words:
            if self.choices and word not in self.choices:
                hint = did_you_mean(word, self.choices)
                raise ValueError(f"{word!r} is not one of {', '.join(self.choices)}{hint}")
        if not words and not self.nothing and self.choices:
            raise ValueError(f"{text!r} holds none of {', '.join(self.choices)}")
        return words

    def parse_leniently(self, text: str) -> tuple[tuple[str, ...], str]:
        """Return the words that are known."""
        if self.strict:
            return self.parse(text), ""
        words = [word.strip() for word in text.split(",")]
        known = [word for word in words if word and (not self.choices or word in self.choices)]
        return self.parse(",".join(known)), ""

    def numbers(self, value: tuple[str, ...]) -> Iterable[float]:  # noqa: ARG002
        """Return nothing."""
        return ()


@dataclass(frozen=True)
class NumberOrNone:
    """A number, or the word "none" (or nothing at all)."""

    def parse(self, text: str) -> float | None:
        """Return the number, or None.

        >>> NumberOrNone().parse("2.5"), NumberOrNone().parse("none")
        (2.5, None)
        """
        word = text.strip()
        if word.lower() in ("none", ""):
            return None
        try:
            return float(word)
        except ValueError:
            raise ValueError(f"{word!r} is neither a number nor none") from None

    def parse_leniently(self, text: str) -> tuple[float | None, str]:
        """Return the same as `parse`."""
        return self.parse(text), ""

    def numbers(self, value: float | None) -> Iterable[float]:
        """Return the number, if there is one."""
        return () if value is None else (value,)


@dataclass(frozen=True)
class Method:
    """A word, and after a colon numbers that belong to it: ``vpoly:5,1.001``.

    Parameters
    ----------
    methods : for each word the numbers that it has where the text gives none; whole ones stay whole
    otherwise : the word that the C recipe takes in place of an unknown one; "" if it refuses it
    """

    methods: Mapping[str, tuple[float, ...]]
    otherwise: str = ""

    def parse(self, text: str) -> tuple[str, tuple[float, ...]]:
        """Return the word and all its numbers.

        >>> Method({"none": (), "fit": (5.0,)}).parse("fit:3.5")
        ('fit', (3.5,))
        """
        word, _, rest = (part.strip() for part in text.partition(":"))
        if word not in self.methods:
            raise ValueError(f"{text!r} is none of {', '.join(self.methods)}")
        given = rest.split(",") if rest else []
        defaults = self.methods[word]
        if len(given) > len(defaults):
            raise ValueError(f"{text!r} has {len(given)} numbers, {word} takes {len(defaults)}")
        numbers = list(defaults)
        for i, number in enumerate(given):
            if not number.strip():
                continue
            try:
                numbers[i] = type(defaults[i])(float(number))
            except (ValueError, OverflowError):
                raise ValueError(f"{number.strip()!r} in {text!r} is not a number") from None
        return word, tuple(numbers)

    def parse_leniently(self, text: str) -> tuple[tuple[str, tuple[float, ...]], str]:
        """Return the same, but another method where C takes that for an unknown word."""
        word = text.partition(":")[0].strip()
        if word not in self.methods and self.otherwise:
            return (self.otherwise, self.methods[self.otherwise]), f"{text!r} acts as {self.otherwise}"
        return self.parse(text), ""

    def numbers(self, value: tuple[str, tuple[float, ...]]) -> Iterable[float]:
        """Return the numbers."""
        return value[1]

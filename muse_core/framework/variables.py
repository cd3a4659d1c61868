# SPDX-License-Identifier: BSD-3-Clause
"""Environment variables that set parameters of ours, and the rules by which the C pipeline reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from muse_core.framework.kinds import leading_number
from muse_core.framework.settings import switched_on

Reader = Callable[[str], object | None]


@dataclass(frozen=True)
class Variable:
    """A variable and how its text is read.

    Parameters
    ----------
    name : as it stands in the environment
    reader : returns the parameter's value, or None where the text has no effect
    hint : added to the warning about a text without effect; "" leaves the warning out
    """

    name: str
    reader: Reader
    hint: str = ""

    def read(self, environment: Mapping[str, str]) -> tuple[object | None, str]:
        """Return the value (None: not set) and a warning ("" for none)."""
        if self.name not in environment:
            return None, ""
        value = self.reader(environment[self.name])
        if value is None and self.hint and environment[self.name].strip():
            return None, f"{self.name} {self.hint} and has no effect"
        return value, ""

    def __reduce__(self) -> tuple[type[Variable], tuple[str, Reader, str]]:
        """What is sent to another process reads nothing there: that was done where the run began."""
        return Variable, (self.name, _nothing, self.hint)

    @classmethod
    def switch(cls, name: str) -> Variable:
        """Return a variable that is on with 1, true, yes or on."""
        return cls(name, lambda text: switched_on(text) or None)

    @classmethod
    def presence(cls, name: str) -> Variable:
        """Return a variable that is on as soon as it is there."""
        return cls(name, lambda _: True)

    @classmethod
    def whole_number(cls, name: str) -> Variable:
        """Return a variable that is on if it begins with a whole number above 0 ("TRUE" does not)."""

        def read(text: str) -> bool | None:
            match = re.match(r"\s*\+?\d+", text)
            return True if match and int(match.group()) > 0 else None

        return cls(name, read)

    @classmethod
    def positive_number(cls, name: str, hint: str = "") -> Variable:
        """Return a variable that begins with a number above 0 (the rest of the text does not count)."""

        def read(text: str) -> float | None:
            number = leading_number(text)
            return number if number is not None and number > 0 else None

        return cls(name, read, hint)

    @classmethod
    def text(cls, name: str) -> Variable:
        """Return a variable whose text is the value."""
        return cls(name, lambda text: text.strip() or None)

    @classmethod
    def choice(cls, name: str, choices: tuple[str, ...]) -> Variable:
        """Return a variable that must name one of the choices."""
        return cls(name, lambda text: text if text in choices else None)


def _nothing(_: str) -> None:
    """Read no text."""

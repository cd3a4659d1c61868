# SPDX-License-Identifier: BSD-3-Clause
"""How esorex writes parameter values on the terminal, in ``.rc`` files and in JSON files."""

from __future__ import annotations

import json
from typing import Protocol

Value = str | int | float | bool


class OptionLike(Protocol):
    """What help texts need of an option; recipe parameters and the runner's own options both have it."""

    @property
    def name(self) -> str: ...
    @property
    def default(self) -> Value: ...
    @property
    def help(self) -> str: ...
    @property
    def choices(self) -> tuple[str, ...] | None: ...
    @property
    def hidden(self) -> bool: ...


def display(value: Value) -> str:
    """Write a value as esorex shows it: TRUE/FALSE, and the shortest number from three digits upwards.

    >>> [display(v) for v in (True, 60, 5.0, 4000.0, 1234.5, "30.,4.")]
    ['TRUE', '60', '5.0', '4e+03', '1234.5', '30.,4.']
    """
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        text = f"{value:.15g}"
        for digits in range(3, 16):
            candidate = f"{value:.{digits}g}"
            if float(candidate) == value:
                text = candidate
                break
        return text if any(mark in text for mark in ".en") else f"{text}.0"
    return str(value)


def json_text(value: object) -> str:
    r"""Write a value for esorex's JSON files (slashes escaped, 17 digits).

    >>> json_text("a/b"), json_text(0.1), json_text(4000.0), json_text(False)
    ('"a\\/b"', '0.10000000000000001', '4000', 'false')
    """
    if isinstance(value, float):
        return f"{value:.17g}"
    return json.dumps(value, ensure_ascii=False).replace("/", "\\/")

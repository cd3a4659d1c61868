# SPDX-License-Identifier: BSD-3-Clause
"""One line of reasons with a code that stays the same (the codes stand in docs/archive_to_cube.md)."""

from __future__ import annotations

from dataclasses import dataclass

# what --strict does not let through: pins that do not fit, mixed versions or modes, incomplete or damaged
# sets, templates broken off, lamps that are absent, pairs that are broken
DOUBTFUL = frozenset({"C004", "C013", "C015", "C040", "C041", "C042", "C043", "C080"})

NOT_OF_USE = frozenset({"C050", "C051", "C052"})  # the rules leave a tag out: nothing is missing


@dataclass(frozen=True)
class Message:
    """One line with a stable code."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"

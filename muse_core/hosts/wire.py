# SPDX-License-Identifier: BSD-3-Clause
"""The lines that the C plugin and the worker exchange: fields between tabs, with four escapes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_PLAIN = {"t": "\t", "n": "\n", "r": "\r"}


def join_fields(fields: Iterable[object]) -> str:
    r"""Return one line (without its end).

    >>> join_fields(["param", "a\tb"])
    'param\ta\\tb'
    """
    return "\t".join("".join(_ESCAPES.get(c, c) for c in str(field)) for field in fields)


def split_fields(line: str) -> list[str]:
    r"""Return the fields of one line.

    >>> split_fields(join_fields(["a\n", "", "b\\n"])) == ["a\n", "", "b\\n"]
    True
    """
    return [
        re.sub(r"\\(.)", lambda m: _PLAIN.get(m.group(1), m.group(1)), field) for field in line.split("\t")
    ]


def installed_recipe(library: Path) -> Path | None:
    """Return the file of the recipe that a plugin library of ours starts; None for other libraries."""
    try:
        lines = library.with_suffix(".meta").read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return None
    fields = dict(fields for line in lines if len(fields := split_fields(line)) == 2)
    return Path(fields["file"]) if "worker" in fields and "file" in fields else None


def plain_text(text: str) -> str:
    r"""Return text in ASCII: python-cpl's log reader stops at anything else.

    >>> plain_text("5 \u00b5m, \u00e9t\u00e9")
    '5 um, ete'
    """
    decomposed = unicodedata.normalize("NFKD", text.replace("\u00b5", "u").replace("\u03bc", "u"))
    kept = "".join(c for c in decomposed if not unicodedata.combining(c))
    return kept.encode("ascii", "replace").decode("ascii")

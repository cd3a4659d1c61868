# SPDX-License-Identifier: BSD-3-Clause
"""Tables for notebooks; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def table(title: str, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table with a title.

    >>> table("a<b", ["x"], [[1]])
    '<table><caption>a&lt;b</caption><tr><th>x</th></tr><tr><td>1</td></tr></table>'
    """
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    first = "".join(f"<th>{escape(head)}</th>" for head in heads)
    return f"<table><caption>{escape(title)}</caption><tr>{first}</tr>{lines}</table>"

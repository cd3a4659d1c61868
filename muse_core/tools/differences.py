# SPDX-License-Identifier: BSD-3-Clause
"""Print, or write into a page, the tables of all differences from the C recipes.

The tables come from the list of defects (``muse_core.framework.defects``) and from that of the differences no
mode restores (``muse_core.framework.differences``). In a page they stand between the lines
``<!-- table: TOPIC -->`` and ``<!-- end of table -->``.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

SUMMARY = "tables of the differences from the C recipes"

_MARKED = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument("--update", metavar="PAGE", type=Path, help="write the tables into this page")


def main(args: argparse.Namespace) -> int:
    """Run ``musetools differences``."""
    if args.update is None:
        print("\n\n".join(f"## {topic}\n\n{table(topic)}" for topic in topics()))
        return 0
    args.update.write_text(updated(args.update.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def topics() -> list[str]:
    """Return the topics that have a table, in the order of the lists."""
    from muse_core.framework.defects import Defects
    from muse_core.framework.differences import ALWAYS

    named = [Defects.known(name).topic for name in Defects.names()]
    return list(dict.fromkeys([*named, *(difference.topic for difference in ALWAYS)]))


def table(topic: str) -> str:
    """Return the table of a topic: first what the compatible mode restores, then the rest.

    >>> table("muse_twilight").splitlines()[0]
    '| what | C pipeline 2.8.7 | here | restored by `compat` as |'
    """
    from muse_core.framework.defects import Defects
    from muse_core.framework.differences import ALWAYS

    lines = ["| what | C pipeline 2.8.7 | here | restored by `compat` as |", "| --- | --- | --- | --- |"]
    for name in Defects.about(topic):
        known = Defects.known(name)
        lines.append(f"| {known.subject} | {known.c} | {known.ours} (since {known.since}) | `{name}` |")
    for difference in ALWAYS:
        if difference.topic == topic:
            lines.append(f"| {difference.subject} | {difference.c} | {difference.ours} | |")
    return "\n".join(lines)


def updated(page: str) -> str:
    """Return a page with its marked tables made anew."""

    def fresh(match: re.Match[str]) -> str:
        return f"{match.group(1)}{table(match.group(2))}\n{match.group(3)}"

    return _MARKED.sub(fresh, page)

# SPDX-License-Identifier: BSD-3-Clause
"""Print, or write into a page, what the inputs of a recipe must say.

The rules are those that the recipes check (``muse_core.data.input_rules``). In a page they stand between the
lines ``<!-- rules: RECIPE -->`` and ``<!-- end of rules -->``.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muse_core.data.rules import Rule

SUMMARY = "rules for the values in the inputs of a recipe"

_MARKED = re.compile(r"(<!-- rules: (\w+) -->\n).*?(<!-- end of rules -->)", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument("recipe", nargs="?", default="muse_scipost", help="name of the recipe")
    parser.add_argument("--update", metavar="PAGE", type=Path, nargs="+", help="write them into these pages")


def main(args: argparse.Namespace) -> int:
    """Run ``musetools rules``."""
    for page in args.update or ():
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
    if args.update is None:
        print(table(args.recipe))
    return 0


def table(recipe: str) -> str:
    """Return the rules for all inputs of a recipe.

    >>> print(table("muse_exp_align").splitlines()[0])
    | input | what | must be | else |
    """
    from muse_core.data.input_rules import rules_of
    from muse_core.framework import registry

    lines = ["| input | what | must be | else |", "| --- | --- | --- | --- |"]
    tags: dict[tuple[Rule, ...], list[str]] = {}
    for declared in registry.load(recipe).spec.inputs:
        tags.setdefault(rules_of(recipe, declared.tag), []).append(declared.tag)
    for rules, alike in tags.items():
        for rule in rules:
            severity = "error" if rule.is_error else "warning"
            lines.append(f"| {', '.join(alike)} | {rule.item} | {rule.demand} | {severity} |")
    return "\n".join(lines)


def updated(page: str) -> str:
    """Return a page with its marked rules made anew."""
    return _MARKED.sub(lambda match: f"{match.group(1)}{table(match.group(2))}\n{match.group(3)}", page)

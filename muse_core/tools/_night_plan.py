# SPDX-License-Identifier: BSD-3-Clause
"""Planning the cascade of a folder of raw frames, as `musetools sof --night` and `musetools reduce` do it."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from muse_core.calib.plan import Step
from muse_core.tools._calib_options import options_of, rules_of, say

QUIET = ("C001", "C050", "C051", "C052")


def planned(args: argparse.Namespace, night: Path, output: Path | None) -> tuple[list[Step], Path]:
    """Plan the reduction of a folder, and write the plan.

    Parameters
    ----------
    args : options of `add_choice_options`, and ``date``
    night : folder of the raw frames
    output : folder of the plan; without it ``sof`` in that of the raw frames

    Returns
    -------
    the steps, and the folder of the plan

    Raises
    ------
    RecipeError
        where there is nothing to plan for, or the folder cannot be written
    """
    from muse_core.calib.pins import check_wishes, idle_exclusions
    from muse_core.calib.places import add_simulated, open_library, search_order, tree_of
    from muse_core.calib.plan import plan_night
    from muse_core.calib.plan_files import write_plan

    rules, options = rules_of(args), options_of(args)
    check_wishes(options, rules, rules.recipes.values())
    folder = plan_folder(night, output)
    tree = tree_of(night)
    folders = [tree, *search_order(args.calib or [tree], simulated=options.simulated)]
    unique = dict.fromkeys(place.resolve() for place in folders)
    with closing(open_library(unique, rules, refresh=True, say=say)) as library:
        data = library.indexes[0]
        query = "SELECT 1 FROM file WHERE simulated = 1 AND kind = 'raw' LIMIT 1"
        if data.db.execute(query).fetchone():
            add_simulated(library, rules)
        for message in idle_exclusions(options, library):
            say(message)
        steps = plan_night(library, rules, options, data, str(folder), args.date)
    for text in write_plan(steps, folder, rules):
        say(text)
    return steps, folder


def plan_folder(night: Path, output: Path | None) -> Path:
    """Return the folder of the plan.

    Raises
    ------
    RecipeError
        where there is no folder of raw frames
    """
    from muse_core.framework.errors import RecipeError

    if not night.is_dir():
        raise RecipeError(f"{night}: is no folder; give the folder with the raw frames")
    return (output or night / "sof").absolute()


def plan_lines(steps: list[Step]) -> list[str]:
    """Return the plan as text, with what deserves a word under each step."""
    lines = []
    for step in steps:
        first = step.targets[0]
        lines.append(f"{step.name:<22} {len(step.targets):3d} x {first.tag:<18} {first.name}")
        lines += [f"   {m}" for m in step.sof.messages if m.code not in QUIET] if step.sof else []
    return lines

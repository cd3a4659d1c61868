# SPDX-License-Identifier: BSD-3-Clause
"""Write sets of frames: for one recipe and some files, or the whole cascade of a night.

``musetools sof muse_scibasic --for MUSE.2017-06-16T01:34:56.867.fits.fz -o x.sof`` finds the calibrations of
an exposure and says why it took each. ``musetools sof --night FOLDER`` plans everything from raw frames to
the combined cube: numbered sets of frames, plan.toml, and run.sh that runs it.

Exit: 0 all required frames found; 1 one is missing (the set is written as NAME.sof.incomplete); 2 wrong
usage; 3 damaged index.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from muse_core.tools._calib_options import DAMAGE, MISSING, add_choice_options, options_of, rules_of, say

SUMMARY = "write the set of frames of a recipe, or the cascade of a night"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", nargs="?", help="name of the recipe")
    parser.add_argument(
        "--for", dest="files", metavar="FILE", nargs="+", type=Path, default=[], help="its raw frames"
    )
    parser.add_argument(
        "--night", metavar="FOLDER", type=Path, help="plan the cascade for a folder of raw frames"
    )
    parser.add_argument(
        "--date", metavar="YYYY-MM-DD", action="append", default=[], help="only this night (repeatable)"
    )
    parser.add_argument("-o", "--output", type=Path, help="SOF to write (with --night: folder of the plan)")
    parser.add_argument(
        "--together", action="store_true", help="all files in one set, whatever the rules group"
    )
    parser.add_argument("--json", action="store_true", help="print reasons as JSON")
    add_choice_options(parser)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools sof``."""
    import sqlite3

    from muse_core.calib.store import IndexDamagedError, index_trouble

    if bool(args.night) == bool(args.recipe) or (args.recipe and not args.files):
        say("musetools sof: give a recipe and --for FILE..., or --night FOLDER")
        return 2
    try:
        return _night(args) if args.night else _recipe(args)
    except IndexDamagedError as error:
        say(f"musetools sof: {error}")
        return DAMAGE
    except sqlite3.Error as error:
        say(f"musetools sof: {index_trouble(error)}")
        return DAMAGE


def _recipe(args: argparse.Namespace) -> int:
    from muse_core.calib.compose import compose, groups_of, write_sof
    from muse_core.calib.pins import check_wishes, idle_exclusions
    from muse_core.calib.places import add_simulated, open_library, search_order
    from muse_core.framework.errors import RecipeError

    rules, options = rules_of(args), options_of(args)
    recipe = rules.recipes.get(args.recipe)
    if recipe is None:
        raise RecipeError(f"no rule for the recipe {args.recipe}; there are: {', '.join(rules.recipes)}")
    check_wishes(options, rules, [recipe])
    folders = search_order(args.calib, args.files, simulated=options.simulated)
    told = []
    with closing(open_library(folders, rules, refresh=args.refresh, say=say)) as library:
        targets = library.targets(args.files)
        if any(target.simulated for target in targets):
            add_simulated(library, rules)
        for message in idle_exclusions(options, library):
            say(message)
        groups = [targets] if args.together else groups_of(recipe, targets)
        for number, group in enumerate(groups, 1):
            sof = compose(recipe, group, library, rules, options)
            written = write_sof(sof, _name(args, number, len(groups)), rules)
            told.append({"sof": str(written), **_told(sof)})
            if not args.json:
                for message in sof.messages:
                    say(message)
                print(written)
    if args.json:
        print(json.dumps(told, indent=1))
    return _status(args, told)


def _told(sof: Any) -> dict[str, Any]:
    return {"missing": sof.missing, "messages": [[m.code, m.text] for m in sof.messages]}


def _status(args: argparse.Namespace, told: list[dict[str, Any]]) -> int:
    """Exit code: something required is missing, or with --strict something is doubtful."""
    from muse_core.calib.messages import DOUBTFUL

    codes = {code for entry in told for code, _ in entry["messages"]}
    if any(entry["missing"] for entry in told):
        return MISSING
    if args.strict and (doubtful := sorted(codes & DOUBTFUL)):
        say(f"musetools sof: --strict: doubtful, see {', '.join(doubtful)} above")
        return MISSING
    return 0


def _name(args: argparse.Namespace, number: int, count: int) -> Path:
    path = args.output or Path(f"{args.recipe}.sof")
    return path if count == 1 else path.with_name(f"{path.stem}_{number:02d}{path.suffix}")


def _night(args: argparse.Namespace) -> int:
    from muse_core.tools._night_plan import plan_lines, planned

    steps, folder = planned(args, args.night, args.output)
    told = [{"step": step.name, "needs": step.needs, **_told(step.sof)} for step in steps if step.sof]
    if args.json:
        print(json.dumps(told, indent=1))
    else:
        print("\n".join([*plan_lines(steps), str(folder / "plan.toml"), str(folder / "run.sh")]))
    return _status(args, told)

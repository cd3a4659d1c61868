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
    from muse_core.calib.store import IndexDamagedError

    if bool(args.night) == bool(args.recipe) or (args.recipe and not args.files):
        say("musetools sof: give a recipe and --for FILE..., or --night FOLDER")
        return 2
    try:
        return _night(args) if args.night else _recipe(args)
    except IndexDamagedError as error:
        say(f"musetools sof: {error}")
        return DAMAGE


def _recipe(args: argparse.Namespace) -> int:
    from muse_core.calib.compose import compose, groups_of, write_sof
    from muse_core.calib.places import open_library, search_order
    from muse_core.framework.errors import RecipeError

    rules, options = rules_of(args), options_of(args)
    recipe = rules.recipes.get(args.recipe)
    if recipe is None:
        raise RecipeError(f"no rule for the recipe {args.recipe}; there are: {', '.join(rules.recipes)}")
    folders = search_order(args.calib, args.files, simulated=options.simulated)
    library = open_library(folders, rules, refresh=args.refresh, say=say)
    targets: dict[Any, Any] = {}
    for path in args.files:
        target = library.target(path)
        targets.setdefault(target.files, target)
    if any(target.simulated for target in targets.values()) and not options.simulated:
        library.close()  # data of the simulator may use its calibrations without being asked
        library = open_library(search_order(args.calib, args.files, simulated=True), rules, say=say)
    groups = [list(targets.values())] if args.together else groups_of(recipe, targets.values())
    status, told = 0, []
    for number, group in enumerate(groups, 1):
        sof = compose(recipe, group, library, rules, options)
        path = _name(args, number, len(groups))
        written = write_sof(sof, path, rules)
        told.append(
            {
                "sof": str(written),
                "missing": sof.missing,
                "messages": [[m.code, m.text] for m in sof.messages],
            }
        )
        if not args.json:
            for message in sof.messages:
                say(message)
            print(written)
        doubtful = args.strict and any(m.code in ("C040", "C041", "C042", "C080") for m in sof.messages)
        status = MISSING if sof.missing or doubtful else status
    library.close()
    if args.json:
        print(json.dumps(told, indent=1))
    return status


def _name(args: argparse.Namespace, number: int, count: int) -> Path:
    path = args.output or Path(f"{args.recipe}.sof")
    return path if count == 1 else path.with_name(f"{path.stem}_{number:02d}{path.suffix}")


def _night(args: argparse.Namespace) -> int:
    from muse_core.calib.compose import write_sof
    from muse_core.calib.places import open_library, search_order, tree_of
    from muse_core.calib.plan import plan_night, plan_text, script_text
    from muse_core.framework.errors import RecipeError

    rules, options = rules_of(args), options_of(args)
    if not args.night.is_dir():
        raise RecipeError(f"{args.night}: is no folder; give the folder with the raw frames")
    tree = tree_of(args.night)
    folders = [tree, *search_order(args.calib or [tree], simulated=options.simulated)]
    library = open_library(
        dict.fromkeys(folder.resolve() for folder in folders), rules, refresh=True, say=say
    )
    data = library.indexes[0]
    simulated = data.db.execute("SELECT 1 FROM file WHERE simulated = 1 AND kind = 'raw' LIMIT 1").fetchone()
    if simulated and not options.simulated:
        library.close()
        folders = [tree, *search_order(args.calib or [tree], simulated=True)]
        library = open_library(dict.fromkeys(folder.resolve() for folder in folders), rules, say=say)
        data = library.indexes[0]
    folder = (args.output or args.night / "sof").absolute()
    steps = plan_night(library, rules, options, data, str(folder), args.date)
    folder.mkdir(parents=True, exist_ok=True)
    status, told = 0, []
    for step in steps:
        if step.sof is None:
            continue
        write_sof(step.sof, folder / f"{step.name}.sof", rules)
        status = MISSING if step.sof.missing else status
        told.append({"step": step.name, "missing": step.sof.missing, "needs": step.needs})
        if not args.json:
            gaps = "".join(
                f"\n   {m}" for m in step.sof.messages if m.code not in ("C001", "C050", "C051", "C052")
            )
            print(
                f"{step.name:<22} {len(step.targets):3d} x {step.targets[0].tag:<18} "
                f"{step.targets[0].name}{gaps}"
            )
    (folder / "plan.toml").write_text(plan_text(steps, rules, str(folder)), encoding="utf-8")
    script = folder / "run.sh"
    script.write_text(script_text(steps), encoding="utf-8")
    script.chmod(0o755)
    library.close()
    print(json.dumps(told, indent=1) if args.json else f"{folder / 'plan.toml'}\n{script}")
    return status

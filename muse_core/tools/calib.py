# SPDX-License-Identifier: BSD-3-Clause
"""Calibration files: index folders, list and find, verify, mark.

``musetools calib index FOLDER`` reads the headers of a folder of archive files and products, in any order and
depth; a second time only new and changed files are opened. ``musetools calib find --for FILE TAG`` says which
calibration belongs to an exposure, with ``--explain`` also why every other one does not.

Exit: 0 good; 1 nothing found; 2 wrong usage; 3 damage (index, files).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from muse_core.calib.messages import DOUBTFUL, NOT_OF_USE
from muse_core.tools._calib_options import DAMAGE, MISSING, add_choice_options, options_of, rules_of, say

SUMMARY = "index calibration files, find the right one, verify"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    index = actions.add_parser("index", help="read the headers of folders, or only what is new in them")
    index.add_argument("folders", nargs="+", metavar="FOLDER", type=Path)
    index.add_argument("--rules", type=Path, help="rules of yours, merged over muse_rules.toml")
    table = actions.add_parser("list", help="what is in a folder")
    table.add_argument("folders", nargs="*", metavar="FOLDER", type=Path, default=[Path()])
    table.add_argument("--tag", type=str.upper, help="only this tag")
    table.add_argument("--night", help="only this night (date of its evening)")
    table.add_argument("--files", action="store_true", help="files, not sets")
    table.add_argument("--tree", action="store_true", help="as if sorted into folders by our advice")
    table.add_argument("--json", action="store_true")
    table.add_argument("--rules", type=Path, help=argparse.SUPPRESS)
    find = actions.add_parser("find", help="the calibration of an exposure, or what a product used")
    find.add_argument("--for", dest="file", metavar="FILE", type=Path, help="exposure to be calibrated")
    find.add_argument("tags", nargs="*", metavar="TAG", type=str.upper)
    find.add_argument("--explain", action="store_true", help="every candidate, and what refused it")
    find.add_argument("--json", action="store_true")
    find.add_argument("--used-by", metavar="FILE", type=Path, help="what this product was made with")
    find.add_argument("--uses", metavar="FILE", type=Path, help="products that were made with this file")
    add_choice_options(find)
    check = actions.add_parser("verify", help="look for damage, incomplete sets, names that lie")
    check.add_argument("folders", nargs="+", metavar="FOLDER", type=Path)
    how = check.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_const", dest="how", const="quick", help="headers only")
    how.add_argument(
        "--full", action="store_const", dest="how", const="full", help="also the sums of the data"
    )
    check.add_argument("--rules", type=Path, help=argparse.SUPPRESS)
    verdict = actions.add_parser("mark", help="call files good or bad; survives moving and indexing again")
    verdict.add_argument("files", nargs="+", metavar="FILE", type=Path)
    verdict.add_argument("--as", dest="verdict", choices=("good", "bad", "none"), required=True)
    verdict.add_argument("--note", default="")
    verdict.add_argument("--rules", type=Path, help=argparse.SUPPRESS)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools calib``."""
    import sqlite3

    from muse_core.calib.store import IndexDamagedError, index_trouble

    actions = {"index": _index, "list": _list, "find": _find, "verify": _verify, "mark": _mark}
    try:
        return actions[args.action](args)
    except IndexDamagedError as error:
        say(f"musetools calib: {error}")
        return DAMAGE
    except sqlite3.Error as error:
        say(f"musetools calib: {index_trouble(error)}")
        return DAMAGE
    except KeyboardInterrupt:
        say("stopped; what was read so far is kept, the next run goes on from there")
        return 130


def _index(args: argparse.Namespace) -> int:
    from muse_core.calib.scan import scan
    from muse_core.calib.store import shown

    rules, status = rules_of(args), 0
    for folder in args.folders:
        index, report = scan(folder, rules, progress=_progress(), say=say)
        with index:
            counts = dict(
                index.db.execute(
                    "SELECT kind, COUNT(*) FROM file WHERE state = 'ok' AND kind <> 'xml'"
                    " GROUP BY kind ORDER BY kind"
                ).fetchall()
            )
            foreign = index.db.execute("SELECT COUNT(*) FROM file WHERE state = 'foreign'").fetchone()[0]
        for text in report.remarks:
            say(text)
        for path, reason in sorted(report.bad):
            say(f"{shown(path)}: {reason}")
        parts = [f"{number} {kind}" for kind, number in counts.items()]
        parts += [f"{foreign} not of MUSE"] if foreign else []
        parts += [f"{len(report.bad)} that cannot be read"] if report.bad else []
        print(
            f"{shown(report.root)}: {report.seen} files ({', '.join(parts) or 'none'}); {report.read} read, "
            f"{report.gone} gone, {report.seconds:.1f} s"
        )
        status = DAMAGE if report.bad else status
    return status


def _progress() -> Callable[[int], None]:
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda seen: print(f"\r{seen} files", end="\r", file=sys.stderr, flush=True)


@contextmanager
def _library(
    args: argparse.Namespace, rules: Any, data: list[Path], simulated: bool = False
) -> Iterator[Any]:
    from muse_core.calib.places import open_library, search_order

    folders = search_order(args.calib, data, simulated=simulated)
    with closing(open_library(folders, rules, refresh=args.refresh, say=say)) as library:
        yield library


def _find(args: argparse.Namespace) -> int:
    if args.used_by or args.uses:
        return _provenance(args)
    if not args.file or not args.tags:
        say("musetools calib find: give --for FILE and at least one TAG (or --used-by FILE, --uses FILE)")
        return 2
    from muse_core.calib.pins import check_wishes, idle_exclusions
    from muse_core.calib.places import add_simulated

    rules, options = rules_of(args), options_of(args)
    check_wishes(options, rules, rules.recipes.values())
    _known(args.tags, rules)
    with _library(args, rules, [args.file], options.simulated) as library:
        target = library.target(args.file)
        if target.simulated:
            add_simulated(library, rules)
        for message in (*target.notes, *idle_exclusions(options, library)):
            say(message)
        answers = _answers(args.tags, target, library, rules, options)
    if args.json:
        print(json.dumps([_as_json(choice, args.explain) for choice in answers], indent=1))
    else:
        for choice in answers:
            _print_choice(choice, target, explain=args.explain)
    codes = {message.code for choice in answers for message in choice.messages}
    doubtful = args.strict and codes & DOUBTFUL
    return MISSING if "C030" in codes or doubtful else 0


def _known(tags: list[str], rules: Any) -> None:
    from muse_core.framework.errors import RecipeError, did_you_mean

    known = {
        *rules.kinds,
        *rules.associations,
        *(t for r in rules.recipes.values() for t in (*r.raw, *r.takes)),
    }
    known |= {entry["tag"] for entry in rules.data["classify"]["raw"]}
    for tag in tags:
        if tag not in known:
            raise RecipeError(f"{tag}: no tag of the rules{did_you_mean(tag, known)}")


def _answers(tags: list[str], target: Any, library: Any, rules: Any, options: Any) -> list[Any]:
    from muse_core.calib.choose import choose, gap, walked

    answers: list[Any] = []
    chosen: dict[Any, Any] = {}
    for tag in tags:
        leader = rules.association(tag).follows
        if leader and leader not in chosen:  # TRACE_TABLE follows MASTER_FLAT, and so on
            first = choose(leader, target, library, rules, options)
            chosen |= {leader: first.candidate} if first.candidate else {}
        choice = choose(tag, target, library, rules, options, chosen=chosen)
        if choice.candidate is not None:
            chosen[tag] = choice.candidate
            walked(choice, target)
        elif not {message.code for message in choice.messages} & NOT_OF_USE:
            choice.messages.append(gap(choice, target, rules))
        answers.append(choice)
    return answers


def _as_json(choice: Any, explain: bool) -> dict:
    found = choice.candidate
    answer = {
        "tag": choice.tag,
        "files": list(found.files or (found.path,)) if found else [],
        "level": choice.level,
        "messages": [[message.code, message.text] for message in choice.messages],
    }
    if explain:
        answer["candidates"] = [
            {"path": j.candidate.path, "level": j.level, "refused_by": j.by, "reason": j.refused}
            for j in sorted(choice.judged, key=lambda j: j.candidate.path)
        ]
    return answer


def _print_choice(choice: Any, target: Any, *, explain: bool) -> None:
    from muse_core.calib.store import shown

    for message in choice.messages:
        say(message)
    if choice.candidate:
        for path in choice.candidate.files or (choice.candidate.path,):
            print(shown(path), choice.tag)
    if not explain:
        return
    nearest = sorted(
        choice.judged,
        key=lambda j: (j.level is None, abs((j.candidate.when or 0) - (target.mjd or 0)), j.candidate.path),
    )
    print(f"{len(nearest)} candidates, usable ones first, then by distance in time")
    for judged in nearest[:60]:
        verdict = (
            f"level {judged.level}"
            if judged.level is not None
            else f"refused by {judged.by}: {judged.refused}"
        )
        print(f"  {judged.candidate.label:<24} {verdict:<60} {shown(judged.candidate.path)}")
    if len(nearest) > 60:
        print(f"  ... and {len(nearest) - 60} more (--json lists all)")


def _provenance(args: argparse.Namespace) -> int:
    from muse_core.calib.provenance import used_by, users_of

    path = args.used_by or args.uses
    with _library(args, rules_of(args), [path]) as library:
        lines = used_by(library, path) if args.used_by else users_of(library, path)
    for line in lines:
        print(line)
    return 0 if lines else MISSING


def _list(args: argparse.Namespace) -> int:
    from muse_core.calib.listing import as_tree, list_files, list_sets
    from muse_core.calib.places import open_library, tree_of

    rules = rules_of(args)
    trees = dict.fromkeys(tree_of(folder).resolve() for folder in args.folders)
    with closing(open_library(trees, rules, say=say)) as library:
        if args.tree:
            print("\n".join(as_tree(library, args.tag, args.night)))
            return 0
        titles, rows = (list_files if args.files else list_sets)(library, args.tag, args.night)
    if args.json:
        print(json.dumps([dict(zip(titles, row, strict=True)) for row in rows], indent=1))
    elif sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(*titles, box=None, header_style="bold")
        for row in rows:
            table.add_row(*(str(value).replace("[", "\\[") for value in row))
        Console().print(table)
    else:
        for row in [titles, *rows]:
            print("\t".join(str(value) for value in row))
    return 0 if rows else MISSING


def _verify(args: argparse.Namespace) -> int:
    from muse_core.calib.scan import scan
    from muse_core.calib.verify import verify

    rules, damaged, count = rules_of(args), 0, 0
    for folder in args.folders:
        index, _ = scan(folder, rules, say=say)
        with index:
            for finding in verify(index, rules, args.how or "sizes"):
                print(finding)
                count += 1
                damaged += finding.damage
    print(f"{damaged} damaged, {count - damaged} remarks")
    return DAMAGE if damaged else 0


def _mark(args: argparse.Namespace) -> int:
    import getpass

    from muse_core.calib.marks import mark

    for line in mark(args.files, args.verdict, args.note, getpass.getuser(), rules_of(args)):
        print(line)
    return 0

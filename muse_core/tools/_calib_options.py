# SPDX-License-Identifier: BSD-3-Clause
"""Options that the commands about calibrations share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from muse_core.calib.judging import Options
from muse_core.calib.rules import Rules, load_rules
from muse_core.framework.errors import RecipeError

MISSING, DAMAGE = 1, 3


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options about choosing."""
    parser.add_argument("--calib", metavar="FOLDER", type=Path, action="append", default=[], help=(
        "folder with calibrations (repeatable; default: the indexed tree of the data), searched before "
        "MUSE_CALIB_DB, the static set of an installed C pipeline, and that of this project"))  # fmt: skip
    parser.add_argument(
        "--pin", metavar="TAG=FILE", action="append", default=[], help="take this file for this tag"
    )
    parser.add_argument(
        "--exclude",
        metavar="FILE",
        action="append",
        default=[],
        help="never take it (path, folder or pattern)",
    )
    parser.add_argument(
        "--use", metavar="TAG", action="append", default=[], help="take a tag the rules leave out"
    )
    parser.add_argument(
        "--rules", metavar="FILE", type=Path, help="rules of yours, merged over muse_rules.toml"
    )
    parser.add_argument("--max-level", metavar="N", type=int, default=3, help="worst level to accept (3)")
    parser.add_argument(
        "--strict", action="store_true", help="level 0 or better, whole sets, nothing doubtful"
    )
    parser.add_argument("--refresh", action="store_true", help="look for new files in indexed folders first")
    parser.add_argument(
        "--allow-simulated", action="store_true", help="take files of the simulated instrument for real data"
    )


def rules_of(args: argparse.Namespace) -> Rules:
    """Return the rules of a command."""
    return load_rules(args.rules)


def options_of(args: argparse.Namespace) -> Options:
    """Return the wishes of the user.

    Raises
    ------
    RecipeError
        for a pin that is not TAG=FILE
    """
    pins: dict[str, tuple[str, ...]] = {}
    for text in args.pin:
        tag, equals, name = text.partition("=")
        if not equals or not tag or not name:
            raise RecipeError(f"--pin {text}: expected TAG=FILE, for example --pin MASTER_FLAT=flat.fits")
        pins[tag.upper()] = (*pins.get(tag.upper(), ()), str(Path(name).absolute()))
    exclude = tuple(
        text if "*" in text or "/" not in text else str(Path(text).absolute()) for text in args.exclude
    )
    return Options(
        pins=pins,
        exclude=exclude,
        use=frozenset(tag.upper() for tag in args.use),
        max_level=min(args.max_level, 0) if args.strict else args.max_level,
        simulated=args.allow_simulated,
    )


def say(text: object) -> None:
    """Tell the reader something beside the result."""
    print(str(text).encode("utf-8", "backslashreplace").decode(), file=sys.stderr)

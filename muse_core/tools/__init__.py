# SPDX-License-Identifier: BSD-3-Clause
"""``musetools``: everything that is not running a recipe. One module of this package is one sub-command."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path


def command_names() -> list[str]:
    """List the sub-commands: the modules of this package, underscores written as dashes."""
    here = Path(__file__).parent
    return sorted(path.stem.replace("_", "-") for path in here.glob("*.py") if not path.stem.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``musetools``; returns the exit status."""
    from muse_core.framework import RecipeError

    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="musetools", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    wanted = [name for name in arguments[:1] if name in command_names()] or command_names()
    modules = {}
    for name in wanted:
        module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
        module.add_arguments(commands.add_parser(name, help=module.SUMMARY, description=module.__doc__))
        modules[name] = module
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return int(modules[options.command].main(options) or 0)
    except (RecipeError, OSError) as error:
        print(f"musetools {options.command}: {error}", file=sys.stderr)
        return 1

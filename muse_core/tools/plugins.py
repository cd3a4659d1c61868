# SPDX-License-Identifier: BSD-3-Clause
"""Make the recipes available to esorex, EsoReflex, python-cpl and PyCPL (C plugin), and to pyesorex.

``musetools plugins --install DIR`` compiles the plugin library for each recipe into DIR, to be used as
``esorex --recipe-dir=DIR`` or ESOREX_PLUGIN_DIR. With ``--with-c`` links to the recipes of the C pipeline
that we do not have lie beside them, so that this one folder serves. ``musetools plugins --path`` prints the
folder for PYESOREX_PLUGIN_DIR. ``musetools plugins --esorex-python DIR`` writes one Python file for an esorex
that was built with its Python extension.
"""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "install the recipes into esorex and other hosts"
USUAL_PLACES = Path()  # --with-c without a folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--path", action="store_true", help="print the folder to use as PYESOREX_PLUGIN_DIR")
    action.add_argument("--install", metavar="DIR", type=Path, help="compile the C plugins into this folder")
    action.add_argument(
        "--esorex-python", metavar="DIR", type=Path, help="write the file for esorex's Python extension"
    )
    parser.add_argument(
        "--with-c",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        const=USUAL_PLACES,
        help="link the C recipes that we do not have, too (default: from where the C pipeline is installed)",
    )
    parser.add_argument(
        "--leave", metavar="RECIPE", action="append", default=[], help="leave a recipe to the C pipeline"
    )
    parser.add_argument(
        "--recipe-dir", metavar="DIR", type=Path, action="append", default=[], help="more recipe files"
    )
    parser.add_argument("--compiler", default=None, help="C compiler (default: $CC, else cc)")


def main(args: argparse.Namespace) -> int:
    """Run ``musetools plugins``."""
    if args.path:
        from muse_core.framework.registry import recipe_folder

        print(recipe_folder())
        return 0
    if args.esorex_python is not None:
        from muse_core.hosts.esorex_python import install_file

        print(install_file(args.esorex_python, extra=args.recipe_dir))
        return 0
    from muse_core.hosts.c_recipes import c_libraries, find_c_folder, link_c_recipes
    from muse_core.hosts.installation import install_plugins

    libraries = None
    if args.with_c is not None:  # before anything is written
        source = find_c_folder() if args.with_c is USUAL_PLACES else args.with_c.expanduser()
        libraries = c_libraries(source, args.install)
    installed = install_plugins(args.install, extra=args.recipe_dir, compiler=args.compiler, leave=args.leave)
    links = []
    if libraries is not None:
        links = link_c_recipes(args.install, libraries, ours=[path.stem for path in installed])
    for path in [*installed, *links]:
        print(path)
    folder = args.install.resolve()
    count = f"{len(installed)} recipes installed"
    if links:
        count += f", {len(links)} of the C pipeline linked"
    print(f"\n{count}. Use them with one of\n")
    print(f"  esorex --recipe-dir={folder} --recipes\n  export ESOREX_PLUGIN_DIR={folder}")
    return 0

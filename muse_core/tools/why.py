# SPDX-License-Identifier: BSD-3-Clause
"""Tell how a product came to be: recipe, version, parameters, inputs with their checksums.

With --rerun FOLDER the recipe is run again with the same parameters on the same inputs, looked for beside the
product and in the folders given by --inputs; the new product is compared with the old one.
Exit: 0 told (and the same, if it was made again); 1 it differs.
"""

from __future__ import annotations

import argparse
import glob
from pathlib import Path

from muse_core.framework import InputError
from muse_core.framework.record import FileRecord, RunRecord

SUMMARY = "how a product was made; make it again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument("product", type=Path)
    parser.add_argument("--rerun", type=Path, metavar="FOLDER", help="make it again in this (new) folder")
    parser.add_argument(
        "--inputs",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="where its inputs are, at any depth",
    )


def main(args: argparse.Namespace) -> int:
    """Run ``musetools why``."""
    from muse_core.framework.fits_file import read_header
    from muse_core.framework.record import record_from_header

    header = read_header(args.product)
    if "ESO PRO REC1 ID" not in header:
        raise InputError(
            args.product, "keyword ESO PRO REC1 ID", expected="the name of a recipe", found="none",
            remedy="Give a product of a recipe.",
        )  # fmt: skip
    record = record_from_header(header, [])
    print(f"{args.product}: {header.get('ESO PRO CATG', '')} of {record.recipe}, {record.version}")
    if record.started:
        print(f"written {record.started}" + (", compatible mode" if record.compatible else ""))
    for name, text in record.parameters.items():
        print(f"  {name} = {text}")
    for file in record.inputs:
        print(f"  {file.group:5} {file.tag:20} {file.name} {file.checksum}".rstrip())
    return _again(args, record) if args.rerun else 0


def _again(args: argparse.Namespace, record: RunRecord) -> int:
    """Make the product again, and compare it."""
    from muse_core.framework import run_recipe
    from muse_core.report.comparison import compare_files

    places = [args.product.resolve().parent, *args.inputs]
    frames = [(_find(file, places), file.tag) for file in record.inputs]
    args.rerun.mkdir(parents=True)  # a folder of the user's is not filled
    products = run_recipe(record.recipe, frames, record.parameters, workdir=args.rerun)
    new = next((p.path for p in products if p.path.name == args.product.name), None)
    if new is None:
        print(f"no {args.product.name} was made; there are {', '.join(p.path.name for p in products)}")
        return 1
    same = compare_files(args.product, new).same_data
    print(f"{new}: " + ("the data are the same" if same else "the data differ; see musetools compare"))
    return 0 if same else 1


def _find(file: FileRecord, places: list[Path]) -> Path:
    """Return the file of that name, by its checksum where there are several."""
    from muse_core.framework.errors import RecipeError
    from muse_core.framework.fits_file import read_header

    pattern = glob.escape(Path(file.name).name)
    by_place: dict[Path, Path] = {}  # a file that is reached in two ways is one
    for path in (p for place in places for p in sorted(place.rglob(pattern)) if p.is_file()):
        by_place.setdefault(path.resolve(), path)
    found = list(by_place.values())
    if file.checksum:
        sums: dict[Path, str] = {}
        for path in found:
            try:
                sums[path] = str(read_header(path).get("DATAMD5", ""))
            except RecipeError:
                continue
        right = [path for path, text in sums.items() if text == file.checksum]
        found = right[:1] or [path for path, text in sums.items() if not text]
    if not found:
        raise InputError(
            file.name, f"input {file.tag}", expected="the file that the product was made of",
            found=f"none in {', '.join(map(str, places))}", remedy="Name its folder by --inputs.",
        )  # fmt: skip
    if len(found) > 1:
        print(f"{file.name}: {len(found)} files of this name, no checksum tells which; {found[0]} is taken")
    return found[0]

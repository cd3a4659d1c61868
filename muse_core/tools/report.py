# SPDX-License-Identifier: BSD-3-Clause
"""Make a quality page of products that are there already, also of those of the C pipeline.

Give the products of one run (cube, sky spectra, pixel tables, sky flat and its model, ...), in any order;
what they are is read from their headers. The page is one HTML file and needs nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

SUMMARY = "quality page of products, ours or those of the C pipeline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument("products", nargs="+", type=Path, metavar="PRODUCT", help="FITS files of one run")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=None,
        help="the page (default: <recipe>_report.html beside the first product)",
    )


def main(args: argparse.Namespace) -> int:
    """Run ``musetools report``."""
    from muse_core.framework.errors import Problems, RecipeError
    from muse_core.framework.frames import Frame
    from muse_core.framework.input_files import InputFiles
    from muse_core.report.products import page_of_products

    problems = Problems()
    with tempfile.TemporaryDirectory() as scratch, InputFiles(Path(scratch)) as files:
        plain = files.admit([Frame(path, "PRODUCT") for path in args.products], problems)
        problems.raise_if_any()
        try:
            recipe, html = page_of_products([frame.path for frame in plain])
        except RecipeError as error:
            raise files.renamed(error) from None
    target = args.output or args.products[0].parent / f"{recipe}_report.html"
    target.write_text(html, encoding="utf-8")
    print(target)
    return 0

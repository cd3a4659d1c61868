# SPDX-License-Identifier: BSD-3-Clause
"""Compare two products: keywords, columns and pixels, in numbers and in units of the error.

Keywords that differ between any two runs (dates, checksums) are passed over. Exit: 0 the data are the same,
1 they differ.
"""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "what differs between two products"
MOST = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="write a page with maps of the differences (HTML)")


def main(args: argparse.Namespace) -> int:
    """Run ``musetools compare``."""
    from muse_core.framework.record import RunRecord
    from muse_core.report.comparison import compare_files, comparison_page

    found = compare_files(args.first, args.second)
    for text in found.shapes:
        print(text)
    for n in found.numbers:
        if n.different:
            errors = "" if n.chi != n.chi else f", rms {n.chi:.3g} errors"
            finite = f", {n.not_finite} finite in one only" if n.not_finite else ""
            sizes = f"largest {n.largest:.6g}, rms {n.rms:.6g}{errors}{finite}"
            print(f"{n.name}: {n.different} of {n.size} differ, {sizes}")
    for extension, key, a, b in found.keywords[:MOST]:
        print(f"{extension} {key}: {a} | {b}")
    if len(found.keywords) > MOST:
        print(f"... {len(found.keywords) - MOST} more keywords differ")
    print("the data are the same" if found.same_data else "the data differ")
    if args.output:
        page = comparison_page(args.first, args.second, found).html(RunRecord("comparison"))
        args.output.write_text(page, encoding="utf-8")
        print(args.output)
    return 0 if found.same_data else 1

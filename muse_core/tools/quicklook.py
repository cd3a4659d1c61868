# SPDX-License-Identifier: BSD-3-Clause
"""A picture of anything: cube, image, pixel table, spectrum.

A cube gives its white-light and colour image, the spectrum of its brightest object, level and noise of its
background; a pixel table its slices against wavelength.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from muse_core.framework import InputError

SUMMARY = "a picture of a cube, an image, a pixel table, a spectrum"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "-o", "--output", type=Path, help="the picture (PNG, PDF, SVG); default: <file>.png here"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a picture of that name")


def main(args: argparse.Namespace) -> int:
    """Run ``musetools quicklook``."""
    from muse_core.report.quicklook import quick_figure

    target = args.output or Path(f"{args.file.name.removesuffix('.fits')}.png")
    if target.exists() and not args.overwrite:
        raise InputError(
            target, "picture", expected="a new file", found="one that is there",
            remedy="Give another name by -o, or --overwrite.",
        )  # fmt: skip
    quick_figure(args.file).savefig(target, dpi=120)
    print(target)
    return 0

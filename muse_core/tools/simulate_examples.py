# SPDX-License-Identifier: BSD-3-Clause
"""Simulate the data of all sets of frames in ``sof_examples``.

Example: ``musetools simulate-examples EX`` (60 MB), then for any of them
``MUSE_EXAMPLES=EX muserun muse_scipost --skymethod=simple sof_examples/scipost_single.sof``; the command that
fits each example stands in its first lines.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

SUMMARY = "simulate the data of the examples in sof_examples"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("outdir", type=Path, help="folder for the files")
    parser.add_argument("--threads", type=int, default=2)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools simulate-examples``."""
    from muse_core.framework.registry import shipped_folder
    from muse_core.simulate.examples import simulate_examples

    started = time.perf_counter()
    names = simulate_examples(args.outdir, args.threads)
    _reduce(args.outdir / "several", args.threads)
    size = sum(path.stat().st_size for path in args.outdir.rglob("*") if path.is_file())
    print(f"{args.outdir}: {', '.join(names)}; {size / 1e6:.0f} MB in {time.perf_counter() - started:.1f} s")
    print(f"export MUSE_EXAMPLES={args.outdir.resolve()}\nexamples: {shipped_folder('sof_examples')}")
    return 0


def _reduce(folder: Path, threads: int) -> None:
    """Reduce the exposures of a folder one by one, as muse_exp_combine takes them."""
    from muse_core.framework import run_recipe

    target = folder / "reduced"
    target.mkdir(exist_ok=True)
    frames = [(path, "PIXTABLE_OBJECT") for path in sorted(folder.glob("PIXTABLE_OBJECT_*.fits"))]
    for tag in ("EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC", "ASTROMETRY_WCS"):
        frames.append((folder / f"{tag.lower()}.fits", tag))
    settings = {"skymethod": "simple", "save": "individual"}
    run_recipe("muse_scipost", frames, settings, workdir=target, threads=threads)

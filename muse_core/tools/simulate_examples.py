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
    from muse_core.framework.places import shipped_folder
    from muse_core.simulate.examples import simulate_examples

    started = time.perf_counter()
    names = simulate_examples(args.outdir, args.threads)
    _reduce(args.outdir, args.threads)
    size = sum(path.stat().st_size for path in args.outdir.rglob("*") if path.is_file())
    print(f"{args.outdir}: {', '.join(names)}; {size / 1e6:.0f} MB in {time.perf_counter() - started:.1f} s")
    print(f"export MUSE_EXAMPLES={args.outdir.resolve()}\nexamples: {shipped_folder('sof_examples')}")
    return 0


def _reduce(root: Path, threads: int) -> None:
    """Make the tables half way through the reduction, for muse_exp_combine and the single steps."""
    from muse_core.framework import run_recipe

    curves = ("EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC")
    runs: tuple[tuple[str, str, str, tuple[str, ...], dict[str, str]], ...] = (
        ("muse_scipost", "several", "reduced", (*curves, "ASTROMETRY_WCS"), {"save": "individual"}),
        ("muse_scipost", "single", "sky", (*curves, "ASTROMETRY_WCS"), {"save": "skymodel"}),
        ("muse_scipost_calibrate_flux", "single", "calibrated", curves, {}),
    )
    for recipe, field, made, tags, settings in runs:
        folder = root / field
        target = folder / made
        target.mkdir(exist_ok=True)
        frames = [(path, "PIXTABLE_OBJECT") for path in sorted(folder.glob("PIXTABLE_OBJECT_*.fits"))]
        frames += [(folder / f"{tag.lower()}.fits", tag) for tag in tags]
        method = {"skymethod": "simple"} if recipe == "muse_scipost" else {}
        run_recipe(recipe, frames, method | settings, workdir=target, threads=threads)

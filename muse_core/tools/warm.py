# SPDX-License-Identifier: BSD-3-Clause
"""Compile the kernels of muse_scipost once, so that its first run does not have to."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

SUMMARY = "compile the kernels of muse_scipost"

VARIANTS: tuple[dict[str, object], ...] = (
    {"skymethod": "simple", "save": "cube,combined,stacked,skymodel"},
    {"skymethod": "model", "save": "cube,individual"},
    {"skymethod": "none", "resample": "nearest", "astrometry": False},
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no options."""
    parser.add_argument("--threads", type=int, default=2)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools warm``: tiny runs of `muse_scipost` with its most used options."""
    import warnings

    from muse_core.framework import run_recipe
    from muse_core.simulate.scipost import simulate_scipost

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        simulation = simulate_scipost(
            folder / "in", n_ifu=1, slices=6, columns=20, lambda_range=(6280.0, 6330.0), threads=args.threads
        )
        for number, options in enumerate(VARIANTS):
            out = folder / str(number)
            out.mkdir()
            settings = {"save": "cube", **options}
            run_recipe("muse_scipost", simulation.frames(), settings, workdir=out, threads=args.threads)
    print(f"kernels compiled in {time.monotonic() - started:.0f} s")
    return 0

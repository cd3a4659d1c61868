# SPDX-License-Identifier: BSD-3-Clause
"""Simulate a night as the archive delivers it: raw frames, long-term files and masters, with some traps.

Example: ``musetools simulate-night OUT`` (two IFUs with small detectors, 60 MB), then
``musetools sof --night OUT`` plans its reduction. ``--raw-only`` leaves the masters to be made.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

SUMMARY = "simulate a night of raw frames, with masters and the traps of real archives"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("outdir", type=Path, help="folder for the files")
    parser.add_argument("--ifus", type=int, default=2, help="number of IFUs, from IFU 1 (2)")
    parser.add_argument("--nx", type=int, default=512, help="columns of one quadrant (real: 2048)")
    parser.add_argument("--ny", type=int, default=64, help="rows of one quadrant (real: 2056)")
    parser.add_argument("--mode", default="WFM-AO-N", help="instrument mode of the science (WFM-AO-N)")
    parser.add_argument("--objects", type=int, default=2, help="science exposures (2)")
    parser.add_argument("--raw-only", action="store_true", help="no masters")
    parser.add_argument("--no-traps", action="store_true", help="nothing that goes wrong in real archives")
    parser.add_argument("--seed", type=int, default=1)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools simulate-night``."""
    from muse_core.framework import RecipeError
    from muse_core.simulate.night import NightSetup, simulate_night
    from muse_core.simulate.night_light import LEAST_HEIGHT
    from muse_core.simulate.raw_instrument import RawSetup

    if not 1 <= args.ifus <= 24 or min(args.nx, args.ny) < 32 or args.nx < 192 or args.objects < 1:
        raise RecipeError("use 1 to 24 IFUs, nx of at least 192, ny of at least 32, and one object or more")
    if args.mode.split("-")[0] not in ("WFM", "NFM"):
        raise RecipeError(
            f"--mode {args.mode}: a mode is WFM-NOAO-N, WFM-NOAO-E, WFM-AO-N, WFM-AO-E or NFM-AO-N"
        )
    # arcs are identified by the real sampling: 1.24 Angstrom per pixel on detectors of full height
    low, high = (4500.0, 9600.0) if args.ny >= LEAST_HEIGHT else (RawSetup.lambda_min, RawSetup.lambda_max)
    raw = RawSetup(
        seed=args.seed, nx=args.nx, ny=args.ny, ifus=tuple(range(1, args.ifus + 1)), cosmics=5,
        lambda_min=low, lambda_max=high,
    )  # fmt: skip
    counts = tuple((tag, args.objects if tag == "OBJECT" else n) for tag, n in NightSetup().counts)
    night = NightSetup(raw=raw, mode=args.mode, counts=counts, traps=not args.no_traps)
    started = time.perf_counter()
    frames = simulate_night(args.outdir, night, masters=not args.raw_only)
    size = sum(path.stat().st_size for path in args.outdir.rglob("*.fits"))
    seconds = time.perf_counter() - started
    print(f"{args.outdir}: {len(frames)} raw frames, {size / 1e6:.0f} MB in {seconds:.1f} s")
    return 0

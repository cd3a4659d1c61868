# SPDX-License-Identifier: BSD-3-Clause
"""Simulate raw sky flats and all calibrations for muse_twilight.

With a twilight.sof and the truth beside them.

Examples: ``musetools simulate-twilight OUT`` (six IFUs with small detectors, 90 MB),
``musetools simulate-twilight OUT --ifus 24 --nx 2048 --ny 2056`` (real detectors: 20 GB).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

SUMMARY = "simulate raw sky flats and calibrations for muse_twilight, with truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("outdir", type=Path, help="folder for the files")
    parser.add_argument("--ifus", type=int, default=6, help="number of IFUs, from IFU 1")
    parser.add_argument("--nx", type=int, default=512, help="columns of one quadrant (real: 2048)")
    parser.add_argument("--ny", type=int, default=128, help="rows of one quadrant (real: 2056)")
    parser.add_argument("--mode", default="WFM-NOAO-N", help="instrument mode")
    parser.add_argument("--vignetting", type=float, default=0.0, help="strength of the vignetted area")
    parser.add_argument("--skyflats", type=int, default=3, help="number of exposures")
    parser.add_argument("--saturated", type=float, default=0.0, help="fraction of saturated raw pixels")
    parser.add_argument("--no-illum", action="store_true", help="no ILLUM exposure")
    parser.add_argument("--per-ifu", action="store_true", help="one file per IFU for the masters")
    parser.add_argument("--seed", type=int, default=1)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools simulate-twilight``."""
    from muse_core.framework import RecipeError
    from muse_core.simulate.raw import RawSetup, simulate_raw

    if not 1 <= args.ifus <= 24 or min(args.nx, args.ny) < 32 or args.nx < 192:
        raise RecipeError("use 1 to 24 IFUs, nx of at least 192 and ny of at least 32")
    setup = RawSetup(
        seed=args.seed,
        nx=args.nx,
        ny=args.ny,
        ifus=tuple(range(1, args.ifus + 1)),
        mode=args.mode,
        vignetting=args.vignetting,
        saturated=args.saturated,
    )
    started = time.perf_counter()
    sof = simulate_raw(
        args.outdir, setup, skyflats=args.skyflats, illum=not args.no_illum, merged=not args.per_ifu
    )
    size = sum(path.stat().st_size for path in args.outdir.glob("*.fits"))
    print(f"{sof}: {size / 1e6:.0f} MB in {time.perf_counter() - started:.1f} s")
    return 0

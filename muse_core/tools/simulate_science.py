# SPDX-License-Identifier: BSD-3-Clause
"""Simulate raw science frames, sky flats and all calibrations: from muse_scibasic to the cube, with truth.

Examples: ``musetools simulate-science OUT`` (three IFUs with small detectors),
``musetools simulate-science OUT --ifus 24 --nx 2048 --ny 2056`` (real detectors: some 10 GB).
The folder then holds ``scibasic.sof``, ``twilight.sof`` and what muse_scipost needs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

SUMMARY = "simulate raw science frames and all calibrations, with truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("outdir", type=Path, help="folder for the files")
    parser.add_argument("--ifus", type=int, default=3, help="number of IFUs, from IFU 1")
    parser.add_argument("--nx", type=int, default=384, help="columns of one quadrant (real: 2048)")
    parser.add_argument("--ny", type=int, default=256, help="rows of one quadrant (real: 2056)")
    parser.add_argument("--mode", default="WFM-NOAO-N", help="instrument mode")
    parser.add_argument("--exposures", type=int, default=1, help="number of exposures of the object")
    parser.add_argument("--skyflats", type=int, default=3, help="number of sky flats; 0: none")
    parser.add_argument("--shift", type=float, default=0.1, help="error of the wavelengths in Angstrom")
    parser.add_argument("--lambda-range", type=float, nargs=2, default=(4600.0, 9400.0), metavar="A")
    parser.add_argument("--per-ifu", action="store_true", help="one file per IFU for the masters")
    parser.add_argument("--seed", type=int, default=1)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools simulate-science``."""
    from muse_core.framework import RecipeError
    from muse_core.simulate.raw import RawSetup
    from muse_core.simulate.raw_science import simulate_raw_science

    if not 1 <= args.ifus <= 24 or args.ny < 32 or args.nx < 144:
        raise RecipeError("use 1 to 24 IFUs, nx of at least 144 and ny of at least 32")
    setup = RawSetup(
        seed=args.seed,
        nx=args.nx,
        ny=args.ny,
        ifus=tuple(range(1, args.ifus + 1)),
        mode=args.mode,
        lambda_min=args.lambda_range[0],
        lambda_max=args.lambda_range[1],
    )
    started = time.perf_counter()
    science = simulate_raw_science(
        args.outdir,
        setup,
        exposures=args.exposures,
        skyflats=args.skyflats,
        shift=args.shift,
        merged=not args.per_ifu,
    )
    size = sum(path.stat().st_size for path in args.outdir.glob("*.fits"))
    seconds = time.perf_counter() - started
    print(f"{science.folder / 'scibasic.sof'}: {size / 1e6:.0f} MB in {seconds:.1f} s")
    return 0

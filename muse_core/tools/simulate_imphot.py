# SPDX-License-Identifier: BSD-3-Clause
"""Simulate MUSE images and an HST image of one sky, with known PSF, offsets and scales, for muse_imphot.

An imphot.sof and the truth lie beside them. Example: ``musetools simulate-imphot OUT --exposures 3``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

SUMMARY = "simulate the inputs of muse_imphot, with truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("outdir", type=Path, help="folder for the files")
    parser.add_argument("--exposures", type=int, default=2)
    parser.add_argument("--size", type=float, default=24.0, help="side of the MUSE images [arcsec] (24)")
    parser.add_argument("--stars", type=int, default=4)
    parser.add_argument("--galaxies", type=int, default=50)
    parser.add_argument("--fwhm", type=float, default=0.65, help="of the MUSE PSF [arcsec] (0.65)")
    parser.add_argument("--noise", type=float, default=1.0, help="of a MUSE pixel (1)")
    parser.add_argument("--seed", type=int, default=1)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools simulate-imphot``."""
    import numpy as np

    from muse_core.framework import RecipeError
    from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, write_pair

    if not 1 <= args.exposures <= 700 or args.size < 6:
        raise RecipeError("use 1 to 700 exposures, and a size of at least 6 arcsec")
    started = time.perf_counter()
    args.outdir.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    sky = make_sky(args.seed, args.size, args.stars, args.galaxies)
    lines, frames = ["# file fwhm[arcsec] beta dx[arcsec] dy[arcsec] scale background"], []
    for number in range(1, args.exposures + 1):
        dx, dy = rng.normal(0.0, 0.2, 2)
        truth = PairTruth(
            fwhm=args.fwhm * rng.uniform(0.9, 1.1), dx=float(dx), dy=float(dy),
            scale=float(rng.normal(1.0, 0.05)), bg=float(rng.normal(0.0, 0.5)), noise=args.noise,
            size=args.size,
        )  # fmt: skip
        date = f"2026-01-{1 + number // 24:02d}T{number % 24:02d}:00:00"
        hst, muse = write_pair(
            args.outdir, f"exposure{number}", make_pair(sky, truth), truth, args.seed + number, date=date
        )
        if number == 1:
            frames.append((hst.rename(args.outdir / "hst.fits"), "HST_IMAGE"))
        else:
            hst.unlink()
        frames.append((muse, "IMAGE_FOV"))
        values = (truth.fwhm, truth.beta, truth.dx, truth.dy, truth.scale, truth.bg)
        lines.append(f"{muse.name} " + " ".join(f"{value:.5f}" for value in values))
    (args.outdir / "imphot.sof").write_text("".join(f"{path.name} {tag}\n" for path, tag in frames))
    (args.outdir / "truth.txt").write_text("\n".join(lines) + "\n")
    print(
        f"{args.exposures} MUSE images and hst.fits in {args.outdir}, {time.perf_counter() - started:.1f} s"
    )
    print(f"run it there: cd {args.outdir} && muserun muse_imphot imphot.sof")
    print(f"truth:        {args.outdir / 'truth.txt'}")
    return 0

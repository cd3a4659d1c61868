# SPDX-License-Identifier: BSD-3-Clause
"""Simulate field-of-view images of one star field with known pointing errors, for muse_exp_align.

An align.sof and the true offsets lie beside them. Example: ``musetools simulate-align OUT --exposures 4``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

SUMMARY = "simulate the inputs of muse_exp_align, with truth"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("outdir", type=Path, help="folder for the files")
    parser.add_argument("--exposures", type=int, default=3)
    parser.add_argument("--size", type=int, default=300, help="pixels along a side (300)")
    parser.add_argument("--mode", choices=("WFM", "NFM"), default="WFM", help="field of view")
    parser.add_argument("--stars", type=int, default=30, help="stars that all dithers cover together (30)")
    parser.add_argument("--dither", type=float, default=1.5, help="scatter of the pointings [arcsec] (1.5)")
    parser.add_argument("--error", type=float, default=0.6, help="scatter of their errors [arcsec] (0.6)")
    parser.add_argument("--angles", type=float, nargs="+", default=[0.0], help="position angle(s) [deg]")
    parser.add_argument("--seeing", type=float, nargs="+", default=[4.0], help="FWHM [pixel] (4)")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5], help="of a pixel (0.5)")
    parser.add_argument("--seed", type=int, default=1)


def main(args: argparse.Namespace) -> int:
    """Run ``musetools simulate-align``."""
    import numpy as np

    from muse_core.framework import RecipeError
    from muse_core.simulate.fields import FieldPlan, simulate_fields, true_offsets, write_fields

    if args.exposures < 2 or args.size < 32 or args.stars < 1:
        raise RecipeError("use two exposures or more, a size of at least 32 pixels, and a star or more")
    started = time.perf_counter()
    args.outdir.mkdir(parents=True, exist_ok=True)
    plan = FieldPlan(
        exposures=args.exposures, shape=(args.size, args.size), mode=args.mode, stars=args.stars,
        dither_arcsec=args.dither, error_arcsec=args.error, angles_deg=tuple(args.angles),
        fwhm_pix=tuple(args.seeing), noise=tuple(args.noise), seed=args.seed,
    )  # fmt: skip
    images = simulate_fields(plan)
    paths = write_fields(images, args.outdir)
    (args.outdir / "align.sof").write_text("".join(f"{path.name} IMAGE_FOV\n" for path in paths))
    lines = [f"{i.date} {ra:.9f} {dec:.9f}" for i, (ra, dec) in zip(images, np.asarray(true_offsets(images)))]
    head = "# DATE_OBS RA_OFFSET DEC_OFFSET [deg], as muse_exp_align is to find them\n"
    (args.outdir / "truth.txt").write_text(head + "\n".join(lines) + "\n")
    print(f"{len(paths)} images in {args.outdir}, {time.perf_counter() - started:.1f} s")
    print(f"run it there: cd {args.outdir} && muserun muse_exp_align align.sof")
    print(f"truth:        {args.outdir / 'truth.txt'}")
    return 0

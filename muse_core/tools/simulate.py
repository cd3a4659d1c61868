# SPDX-License-Identifier: BSD-3-Clause
"""Simulate an observation: all input files of muse_scipost with a scipost.sof, and the truth beside them.

Examples: ``musetools simulate OUT`` (a quarter of the field, 100 A), ``musetools simulate OUT --slices 48
--range 4750 9350`` (a full exposure: 3.2e8 rows, 9 GB), ``musetools simulate OUT --scene hdfs --exposures 2
--posang 0 90``. On the default set muse_scipost ends without a warning.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

SUMMARY = "simulate the inputs of muse_scipost at any size, with truth"


def _pair(text: str) -> tuple[float, float]:
    try:
        first, second = text.split(",")
        return float(first), float(second)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"two numbers with a comma between them are needed, not {text!r}"
        ) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("outdir", type=Path, help="folder for the files")
    size = parser.add_argument_group("size")
    size.add_argument("--ifus", type=int, default=24, help="number of IFUs, in the middle of the field")
    size.add_argument("--ifu-list", type=int, nargs="+", metavar="IFU", help="or their numbers")
    size.add_argument("--exposures", type=int, default=1)
    size.add_argument("--slices", type=int, default=12, help="slices per IFU (all: 48)")
    size.add_argument("--columns", type=int, help="columns per slice (default: all, about 75)")
    size.add_argument(
        "--range", type=float, nargs=2, default=(7240.0, 7340.0), metavar=("MIN", "MAX"), help="[A]"
    )
    size.add_argument("--thinning", type=int, default=1, help="keep every n-th block of 24 CCD rows")
    size.add_argument("--threads", type=int, default=2)
    size.add_argument("--seed", type=int, default=1)
    observation = parser.add_argument_group("observation")
    observation.add_argument("--mode", default="WFM-NOAO-N", help="instrument mode")
    observation.add_argument("--posang", type=float, nargs="+", default=[0.0], help="position angle(s) [deg]")
    observation.add_argument("--dithers", type=_pair, nargs="+", metavar="E,N", help="dithers [arcsec]")
    observation.add_argument(
        "--offsets", type=_pair, nargs="+", metavar="E,N", help="pointing errors [arcsec]"
    )
    observation.add_argument("--flux-scales", type=float, nargs="+", help="flux scale of each exposure")
    observation.add_argument("--exptime", type=float, default=600.0)
    observation.add_argument("--seeing", type=float, default=0.8, help="[arcsec]")
    sky = parser.add_argument_group("field and sky")
    sky.add_argument(
        "--scene", default="random", help="random, empty, hdfs, abell478, demo, or a FITS cube or image"
    )
    sky.add_argument("--stars", type=int, help="number of stars of the random scene")
    sky.add_argument("--galaxies", type=int, help="number of galaxies of the random scene")
    sky.add_argument("--brightness", type=float, default=1.0, help="factor for the scene")
    sky.add_argument("--no-sky", action="store_true")
    sky.add_argument("--sky-tilt", type=float, default=0.0, help="slope of the sky continuum per 1000 A")
    sky.add_argument(
        "--line-error", type=float, default=0.15, help="scatter of the line groups about SKY_LINES"
    )
    sky.add_argument("--oh-table", action="store_true", help="OH lines as OH_TRANSITIONS")
    sky.add_argument("--no-telluric", action="store_true")
    sky.add_argument("--raman", type=float, help="strength of the Raman light (laser modes)")
    faults = parser.add_argument_group("detector and faults")
    faults.add_argument("--no-noise", action="store_true")
    faults.add_argument("--cosmic-rate", type=float, default=3e-5, help="tracks per row")
    faults.add_argument("--bad-fraction", type=float, default=5e-4)
    faults.add_argument("--throughput-error", type=float, default=0.0, help="rms over the slices")
    frames = parser.add_argument_group("files")
    frames.add_argument("--lsf", choices=("image", "merged", "table", "none"), default="image")
    frames.add_argument("--sky-mask", choices=("pixel", "celestial"))
    frames.add_argument("--output-wcs", action="store_true")
    frames.add_argument(
        "--autocal", action="store_true", help="AUTOCAL_FACTORS that undo the throughput error"
    )
    frames.add_argument(
        "--flat-field", action="store_true", help="pixel tables with their flat-field spectrum"
    )
    frames.add_argument("--no-astrometry", action="store_true")
    frames.add_argument("--binary-table", action="store_true", help="pixel tables as binary tables")


def _scene(args: argparse.Namespace) -> Any:
    from muse_core.simulate import realscenes
    from muse_core.simulate.scene import Scene

    wanted = tuple(args.range)
    if args.scene == "random":
        return None
    if args.scene == "empty":
        return Scene()
    if args.scene == "hdfs":
        return Scene(cubes=(realscenes.hdfs_field(wanted, scale=14.0 * args.brightness),))
    if args.scene == "abell478":
        return Scene(cubes=(realscenes.abell478(wanted, scale=args.brightness),))
    if args.scene == "demo":
        return realscenes.demo_scene(wanted)
    return Scene(cubes=(realscenes.load_scene_cube(args.scene, lambda_range=wanted, scale=args.brightness),))


def main(args: argparse.Namespace) -> int:
    """Run ``musetools simulate``."""
    from muse_core.framework.errors import RecipeError
    from muse_core.simulate.exposure import Detector
    from muse_core.simulate.realscenes import SceneDataError
    from muse_core.simulate.scipost import simulate_scipost

    start = time.perf_counter()
    try:
        simulation = simulate_scipost(
            args.outdir, n_ifu=args.ifus, ifus=args.ifu_list, n_exposures=args.exposures,
            slices=args.slices, columns=args.columns, lambda_range=tuple(args.range),
            thinning=args.thinning, threads=args.threads,
            seed=args.seed, mode=args.mode,
            posang=args.posang if len(args.posang) > 1 else args.posang[0],
            dithers=args.dithers, offsets=args.offsets, flux_scales=args.flux_scales, exptime=args.exptime,
            seeing=args.seeing, scene=_scene(args), n_stars=args.stars, n_galaxies=args.galaxies,
            brightness=args.brightness, sky=not args.no_sky, sky_tilt=args.sky_tilt,
            line_error=args.line_error,
            oh_table=args.oh_table, telluric=not args.no_telluric, raman=args.raman,
            detector=Detector(
                noise=not args.no_noise, cosmic_rate=args.cosmic_rate, bad_fraction=args.bad_fraction
            ),
            throughput_error=args.throughput_error, lsf=None if args.lsf == "none" else args.lsf,
            sky_mask=args.sky_mask, output_wcs=args.output_wcs, autocal=args.autocal,
            flat_field=args.flat_field,
            astrometry=not args.no_astrometry, as_table=args.binary_table,
        )  # fmt: skip
    except (ValueError, SceneDataError) as error:
        raise RecipeError(str(error)) from error
    seconds = time.perf_counter() - start
    rows = simulation.truth["rows"] * args.exposures
    print(f"{len(simulation.sof)} files in {simulation.outdir}, {rows} pixel-table rows, {seconds:.1f} s")
    print(f"run it there:  cd {simulation.outdir} && muserun muse_scipost scipost.sof")
    print(f"truth:         {simulation.outdir / 'truth'}")
    return 0

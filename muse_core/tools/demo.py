# SPDX-License-Identifier: BSD-3-Clause
"""Demonstration: simulate a small observation, reduce it with muse_scipost, draw a picture of the result.

The observation is the core of Abell 478 (MUSE data that come with mpdaf) in the middle of a piece of the
Hubble Deep Field South, seen through 12 IFUs in a ten-minute exposure. The recipe runs from
`sof_examples/scipost_demo.sof`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

SUMMARY = "simulate, reduce and draw a small observation"
IFUS = tuple(range(7, 19))
FILTERS = ("white", "Halpha", "SII", "continuum")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument(
        "outdir", type=Path, nargs="?", default=Path("demo"), help="folder for everything (demo)"
    )
    parser.add_argument(
        "--skymethod", default="simple", choices=("simple", "model", "none"), help="sky subtraction"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep-inputs", action="store_true", help="keep the simulated pixel tables (120 MB)")


def simulate_demo(folder: Path, threads: int = 2) -> Any:
    """Write the inputs of the demonstration; returns the Simulation."""
    from muse_core.simulate.realscenes import DEMO_RANGE, demo_filters, demo_scene
    from muse_core.simulate.scipost import simulate_scipost

    return simulate_scipost(
        folder, ifus=IFUS, slices=24, lambda_range=DEMO_RANGE, scene=demo_scene(), filters=demo_filters(),
        object_name="Abell 478 + HDF-S", dithers=[(0.0, 0.0)], seed=478, threads=threads, lsf="merged",
    )  # fmt: skip


def demo_sof() -> Path:
    """Return the set of frames of the demonstration (names with $MUSE_DEMO and $MUSE_CALIB_DB)."""
    from muse_core.framework.places import shipped_folder

    return shipped_folder("sof_examples") / "scipost_demo.sof"


def main(args: argparse.Namespace) -> int:
    """Run ``musetools demo``."""
    from muse_core.calib import calibration_folder
    from muse_core.framework import RecipeError, run_recipe
    from muse_core.framework.sof import load_sof
    from muse_core.report.preview import make_preview
    from muse_core.simulate.realscenes import SceneDataError

    clock = [time.perf_counter()]
    outdir = args.outdir.resolve()
    inputs = outdir / "inputs"
    try:
        simulation = simulate_demo(inputs, args.threads)
    except SceneDataError as error:
        raise RecipeError(str(error)) from error
    clock.append(time.perf_counter())
    print(f"simulated {simulation.truth['rows']} rows of {len(IFUS)} IFUs: {clock[1] - clock[0]:.1f} s")
    places = {"MUSE_DEMO": str(inputs), "MUSE_CALIB_DB": str(calibration_folder())}
    products = run_recipe(
        "muse_scipost",
        load_sof(demo_sof(), places),
        {"skymethod": args.skymethod, "skymodel_fraction": 0.3, "filter": ",".join(FILTERS)},
        workdir=outdir,
        threads=args.threads,
    )
    clock.append(time.perf_counter())
    print(f"muse_scipost --skymethod={args.skymethod}, {len(products)} products: {clock[2] - clock[1]:.1f} s")
    by_tag: dict[str, list[Path]] = {}
    for product in products:
        by_tag.setdefault(product.tag, []).append(Path(product.path))
    images = sorted(by_tag["IMAGE_FOV"])
    picture = make_preview(
        outdir / "demo.png",
        cube=by_tag["DATACUBE_FINAL"][0],
        white=images[0],
        bands=images[1:4],
        sky_spectrum=by_tag["SKY_SPECTRUM"][0] if "SKY_SPECTRUM" in by_tag else None,
    )
    clock.append(time.perf_counter())
    print(f"picture: {clock[3] - clock[2]:.1f} s")
    if not args.keep_inputs:
        for path in simulation.paths("PIXTABLE_OBJECT"):
            path.unlink()
    print(f"\n{picture}\n{by_tag['DATACUBE_FINAL'][0]}")
    return 0

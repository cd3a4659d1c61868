# SPDX-License-Identifier: BSD-3-Clause
"""Demonstration of muse_twilight: simulate a small instrument, reduce its sky flats, draw the result.

The recipe runs from `sof_examples/twilight.sof`. The picture shows the white image, the smooth fit, the
vignetting correction and the residual; the truth that went in is compared with what came out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

SUMMARY = "simulate, reduce and draw small sky flats"
IFUS = tuple(range(1, 9))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.add_argument(
        "--output-dir", type=Path, default=Path("demo-twilight"), help="folder for everything (demo-twilight)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep-inputs", action="store_true", help="keep the simulated files (60 MB)")


def main(args: argparse.Namespace) -> int:
    """Run ``musetools demo-twilight``."""
    from muse_core.framework import run_recipe
    from muse_core.framework.places import shipped_folder
    from muse_core.framework.sof import load_sof
    from muse_core.report.twilight import figure_from_products
    from muse_core.simulate.raw import RawSetup, simulate_raw
    from muse_core.simulate.raw_truth import check_truth

    outdir = args.output_dir.resolve()
    inputs = outdir / "inputs"
    started = time.perf_counter()
    setup = RawSetup(ifus=IFUS, vignetting=0.2)
    simulate_raw(inputs, setup)
    print(f"simulated {len(IFUS)} IFUs: {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    products = run_recipe(
        "muse_twilight",
        load_sof(shipped_folder("sof_examples") / "twilight.sof", {"MUSE_DEMO_TWILIGHT": str(inputs)}),
        workdir=outdir,
        threads=args.threads,
        report=True,
    )
    print(f"muse_twilight, {len(products)} products: {time.perf_counter() - started:.1f} s")
    paths = {product.tag: Path(product.path) for product in products}
    picture = outdir / "twilight.png"
    figure_from_products(paths["DATACUBE_SKYFLAT"], paths["TWILIGHT_CUBE"]).savefig(picture, dpi=100)
    check = check_truth(paths["TWILIGHT_CUBE"], setup)
    print(
        f"recovered over true illumination, rms: field {100 * check.field:.2f} %, "
        f"edge {100 * check.edge:.2f} %, vignetted {100 * check.vignetted:.2f} %"
    )
    if not args.keep_inputs:
        for path in inputs.glob("*.fits"):
            path.unlink()
    print(f"\n{picture}\n{paths['TWILIGHT_CUBE']}")
    return 0

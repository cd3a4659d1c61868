# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_combine beside the C recipe on the same reduced tables in the same run: time, CPU time, memory.

    python benchmarks/bench_exp_combine.py --exposures 2 8 16 --rows 5e6 --threads 2 [--runs 1] [--no-c]

One exposure is simulated and reduced by our muse_scipost; the others are copies with other dates and small
offsets of RA and DEC. A run that is not counted fills the caches. The C recipe and ours run in turn; medians
and their ratio are printed as a Markdown table, and then what our own options for deep fields cost.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parent))

from bench_scipost import ROWS_PER_ANGSTROM, Cost, measure

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import simulate_scipost

OWN_OPTIONS = (
    ["--exposures=cube"],
    ["--exposure_sigma=5", "--exposures=cube"],
    ["--weight=invvar"],
    ["--save=sums"],
)


def reduced_table(folder: Path, rows: float, threads: int) -> Path:
    """Return the reduced table of one simulated exposure."""
    span = rows / ROWS_PER_ANGSTROM
    simulation = simulate_scipost(
        folder / "in", n_ifu=24, lambda_range=(6000.0, 6000.0 + span), seed=1, threads=threads
    )
    (folder / "out").mkdir()
    options = {"skymethod": "none", "save": "individual"}
    products = run_recipe(
        "muse_scipost", simulation.frames(), options, workdir=folder / "out", threads=threads
    )
    shutil.rmtree(folder / "in")
    return next(product.path for product in products if product.tag == "PIXTABLE_REDUCED")


def copies(table: Path, folder: Path, count: int) -> Path:
    """Write a set of frames with copies of a table, as exposures of other dates and places."""
    lines = []
    for number in range(count):
        path = folder / f"exposure_{number:03d}.fits"
        if not path.exists():
            shutil.copy(table, path)
            with fits.open(path, mode="update") as hdus:
                header = hdus[0].header
                header["DATE-OBS"] = f"2026-01-{1 + number // 24:02d}T{number % 24:02d}:00:00.000"
                header["MJD-OBS"] = 61041.0 + number / 24.0
                header["RA"] += 1e-5 * (number % 5)
                header["DEC"] += 1e-5 * (number % 3)
        lines.append(f"{path} PIXTABLE_REDUCED\n")
    sof = folder / f"combine_{count}.sof"
    sof.write_text("".join(lines))
    return sof


def run(program: str, sof: Path, folder: Path, options: list[str], threads: int) -> Cost:
    """Run one of the two recipes."""
    command = [program, f"--output-dir={folder}", "muse_exp_combine", "--filter=white", *options, str(sof)]
    return measure(command, folder, threads)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exposures", type=int, nargs="+", default=[2, 8, 16])
    parser.add_argument("--rows", type=float, default=5e6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--no-c", action="store_true", help="time only ours")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to put the data (a temporary folder)"
    )
    args = parser.parse_args()
    ours = shutil.which("muserun") or "muserun"
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        table = reduced_table(folder, args.rows, args.threads)
        run(ours, copies(table, folder, 2), folder, [], args.threads)
        print("| exposures | wall s, ours / C | CPU s, ours / C | peak memory MB, ours / C |")
        print("| --- | --- | --- | --- |")
        for count in args.exposures:
            sof = copies(table, folder, count)
            costs: dict[str, list[Cost]] = {"ours": [], "C": []}
            for _ in range(args.runs):
                costs["ours"].append(run(ours, sof, folder, [], args.threads))
                if not args.no_c:
                    costs["C"].append(run("esorex", sof, folder, [], args.threads))
            cells = [str(count)]
            for quantity in ("wall", "cpu", "memory_mb"):
                a, c = (
                    statistics.median(getattr(cost, quantity) for cost in list_) if list_ else float("nan")
                    for list_ in costs.values()
                )
                cells.append(f"{a:.1f} / {c:.1f} = 1/{c / a:.2f}" if costs["C"] else f"{a:.1f}")
            print("| " + " | ".join(cells) + " |", flush=True)
        count = args.exposures[-1]
        sof = copies(table, folder, count)
        print(
            f"\n| our options, {count} exposures | wall s | CPU s | peak memory MB |\n"
            "| --- | --- | --- | --- |"
        )
        for options in OWN_OPTIONS:
            cost = run(ours, sof, folder, options, args.threads)
            print(
                f"| {' '.join(options)} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.memory_mb:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

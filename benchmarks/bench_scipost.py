# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost beside the C recipe on the same input in the same run: ratios of time, CPU time, memory.

    python benchmarks/bench_scipost.py --rows 1e6 1e7 5e7 --threads 4
        [--runs 3] [--skymethod none] [--folder F]

A run that is not counted fills the caches (modules, kernels, pages of the files). Then the two commands run
in turn; medians and ratios of each pair are printed as a Markdown table. The machine should be quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from muse_core.simulate.scipost import simulate_scipost

ROWS_PER_ANGSTROM = 24 * 48 * 76 / 1.25


@dataclass
class Cost:
    """What one command took."""

    wall: float
    cpu: float
    memory_mb: float


ACCOUNTANT = """
import json, os, sys, time
began = time.monotonic()
_, status, usage = os.wait4(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)
cost = time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3
with open(sys.argv[1], "w") as told:
    json.dump(cost, told)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""
"""A small process that starts the command: the system counts the memory of who starts it as the command's."""


def measure(command: list[str], folder: Path, threads: int) -> Cost:
    """Run a command with the operating system's accounting."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # with it every run would compile our modules again
    told = folder / "cost.json"
    accountant = [sys.executable, "-S", "-E", "-c", ACCOUNTANT, str(told), *command]
    with (folder / "output.txt").open("wb") as output:
        if subprocess.call(accountant, cwd=folder, env=environment, stdout=output, stderr=output):
            sys.exit(f"{command} failed:\n{(folder / 'output.txt').read_text()[-2000:]}")
    return Cost(*json.loads(told.read_text()))


def commands(sof: Path, folder: Path, options: list[str]) -> dict[str, list[str]]:
    """Return the two command lines."""
    ours = [
        shutil.which("muserun") or "muserun",
        f"--output-dir={folder}",
        "muse_scipost",
        *options,
        str(sof),
    ]
    theirs = ["esorex", f"--output-dir={folder}", "muse_scipost", *options, str(sof)]
    return {"ours": ours, "C": theirs}


def bench(rows: float, args: argparse.Namespace, folder: Path) -> str:
    """Measure one size and return its row of the table."""
    low = 6000.0
    span = rows / ROWS_PER_ANGSTROM
    simulation = simulate_scipost(
        folder / "in", n_ifu=24, lambda_range=(low, low + span), seed=1, threads=args.threads
    )
    sof = simulation.write_sof()
    options = [f"--skymethod={args.skymethod}", "--save=cube"]
    costs: dict[str, list[Cost]] = {"ours": [], "C": []}
    measure(commands(sof, folder, options)["ours"], folder, args.threads)
    for _ in range(args.runs):
        for name, command in commands(sof, folder, options).items():
            if name == "C" and args.no_c:
                continue
            costs[name].append(measure(command, folder, args.threads))
    true_rows = simulation.truth["rows"]
    cells = [f"{true_rows:.3g}"]
    for quantity in ("wall", "cpu", "memory_mb"):
        median = {
            n: statistics.median(getattr(c, quantity) for c in list_) for n, list_ in costs.items() if list_
        }
        if args.no_c:
            cells.append(f"{median['ours']:.1f}")
            continue
        ratio = statistics.median(
            getattr(c, quantity) / getattr(o, quantity) for o, c in zip(costs["ours"], costs["C"])
        )
        cells.append(f"{median['ours']:.1f} / {median['C']:.1f} = 1/{ratio:.2f}")
    shutil.rmtree(folder / "in")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--skymethod", default="none")
    parser.add_argument("--no-c", action="store_true", help="time only ours")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to put the data (a temporary folder)"
    )
    args = parser.parse_args()
    print("| rows | wall s, ours / C | CPU s, ours / C | peak memory MB, ours / C |")
    print("| --- | --- | --- | --- |")
    for rows in args.rows:
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            print(bench(rows, args, Path(name)), flush=True)


if __name__ == "__main__":
    main()

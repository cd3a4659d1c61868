# SPDX-License-Identifier: BSD-3-Clause
"""Time and memory against rows and exposures, ours beside the C recipes in turn, for docs/performance.md.

    make bench [BENCH=quick|usual|full] [SECONDS=1800] [THREADS=2]
    python benchmarks/performance.py --level quick --seconds 330 --threads 2

Cases come in the order of their size; one that would not end in the seconds given is left out, and the page
says so. Before each series one run that is not counted compiles and fills the caches. Without esorex only our
recipes run.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from bench_exp_combine import copies, reduced_table
from bench_scipost import ROWS_PER_ANGSTROM, Cost, measure

from muse_core.simulate.scipost import simulate_scipost

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Level:
    """What is measured, and how many pairs of runs for each figure."""

    none: tuple[float, ...]
    default: tuple[float, ...]
    exposures: tuple[int, ...]
    rows_each: float
    runs: int
    seconds: float


LEVELS = {
    "quick": Level((2e5, 1e6, 3e6), (1e6, 2e6), (2, 4, 6), 5e5, 1, 330.0),
    "usual": Level((2e5, 1e6, 5e6, 1e7), (1e6, 5e6, 1e7), (2, 4, 8, 16), 1.5e6, 3, 3600.0),
    "full": Level((2e5, 1e6, 1e7, 5e7, 3.2e8), (1e6, 1e7, 5e7, 3.2e8), (2, 4, 8, 16), 5e6, 3, 20000.0),
}


@dataclass
class Case:
    """Pairs of runs of one size."""

    series: str
    size: float
    rows: float
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def median(self, who: str, quantity: str) -> float:
        """Return the median of a quantity; NaN if nobody ran."""
        costs = self.costs.get(who)
        return statistics.median(getattr(cost, quantity) for cost in costs) if costs else float("nan")

    def ratio(self, quantity: str) -> float:
        """Return the median over the pairs of C's cost over ours."""
        pairs = list(zip(self.costs.get("C", ()), self.costs["ours"]))
        return statistics.median(getattr(c, quantity) / getattr(o, quantity) for c, o in pairs or [NAN])


NAN = (Cost(*3 * (float("nan"),)),) * 2


class Bench:
    """Runs cases while there is time."""

    def __init__(self, args: argparse.Namespace, level: Level) -> None:
        self.args, self.level = args, level
        self.started = time.monotonic()
        self.seconds = args.seconds or level.seconds
        self.cases: list[Case] = []
        self.left_out: list[str] = []
        self.programs = {"ours": shutil.which("muserun") or "muserun"}
        if shutil.which("esorex"):
            self.programs["C"] = "esorex"

    def command(self, who: str, folder: Path, recipe: str, options: list[str], sof: Path) -> list[str]:
        """Return a command line."""
        return [self.programs[who], f"--output-dir={folder}", recipe, *options, str(sof)]

    def series(
        self,
        name: str,
        sizes: tuple[float, ...],
        prepare: Callable[[Path, float], tuple[Path, float]],
        recipe: str,
        options: list[str],
        folder: Path,
    ) -> None:
        """Measure one recipe with growing sets of frames."""
        before = 0.0, 1.0
        for number, size in enumerate(sizes):
            left = self.seconds - (time.monotonic() - self.started)
            if left < 1.3 * before[0] * size / before[1]:
                self.left_out.append(f"{name}, {size:g}")
                continue
            begin = time.monotonic()
            sof, rows = prepare(folder, size)
            out = folder / "out"
            out.mkdir(exist_ok=True)
            if number == 0:
                measure(self.command("ours", out, recipe, options, sof), out, self.args.threads)
                begin = time.monotonic()
            case = Case(name, size, rows, {who: [] for who in self.programs})
            for _ in range(self.args.runs or self.level.runs):
                for who in self.programs:
                    cost = measure(self.command(who, out, recipe, options, sof), out, self.args.threads)
                    case.costs[who].append(cost)
            shutil.rmtree(out)
            before = time.monotonic() - begin, size
            self.cases.append(case)
            print(row_of(case), flush=True)


def field_of(lsf: str) -> Callable[[Path, float], tuple[Path, float]]:
    """Return what simulates one exposure of 24 IFUs with some number of rows."""

    def prepare(folder: Path, rows: float) -> tuple[Path, float]:
        shutil.rmtree(folder / "in", ignore_errors=True)
        span = min(rows / ROWS_PER_ANGSTROM, 4600.0)
        low = 5577.0 - 0.3 * span if span < 2000.0 else 4750.0  # a line of the sky is always there
        simulation = simulate_scipost(
            folder / "in", n_ifu=24, lambda_range=(low, low + span), seed=1, lsf=lsf,
            threads=os.cpu_count() or 1,
        )  # fmt: skip
        return simulation.write_sof(), float(simulation.truth["rows"])

    return prepare


def row_of(case: Case) -> str:
    """Return a row of the table."""
    cells = [f"{case.size:g}", f"{case.rows / 1e6:.3g}"]
    for quantity in ("wall", "cpu", "memory_mb"):
        form = "{:.0f}" if quantity == "memory_mb" else "{:.1f}"
        ours, c = (form.format(case.median(who, quantity)) for who in ("ours", "C"))
        cells.append(f"{ours} / {c} = 1/{case.ratio(quantity):.2f}" if case.costs.get("C") else ours)
    return "| " + " | ".join(cells) + " |"


def growth(cases: list[Case], who: str) -> str:
    """Return what a run costs without rows and for each million of them, from a line through the sizes."""
    rows = np.array([case.rows / 1e6 for case in cases])
    cpu = np.array([case.median(who, "cpu") for case in cases])
    if rows.size < 2 or not np.isfinite(cpu).all():
        return ""
    slope, start = np.polyfit(rows, cpu, 1, w=1.0 / cpu)
    return f"{who}: {max(start, 0.0):.1f} s + {slope:.2f} s for each million rows"


def tables(bench: Bench) -> str:
    """Return the measured part of the page."""
    machine = f"{os.cpu_count()} processors ({platform.machine()}), {bench.args.threads} threads"
    runs = bench.args.runs or bench.level.runs
    lines = [
        f"Measured on {datetime.date.today():%Y-%m-%d}, `make bench BENCH={bench.args.level}`, {machine}; "
        f"load of the machine when it ended: {os.getloadavg()[0]:.1f}. Medians of {runs} pair(s), ours / C = "
        "1/(how many times more the C recipe takes).",
        "",
        "![Time and memory against rows and exposures](pictures/performance.png)",
    ]
    for name in dict.fromkeys(case.series for case in bench.cases):
        cases = [case for case in bench.cases if case.series == name]
        head = "exposures" if "combine" in name else "rows asked for"
        lines += ["", f"### {name}", "", f"| {head} | million rows | wall s | CPU s | peak memory MB |"]
        lines += ["| --- | --- | --- | --- | --- |", *map(row_of, cases)]
        lines += ["", "CPU time, as a line through these: " + "; ".join(
            text for who in bench.programs if (text := growth(cases, who))) + "."]  # fmt: skip
    if bench.left_out:
        lines += ["", "Left out, since the time was over: " + "; ".join(bench.left_out) + "."]
    return "\n".join(lines)


def draw(bench: Bench, path: Path) -> None:
    """Draw time and memory against rows, and against exposures."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(case.series for case in bench.cases))
    figure, axes = plt.subplots(2, len(names), figsize=(3.6 * len(names), 5.6), squeeze=False)
    for column, name in enumerate(names):
        cases = [case for case in bench.cases if case.series == name]
        combined = "combine" in name
        for row, (quantity, label) in enumerate((("wall", "wall time [s]"), ("memory_mb", "memory [MB]"))):
            panel = axes[row, column]
            for who, style in (("C", "s--"), ("ours", "o-")):
                values = [case.median(who, quantity) for case in cases]
                if np.isfinite(values).any():
                    panel.plot(
                        [case.size if combined else case.rows for case in cases], values, style, label=who
                    )
            panel.set_xlabel("exposures" if combined else "rows")
            panel.set_ylabel(label)
            if combined:
                panel.set_ylim(bottom=0.0)
            else:
                panel.set_xscale("log")
                panel.set_yscale("log")
                panel.xaxis.set_minor_formatter("")
            panel.grid(alpha=0.3)
        axes[0, column].set_title(name, fontsize=8)
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def write_page(bench: Bench) -> None:
    """Put tables and plot into the documentation."""
    page = DOCS / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{tables(bench)}\n{END}{rest.partition(END)[2]}")
    draw(bench, DOCS / "pictures" / "performance.png")


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--level", choices=LEVELS, default="usual")
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="total time (default: as the level has it)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=0, help="pairs of runs (default: as the level has it)")
    parser.add_argument("--folder", type=Path, help="where to put the data (a temporary folder)")
    parser.add_argument("--json", type=Path, help="write what was measured")
    args = parser.parse_args()
    level = LEVELS[args.level]
    bench = Bench(args, level)
    saved = ["--save=cube"]
    for name, sizes, lsf, options in (
        ("muse_scipost, skymethod=none", level.none, "image", ["--skymethod=none", *saved]),
        ("muse_scipost, default parameters, LSF tables", level.default, "table", saved),
    ):
        with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
            bench.series(name, sizes, field_of(lsf), "muse_scipost", options, Path(temporary))
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder = Path(temporary)
        table = reduced_table(folder, level.rows_each, args.threads).rename(folder / "reduced.fits")

        def exposures(where: Path, count: float) -> tuple[Path, float]:
            return copies(table, where, int(count)), count * level.rows_each

        name = f"muse_exp_combine, exposures of {level.rows_each:.2g} rows"
        bench.series(name, level.exposures, exposures, "muse_exp_combine", ["--filter=white"], folder)
    write_page(bench)
    if args.json:
        args.json.write_text(json.dumps([asdict(case) for case in bench.cases], indent=1))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: BSD-3-Clause
"""The sky subtraction of muse_scipost against the C recipe in the same run: seconds and residual sky.

    python benchmarks/bench_sky.py [--columns 20] [--slices 24] [--ifus 2] [--threads 2] [--repeat 1] ...

Time of the sky step = difference of the runs with and without it (save=individual, kernels warm), the fastest
of the repeated runs, which alternate between the recipes. Residuals are measured in a field without objects,
where all that is left is noise and wrong sky: the mean of each 1.25 Angstrom bin, compared with its expected
noise and with the height of the sky lines.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import simulate_scipost

METHODS = {
    "simple": {"skymethod": "simple"},
    "model, LSF images": {"skymethod": "model"},
    "model, LSF table": {"skymethod": "model"},
}
BASE = {"save": "individual", "rvcorr": "none"}


def run_c(sof, folder, options, threads):
    """Seconds of a run of the C recipe (processor seconds as well)."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        "esorex",
        f"--output-dir={folder}",
        f"--log-dir={folder}",
        "--no-checksum",
        "--no-datamd5",
        "muse_scipost",
    ]
    command += [f"--{key}={value}" for key, value in options.items()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(
        [*command, str(sof)], check=True, capture_output=True, cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_ours(frames, folder, options):
    """Seconds of a run of our recipe in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    before, start = time.process_time(), time.perf_counter()
    run_recipe("muse_scipost", frames, options, workdir=folder)
    return time.perf_counter() - start, time.process_time() - before


def residuals(path, sky_level):
    """Residual sky of a reduced table: in units of the noise, and in per cent of the line peak."""
    with fits.open(path) as hdus:
        lam, data, stat, dq = (hdus[name].data.ravel() for name in ("lambda", "data", "stat", "dq"))
    good = (dq == 0) & np.isfinite(data)
    edges = np.arange(lam[good].min() + 3, lam[good].max() - 3, 1.25)
    which = np.digitize(lam, edges)
    sigma = np.sqrt(stat)
    # the rows with cosmic rays would dominate the mean
    good &= np.abs(data) < 8 * sigma
    n = np.bincount(which[good], minlength=edges.size + 1)[1:-1]
    mean = np.bincount(which[good], data[good], edges.size + 1)[1:-1] / n
    noise = np.sqrt(np.bincount(which[good], stat[good], edges.size + 1)[1:-1]) / n
    row = np.sqrt(np.bincount(which[good], data[good] ** 2 / stat[good], edges.size + 1)[1:-1] / n)
    sky = np.interp(0.5 * (edges[1:] + edges[:-1]), *sky_level)
    floor = np.percentile(sky, 25)
    bright = sky > floor + 0.05 * (sky.max() - floor)
    out = {}
    for name, part in (("lines", bright), ("between", ~bright)):
        out[name] = {
            "mean, noise units": float(np.sqrt(np.mean((mean / noise)[part] ** 2))),
            "mean, % of peak": float(100 * np.sqrt(np.mean(mean[part] ** 2)) / sky.max()),
            "row by row, noise units": float(np.sqrt(np.mean(row[part] ** 2))),
        }
    return out


def make(folder, name, args):
    """Simulate the field."""
    return simulate_scipost(
        folder, n_ifu=args.ifus, slices=args.slices, columns=args.columns, lambda_range=tuple(args.range),
        n_stars=0, n_galaxies=0, line_error=0.2, lsf="table" if "table" in name else "image", telluric=False,
        seed=31,
    )  # fmt: skip


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ifus", type=int, default=2)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--range", type=float, nargs=2, default=(6200.0, 7000.0))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ.pop("MUSE_RECIPES_COMPAT", None)
    report = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, options in METHODS.items():
            folder = Path(temporary) / name.replace(" ", "_").replace(",", "")
            simulation = make(folder, name, args)
            without = ("SKY_CONTINUUM", "SKY_MASK")
            sof, frames = simulation.write_sof(without=without), simulation.frames(without=without)
            sky_options = {**BASE, **options, "save": "individual,skymodel"}
            run_ours(frames, folder / "warm", sky_options)
            none = {**BASE, "skymethod": "none"}
            modes = (("none", none), ("sky", sky_options))
            runs = {"C": [], "ours": []}
            for _ in range(args.repeat):
                runs["C"].append([run_c(sof, folder / f"c_{mode}", o, args.threads) for mode, o in modes])
                runs["ours"].append([run_ours(frames, folder / f"o_{mode}", o) for mode, o in modes])
            # (wall, processor) seconds of the fastest run, for each mode
            times = {who: np.min(measured, axis=0) for who, measured in runs.items()}
            with fits.open(folder / "c_sky" / "SKY_SPECTRUM_0001.fits") as hdus:
                sky = np.array(hdus[1].data["lambda"], float), np.array(hdus[1].data["data"], float)
            with fits.open(folder / "c_sky" / "PIXTABLE_REDUCED_0001.fits") as hdus:
                rows = hdus["lambda"].data.size
            report[name] = {
                "rows": rows,
                "sky step, s": {who: float(t[1][0] - t[0][0]) for who, t in times.items()},
                "sky step, CPU s": {who: float(t[1][1] - t[0][1]) for who, t in times.items()},
                "residual": {
                    who: residuals(folder / f"{short}_sky" / "PIXTABLE_REDUCED_0001.fits", sky)
                    for who, short in (("C", "c"), ("ours", "o"))
                },
            }
            print(f"\n{name}: {rows} rows, {args.threads} threads")
            for what in ("sky step, s", "sky step, CPU s"):
                c, ours = report[name][what]["C"], report[name][what]["ours"]
                print(f"  {what:16s} C {c:8.2f}   ours {ours:8.2f}   ratio {c / ours:6.1f}")
            for part in ("lines", "between"):
                for what in report[name]["residual"]["C"][part]:
                    a, b = (report[name]["residual"][who][part][what] for who in ("C", "ours"))
                    print(f"  {part:8s} {what:26s} C {a:9.4f}   ours {b:9.4f}")
            sys.stdout.flush()
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()

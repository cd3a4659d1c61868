# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_align against the C recipe in the same run: seconds, ratio, peak memory, accuracy.

    python benchmarks/bench_exp_align.py [--exposures 2 10 50] [--large 500] [--json FILE]

"start" is a fresh `muserun` with the start of the interpreter, "warm" a second run in one process. One
thread each. Without esorex and the C recipe only our own figures are printed.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.fields import FieldPlan, iterate_fields, write_fields

ROTATIONS = {
    "unrotated": (0.0,),
    "quarter turns": (0.0, 90.0, 180.0, 270.0),
    "2 to 5 degrees": (0.0, 2.0, 3.5, 5.0),
}


def make_set(folder: Path, plan: FieldPlan):
    """Write a set; returns frames, set-of-frames file and true offsets."""
    folder.mkdir(parents=True, exist_ok=True)
    frames, errors = [], []
    for image in iterate_fields(plan):
        frames.append((write_fields([image], folder)[0], "IMAGE_FOV"))
        errors.append(image.error)
    sof = folder / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    return frames, sof, np.array(errors)


def timed_command(command, folder: Path):
    """Seconds and peak memory in MB of a command."""
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        "import resource, subprocess, sys, time\n"
        "t = time.perf_counter()\n"
        "quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}\n"
        "code = subprocess.run(sys.argv[1:], **quiet).returncode\n"
        "t = time.perf_counter() - t\n"
        "print(code, t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=folder, capture_output=True, text=True, check=True
    )
    code, seconds, memory = done.stdout.split()
    if code != "0":
        raise SystemExit(f"{command[0]} failed with {code}")
    return float(seconds), float(memory)


def best(runs):
    """The quickest of several (seconds, memory)."""
    return min(runs)


def recovered_rms(folder: Path, truth, declination: float) -> float:
    """Rms of the offsets in arcsec on the sky, without the reference."""
    table = fits.getdata(folder / "OFFSET_LIST.fits", 1)
    error = (np.column_stack([table["RA_OFFSET"], table["DEC_OFFSET"]]) - truth) * 3600
    error[:, 0] *= np.cos(np.radians(declination))
    return float(np.sqrt(np.mean(error[1:] ** 2)))


def ours_in_process(frames, folder: Path) -> float:
    """Seconds of the second of two runs in this process."""
    folder.mkdir(exist_ok=True)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            run_recipe("muse_exp_align", frames, workdir=folder, threads=1)
        seconds = time.perf_counter() - start
    return seconds


def speed(root: Path, count: int, c_recipe: bool, repeat: int) -> dict:
    """Measure one size."""
    frames, sof, _ = make_set(root / f"speed{count}", FieldPlan(exposures=count))
    out = root / f"out{count}"
    row = {"exposures": count}
    ours = [
        sys.executable,
        "-m",
        "muse_core.hosts.muserun",
        f"--output-dir={out}",
        "muse_exp_align",
        str(sof),
    ]
    row["start_s"], row["memory_mb"] = best(timed_command(ours, out) for _ in range(repeat))
    row["warm_s"] = ours_in_process(frames, out)
    if c_recipe:
        theirs = ["esorex", f"--output-dir={out}", f"--log-dir={out}", "muse_exp_align", str(sof)]
        row["c_s"], row["c_memory_mb"] = best(timed_command(theirs, out) for _ in range(repeat))
        row["ratio_start"] = row["c_s"] / row["start_s"]
        row["ratio_warm"] = row["c_s"] / row["warm_s"]
    shutil.rmtree(root / f"speed{count}")
    shutil.rmtree(out)
    return row


def accuracy(root: Path, name: str, angles, c_recipe: bool) -> dict:
    """Rms over several sets of ten exposures, ours and the C recipe's."""
    values = {"ours": [], "c": []}
    for seed in range(4):
        plan = FieldPlan(exposures=10, angles_deg=angles, seed=seed, stars=40)
        frames, sof, truth = make_set(root / "accuracy", plan)
        out = root / "accuracy_out"
        out.mkdir(exist_ok=True)
        run_recipe("muse_exp_align", frames, workdir=out)
        values["ours"].append(recovered_rms(out, truth, plan.centre[1]))
        if c_recipe:
            timed_command(
                ["esorex", f"--output-dir={out}", f"--log-dir={out}", "muse_exp_align", str(sof)], out
            )
            values["c"].append(recovered_rms(out, truth, plan.centre[1]))
    total = {k: float(np.sqrt(np.mean(np.square(v)))) for k, v in values.items() if v}
    return {"set": name, **{f"{k}_rms_arcsec": v for k, v in total.items()}}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exposures", type=int, nargs="*", default=[2, 10, 50])
    parser.add_argument(
        "--large", type=int, default=0, help="a large set for our memory only, for example 500"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    c_recipe = shutil.which("esorex") is not None
    result = {"speed": [], "accuracy": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for count in args.exposures:
            row = speed(root, count, c_recipe, 5 if count <= 10 else 2)
            result["speed"].append(row)
            print({k: round(v, 3) for k, v in row.items()})
        if args.large:
            row = speed(root, args.large, False, 1)
            result["speed"].append(row)
            print({k: round(v, 3) for k, v in row.items()})
        for name, angles in ROTATIONS.items():
            row = accuracy(root, name, angles, c_recipe)
            result["accuracy"].append(row)
            print({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()})
    result["peak_memory_of_this_process_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

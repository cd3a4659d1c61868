# SPDX-License-Identifier: BSD-3-Clause
"""muse_twilight beside the C recipe on a simulated set: wall time, peak memory, ratio, truth.

``python benchmarks/bench_twilight.py FOLDER --ifus 2`` simulates (in FOLDER, 0.75 GB per IFU with real
detectors) and runs both recipes one after the other with the same number of threads. ``--only-ours`` leaves
the C recipe out.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

OURS = (
    "import sys; from pathlib import Path; from muse_core.framework import run_recipe;"
    "d = Path(sys.argv[1]);"
    "lines = (d / 'twilight.sof').read_text().splitlines();"
    "frames = [(d / n, t) for n, t in map(str.split, lines)];"
    "run_recipe('muse_twilight', frames, workdir=sys.argv[2], threads=int(sys.argv[3]))"
)


def measure(command, cwd, environment) -> tuple[float, float]:
    """Wall time in seconds and peak memory in MB of a command."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    factor = 1e6 if sys.platform == "darwin" else 1e3
    return time.perf_counter() - started, usage.ru_maxrss / factor


def main() -> None:
    from muse_core.simulate.raw import RawSetup, simulate_raw
    from muse_core.simulate.raw_truth import check_truth

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ifus", type=int, default=2)
    parser.add_argument("--nx", type=int, default=2048)
    parser.add_argument("--ny", type=int, default=2056)
    parser.add_argument("--vignetting", type=float, default=0.0, help="excess in the corner, e.g. 0.2")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--only-ours", action="store_true")
    args = parser.parse_args()
    setup = RawSetup(
        nx=args.nx,
        ny=args.ny,
        ifus=tuple(range(1, args.ifus + 1)),
        cosmics=2000,
        vignetting=args.vignetting,
    )
    inputs = args.folder.resolve() / "inputs"
    if not (inputs / "twilight.sof").exists():
        started = time.perf_counter()
        simulate_raw(inputs, setup)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"simulated {args.ifus} IFUs in {time.perf_counter() - started:.0f} s, peak memory {peak:.0f} MB"
        )
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    times = {}
    for name in ("ours",) if args.only_ours else ("ours", "C"):
        out = args.folder.resolve() / name
        out.mkdir(exist_ok=True)
        command = [sys.executable, "-c", OURS, str(inputs), str(out), str(args.threads)]
        if name == "C":
            command = ["esorex", f"--log-dir={out}", f"--output-dir={out}", "muse_twilight", "twilight.sof"]
        times[name], memory = measure(command, inputs, environment)
        check = check_truth(out / "TWILIGHT_CUBE.fits", setup)
        print(
            f"{name:5s} {times[name]:7.1f} s  {memory:7.0f} MB  "
            f"truth: field {100 * check.field:.3f} %, edge {100 * check.edge:.3f} %, "
            f"vignetted {100 * check.vignetted:.3f} % rms"
        )
    if "C" in times:
        print(f"ratio {times['ours'] / times['C']:.2f} with {args.threads} threads")


if __name__ == "__main__":
    main()

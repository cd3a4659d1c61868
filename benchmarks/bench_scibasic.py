# SPDX-License-Identifier: BSD-3-Clause
"""muse_scibasic beside the C recipe on one simulated exposure: wall time, peak memory, ratio.

``python benchmarks/bench_scibasic.py FOLDER --ifus 2`` simulates (in FOLDER; 0.7 GB of inputs and 0.7 GB of
products of each recipe per IFU with real detectors) and runs both recipes one after the other with the same
number of threads. With all 24 IFUs the C recipe runs once, as a person would call it; with fewer IFU by IFU,
since it ends at the first one that is not in the data (its memory is then that of a single IFU).
With ``--twilight`` the rows are divided by a cube of the illumination, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from bench_twilight import measure

OURS = (
    "import sys; from pathlib import Path; from muse_core.framework import run_recipe;"
    "d = Path(sys.argv[1]);"
    "lines = (d / 'scibasic.sof').read_text().splitlines();"
    "frames = [(d / n, t) for n, t in map(str.split, lines)];"
    "run_recipe('muse_scibasic', frames, {'cr': sys.argv[4]}, workdir=sys.argv[2], threads=int(sys.argv[3]))"
)


def twilight_cube(path: Path) -> Path:
    """Write a smooth illumination of the whole field, in ten planes."""
    import numpy as np
    from astropy.io import fits

    z, y, x = np.mgrid[-0.5:0.5:10j, -1:1:330j, -1:1:330j]
    hdu = fits.ImageHDU((1 + 0.03 * x - 0.02 * y + 0.01 * z).astype(np.float32), name="DATA")
    for axis, (first, step) in enumerate(((-165.0, 1.0), (-165.0, 1.0), (4700.0, 520.0)), 1):
        hdu.header.update({f"CRPIX{axis}": 1.0, f"CRVAL{axis}": first, f"CD{axis}_{axis}": step})
    primary = fits.PrimaryHDU()
    for ifu in range(1, 25):
        primary.header[f"HIERARCH ESO DRS MUSE FLAT FLUX SKY{ifu}"] = 1.5e7
    fits.HDUList([primary, hdu]).writeto(path)
    return path


def main() -> None:
    from muse_core.simulate.raw import RawSetup
    from muse_core.simulate.raw_science import simulate_raw_science

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ifus", type=int, default=2)
    parser.add_argument("--nx", type=int, default=2048)
    parser.add_argument("--ny", type=int, default=2056)
    parser.add_argument("--cr", default="none", choices=("none", "dcr"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--twilight", action="store_true", help="with a TWILIGHT_CUBE (when simulated)")
    parser.add_argument("--only-ours", action="store_true")
    args = parser.parse_args()
    ifus = tuple(range(1, args.ifus + 1))
    inputs = args.folder.resolve() / "inputs"
    if not (inputs / "scibasic.sof").exists():
        started = time.perf_counter()
        setup = RawSetup(nx=args.nx, ny=args.ny, ifus=ifus, cosmics=1000)
        simulate_raw_science(inputs, setup, shift=0.1, skyflats=0, calibrations=False)
        if args.twilight:
            with (inputs / "scibasic.sof").open("a") as sof:
                sof.write(f"{twilight_cube(inputs / 'twilight.fits').name} TWILIGHT_CUBE\n")
        print(f"simulated {args.ifus} IFUs in {time.perf_counter() - started:.0f} s")
    environment = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
    times = {}
    for name in ("ours",) if args.only_ours else ("ours", "C"):
        out = args.folder.resolve() / name
        out.mkdir(exist_ok=True)
        if name == "ours":
            runs = [[sys.executable, "-c", OURS, str(inputs), str(out), str(args.threads), args.cr]]
        else:
            c = ["esorex", f"--log-dir={out}", f"--output-dir={out}", "muse_scibasic", f"--cr={args.cr}"]
            calls = ifus if args.ifus < 24 else (0,)
            runs = [[*c, f"--nifu={ifu}", "scibasic.sof"] for ifu in calls]
        measured = [measure(command, inputs, environment) for command in runs]
        times[name] = sum(seconds for seconds, _ in measured)
        print(f"{name:5s} {times[name]:7.1f} s  {max(memory for _, memory in measured):7.0f} MB")
    if "C" in times:
        print(f"ratio {times['ours'] / times['C']:.2f} with {args.threads} threads")


if __name__ == "__main__":
    main()

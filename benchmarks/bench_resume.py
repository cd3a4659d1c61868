#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What is left to do for a run that goes on after it was killed, and whether its products are the same.

``python benchmarks/bench_resume.py FOLDER RECIPE SOF --kills 20 --options="--skymethod=model"`` runs it
once to the end, then kills it (SIGKILL) again and again after a random part of that run's CPU time and starts
it anew. CPU time, not wall time, decides and is told: it does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

from astropy.io import fits

OTHER_EACH_TIME = ("DATE", "CHECKSUM", "ESO PRO REC1 PIPE ID")

TICKS = os.sysconf("SC_CLK_TCK")


def data_of(folder: Path) -> dict[str, str]:
    """Digests of the data and headers of all products, without dates and check sums."""
    found = {}
    for path in sorted(folder.glob("*.fits")):
        digest = blake2b()
        with fits.open(path, memmap=False, do_not_scale_image_data=True) as hdus:
            for hdu in hdus:
                cards = [repr(card) for card in hdu.header.cards if card.keyword not in OTHER_EACH_TIME]
                if path.name != hdus[0].header.get("PIPEFILE", path.name):
                    cards.append("name")
                digest.update("".join(cards).encode())
                if hdu.data is not None:
                    digest.update(hdu.data.tobytes())
        found[path.name] = digest.hexdigest()
    return found


def used(pid: int) -> float:
    """CPU seconds of a process so far; infinite when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return float("inf")
    return float("inf") if fields[0] == "Z" else (int(fields[11]) + int(fields[12])) / TICKS


def run(command: list[str], kill_after: float | None = None) -> tuple[float, bool]:
    """Run a command, kill it after some CPU seconds; returns CPU seconds and whether it came to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT)
        while kill_after is not None and process.poll() is None:
            if used(process.pid) >= kill_after:
                process.kill()
                break
            time.sleep(0.005)
        status = process.wait()
        told.seek(0)
        lines = [line.strip() for line in told if line.strip()]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if status not in (0, -9):
        raise SystemExit(f"{' '.join(command)} ended with {status}: {lines[-1] if lines else 'no word'}")
    return spent, status == 0


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("sof", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--least", type=float, default=0.05, help="part of the run before the kill, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", default="", help="of the recipe")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    muserun = str(Path(sys.executable).with_name("muserun"))

    def command(folder: Path) -> list[str]:
        head = [muserun, f"--output-dir={folder}", f"--log-dir={folder}", args.recipe]
        return [*head, *args.options.split(), str(args.sof)]

    whole = args.folder / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    run(command(whole))  # compiles
    total, _ = run(command(whole))
    wanted = data_of(whole)
    print(f"whole run {total:.2f} s of CPU; killed after, rest, sum [parts of it], products the same")
    number = random.Random(args.seed)  # noqa: S311
    bad = 0
    for _ in range(args.kills):
        folder = args.folder / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        part = number.uniform(args.least, 0.98)
        spent, ended = run(command(folder), part * total)
        rest, _ = run(command(folder))
        same = data_of(folder) == wanted
        left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
        bad += not same or bool(left)
        spent, rest = spent / total, rest / total
        note = " (had ended)" if ended else ""
        print(f"{spent:6.2f} {rest:6.2f} {spent + rest:6.2f}  {same} {' '.join(left)}{note}", flush=True)
    print(f"{bad} of {args.kills} with other products or something left behind")
    return bad


if __name__ == "__main__":
    sys.exit(main())

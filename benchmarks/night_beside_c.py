# SPDX-License-Identifier: BSD-3-Clause
"""A simulated night from raw frames to the combined cube: ours, the C recipes, mixtures, and the truth.

    python benchmarks/night_beside_c.py FOLDER                  small detectors, all mixtures
    python benchmarks/night_beside_c.py FOLDER --chains ours C  only these
    python benchmarks/night_beside_c.py FOLDER --night NIGHT    what each step of any other night costs
    python benchmarks/night_beside_c.py FOLDER --night NIGHT --chains ours given
                                      the same, each C recipe on our products, all IFUs in one call

One plan (that of ``musetools sof``) is run with the same sets of frames by each chain; a mixture takes what
does not change from the chain it departs from. Prints tables in Markdown for docs/validation.md. Steps that
were made are not made again in the same FOLDER. Single commands are ended after some minutes, and those of C
do not get all memory (``--minutes``, ``--memory``): a chain that fails is told at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# C muse_twilight needs the first IFU; the last one keeps the middle of the data at the pointing
DETECTORS = {
    "nx": 384, "ny": 420, "ifus": (1, 11, 12, 13, 14, 24), "cosmics": 20,
    "lambda_min": 5560.0, "lambda_max": 6601.6,
}  # fmt: skip
COUNTS = (
    ("BIAS", 1), ("FLAT", 1), ("ARC", 3), ("SKYFLAT", 3), ("STD", 1), ("ASTROMETRY", 1),
    ("OBJECT", 3), ("SKY", 1),
)  # fmt: skip
WISHES = [
    "--use", "ASTROMETRY_WCS", "--use", "MASTER_DARK",
    # these are made of the raw frames of the night
    "--exclude", "*astrometry_wcs*", "--exclude", "*std_response*", "--exclude", "*std_telluric*",
]  # fmt: skip
OPTIONS = {
    "muse_twilight": ["--lambdamin=5580", "--lambdamax=6580", "--overscan=vpoly:6"],
    "muse_scibasic": ["--overscan=vpoly:6"],
    "muse_scipost": ["--rvcorr=none"],  # else wavelengths are those of the Sun
    "muse_exp_align": ["--srcmin=2"],
}


@dataclass
class Used:
    """What a step has cost."""

    wall: float = 0.0
    cpu: float = 0.0
    memory_mb: float = 0.0


@dataclass(frozen=True)
class Limits:
    """What a single command may take: a C recipe that goes astray asks for memory without end."""

    minutes: float
    c_memory_gb: float

    def command(self, words: Sequence[str], mine: bool) -> list[str]:
        """Return a command that is ended in time, one of C with limited memory."""
        limited = ["timeout", "--kill-after=10", f"{60 * self.minutes:.0f}", *words]
        if mine:
            return limited
        return ["sh", "-c", f'ulimit -v {1e6 * self.c_memory_gb:.0f}; exec "$@"', "sh", *limited]


@dataclass
class Chain:
    """One reduction of the night: who runs which recipe, and where the products are."""

    name: str
    folder: Path
    who: Mapping[str, str]
    usual: str
    base: Chain | None = None
    given: Chain | None = None  # takes the products of this chain, not its own
    used: dict[str, Used] = field(default_factory=dict)
    failed: str = ""

    def runner(self, recipe: str) -> str:
        """Return "ours" or "C"."""
        return self.who.get(recipe, self.usual)


def simulate(
    folder: Path, detectors: Mapping[str, Any] = DETECTORS, counts: Sequence[tuple[str, int]] = COUNTS
) -> None:
    """Write the night."""
    from muse_core.simulate.night import simulate_night
    from muse_core.simulate.night_scenes import scenes_of_night
    from muse_core.simulate.night_schedule import NightSetup
    from muse_core.simulate.raw_instrument import RawSetup

    raw = RawSetup(**detectors)
    scenes = scenes_of_night(raw)
    night = NightSetup(raw=raw, mode="WFM-NOAO-N", counts=tuple(counts), traps=False, scenes=scenes)
    simulate_night(folder, night)


def plan(night: Path, folder: Path, wishes: Sequence[str]) -> list[dict]:
    """Plan the cascade; returns the steps."""
    words = ["musetools", "sof", "--night", str(night), "-o", str(folder), *wishes]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return tomllib.loads((folder / "plan.toml").read_text())["step"]


def run_chain(
    chain: Chain, steps: Sequence[dict], planned: Path, options: Mapping[str, list[str]], limits: Limits
) -> bool:
    """Run what differs from the base of the chain, in order; returns whether the cube was made.

    If not, ``chain.failed`` tells why.
    """
    if chain.base is not None and chain.base.failed:
        chain.failed = f"not run: {chain.base.name} failed"
        return False
    changed: set[int] = set()  # from the chain that it departs from
    fresh: set[int] = set()  # made by this call
    for step in steps:
        name, recipe = f"{step['number']:02d}_{step['recipe']}", step["recipe"]
        place = chain.folder / name
        same = chain.base is not None and chain.runner(recipe) == chain.base.runner(recipe)
        if same and not changed & set(step["needs"]):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(chain.base.folder / name)
            continue
        changed.add(step["number"])
        if (place / "made").exists() and not fresh & set(step["needs"]):
            chain.used[name] = Used(**json.loads((place / "made").read_text()))
            continue
        fresh.add(step["number"])
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        used = run_step(chain, step, place, planned, options.get(recipe, []), limits)
        if used is None:
            return False
        chain.used[name] = used
    return True


def run_step(
    chain: Chain, step: dict, place: Path, planned: Path, more: list[str], limits: Limits
) -> Used | None:
    """Run one step; returns what it cost, or None if it failed (``chain.failed`` and the log say why)."""
    recipe, mine = step["recipe"], chain.runner(step["recipe"]) == "ours"
    made = (chain.given or chain).folder
    text = (planned / step["sof"]).read_text().replace(f"{planned}/", f"{made}/")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        if not Path(line.split()[0]).exists():
            print(f"({chain.name}: {place.name} without {line.split()[0]})", flush=True)
    lines = [line for line in lines if Path(line.split()[0]).exists()]
    (place / "in.sof").write_text("\n".join(lines) + "\n")
    (command,) = step["commands"]
    options = [word for word in shlex.split(command)[2:-1] if word != "--nifu=-1"] + more
    all_ifus = ["--nifu=-1"] if "--nifu=-1" in command else []
    if mine:
        runs = [["muserun", recipe, *all_ifus, *options, "in.sof"]]
    elif chain.given:  # ends with an error for IFUs that are not there, after the others
        runs = [["esorex", "--log-dir=.", recipe, *all_ifus, *options, "in.sof"]]
    else:  # fails for IFUs that are not there
        ifus = sorted({int(name[-7:-5]) for name in step["products"] if name[-8:-7] == "-"})
        each = [[f"--nifu={n}"] for n in ifus] if "--nifu=-1" in command else [[]]
        runs = [["esorex", "--log-dir=.", recipe, *one, *options, "in.sof"] for one in each]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    total = Used()
    with (place / "log.txt").open("wb") as log:
        for words in runs:
            started = time.perf_counter()
            job = subprocess.Popen(
                limits.command(words, mine), cwd=place, env=environment, stdout=log, stderr=log
            )
            _, status, usage = os.wait4(job.pid, 0)
            job.returncode = code = os.waitstatus_to_exitcode(status)
            total.wall += time.perf_counter() - started
            total.cpu += usage.ru_utime + usage.ru_stime
            total.memory_mb = max(total.memory_mb, usage.ru_maxrss / 1024)
            if code:
                if chain.given:
                    print(f"({chain.name}: {place.name} ended with {code})", flush=True)
                    continue
                late = f", ended after {limits.minutes:g} minutes" if code in (124, 137) else ""
                chain.failed = f"{place.name}: {words[0]} ended with {code}{late}, see {place / 'log.txt'}"
                return None
    (place / "made").write_text(json.dumps(vars(total)))
    return total


def mixtures(recipes: Sequence[str], ours: Chain, theirs: Chain) -> list[Chain]:
    """Return the mixed chains, one recipe exchanged at a time."""
    root, chains = ours.folder.parent, []
    for recipe in recipes:
        short = recipe.removeprefix("muse_")
        chains.append(Chain(f"ours, {short} by C", root / f"ours_c_{short}", {recipe: "C"}, "ours", ours))
        chains.append(Chain(f"C, {short} by ours", root / f"c_ours_{short}", {recipe: "ours"}, "C", theirs))
    return chains


def print_results(chains: Sequence[Chain], truth: Mapping[str, Any]) -> None:
    """Measure and print what came back, a line for each chain; notes of a chain where that fails."""
    from muse_core.simulate.night_truth import Recovery, measure

    titles = Recovery.titles()
    print("\n| chain | " + " | ".join(titles) + " |")
    print("|---" * (1 + len(titles)) + "|")
    for chain in chains:
        try:
            found = measure(chain.folder, truth)
        except (OSError, RuntimeError, ValueError, KeyError) as error:  # of a product no table can be made of
            chain.failed = f"its products cannot be measured: {error}"
        else:
            print(f"| {chain.name} | " + " | ".join(found.texts()) + " |", flush=True)


def print_costs(chains: Sequence[Chain]) -> None:
    """Print wall time, CPU time and peak memory of the steps of ours and of C."""
    print("\n| step | " + " | ".join(f"{c.name}: wall [s] | CPU [s] | memory [MB]" for c in chains) + " |")
    print("|---" * (1 + 3 * len(chains)) + "|")
    for name in chains[0].used:
        cells = [c.used.get(name, Used()) for c in chains]
        print(
            f"| {name[3:]} | "
            + " | ".join(f"{u.wall:.1f} | {u.cpu:.1f} | {u.memory_mb:.0f}" for u in cells)
            + " |"
        )
    sums = [
        (sum(u.wall for u in c.used.values()), sum(u.cpu for u in c.used.values()),
         max(u.memory_mb for u in c.used.values()))
        for c in chains
    ]  # fmt: skip
    print("| all | " + " | ".join(f"{a:.0f} | {b:.0f} | {m:.0f}" for a, b, m in sums) + " |")


def main() -> int:
    """Simulate, run the chains, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--night", type=Path, help="a night that is there, with its calibrations")
    parser.add_argument(
        "--use", action="append", default=[], help="tag that is made of frames of the night (for --night)"
    )
    parser.add_argument(
        "--chains", nargs="*", default=["ours", "C", "mixed"], choices=["ours", "C", "given", "mixed"]
    )
    parser.add_argument(
        "--memory", type=float, default=60.0,
        help="addresses of a C recipe at most [GB] (default 60: sound runs reserve 30)",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=10.0, help="of a command at most (default 10)")
    options = parser.parse_args()
    root = options.folder.absolute()
    night = (options.night or root / "night").absolute()
    if not night.exists():
        maker = multiprocessing.get_context("spawn").Process(target=simulate, args=(night,))
        maker.start()
        maker.join()
    wishes = [word for tag in options.use for word in ("--use", tag)] if options.night else WISHES
    steps = plan(night, root / "plan", wishes)
    recipes = list(dict.fromkeys(step["recipe"] for step in steps))
    ours, theirs = Chain("ours", root / "ours", {}, "ours"), Chain("C", root / "c", {}, "C")
    given = Chain("C on our products", root / "given", {}, "C", given=ours)
    chains = [chain for chain in (ours, theirs) if chain.name in options.chains]
    chains += [given] if "given" in options.chains else []
    if "mixed" in options.chains:
        chains += mixtures(recipes, ours, theirs)
    extra, limits = {} if options.night else OPTIONS, Limits(options.minutes, options.memory)
    ended = [chain for chain in chains if run_chain(chain, steps, root / "plan", extra, limits)]
    if costs := [chain for chain in (ours, theirs, given) if chain.used]:
        print_costs(costs)
    ended = [chain for chain in ended if not chain.given]
    if (night / "truth.json").exists() and ended:
        print_results(ended, json.loads((night / "truth.json").read_text()))
    failed = [chain for chain in chains if chain.failed]
    for chain in failed:
        print(f"{chain.name} failed: {chain.failed}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

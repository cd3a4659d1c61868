# SPDX-License-Identifier: BSD-3-Clause
"""The whole corpus: ``python -m tests.corpus --seed 1 --per-tag 150 --seconds 3000``.

Ends with status 1 if a recipe did what none may do: a signal, a hang, a traceback (plain or hidden in a
message), half a product, or a product without sense and without a warning.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path


def _child(work: Callable[[], None]) -> int:
    """Do some work in a fork and return its process number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException as error:  # noqa: BLE001  told, and the parent sees the status
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _run(name: str, args: argparse.Namespace, until: float, results: Sequence[Path]) -> None:
    """Make a world, then its cases in as many processes as there are results."""
    from tests.corpus.all_worlds import WORLDS
    from tests.corpus.runner import cases, prepare

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        world = WORLDS[name](home)
        sound = prepare(world, home)

        def share(number: int) -> None:
            found = []
            for case in cases(
                world, sound, home, seed=args.seed, per_tag=args.per_tag, seconds=until - time.monotonic(),
                tags=args.tags, families=tuple(args.families), share=(number, len(results)), first=args.first,
            ):  # fmt: skip
                found.append(case)
                if args.report:
                    with args.report.open("a", encoding="utf-8") as report:
                        report.write(case.line() + "\n")
            results[number].write_bytes(pickle.dumps(found))

        children = [_child(lambda number=number: share(number)) for number in range(len(results))]
        statuses = [os.waitpid(child, 0)[1] for child in children]
        if any(statuses):
            raise RuntimeError(f"the cases of {name} could not be made")


def main() -> int:
    """Run the corpus and print its tables."""
    from tests.corpus.all_worlds import WORLDS
    from tests.corpus.runner import cores, never_broken, table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", choices=[*WORLDS, []], help="sets of inputs (all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-tag", type=int, default=150, help="broken files for each tag (150)")
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to go on with a run")
    parser.add_argument("--seconds", type=float, default=3600.0, help="budget of all together (3600)")
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--tags", nargs="*", default=(), help="only files of these tags")
    parser.add_argument("--families", nargs="*", default=(), help="only these kinds of damage to files")
    parser.add_argument("--report", type=Path, help="file for all cases, one per line as they come")
    args = parser.parse_args()
    if args.report:
        args.report.write_text("", encoding="utf-8")
    started, found, broken = time.monotonic(), [], False
    names = args.worlds or list(WORLDS)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        for left, name in zip(range(len(names), 0, -1), names, strict=True):
            now = time.monotonic()
            results = [Path(folder) / f"{name}-{n}" for n in range(args.jobs)]
            until = now + (args.seconds - (now - started)) / left
            if os.waitpid(_child(lambda: _run(name, args, until, results)), 0)[1]:  # noqa: B023  waited for here
                broken = True
                continue
            for result in results:
                found += pickle.loads(result.read_bytes())  # noqa: S301  written above
            print(f"{name}: {len(found)} cases after {time.monotonic() - started:.0f} s", flush=True)
    bad = [case for case in found if not case.verdict.outcome.startswith(("ok", "error"))]
    for title, by in (("family", lambda c: c.family), ("tag", lambda c: f"{c.world} {c.tag}")):
        print(f"\nby {title}\n\n{table(found, by)}")
    print()
    for case in bad:
        print(case.line())
    if not (args.worlds or args.tags) and (missing := never_broken({(c.recipe, c.tag) for c in found})):
        print(f"inputs of which no file was broken: {', '.join(missing)}")
        broken = True
    return 2 if broken else 1 if any(case.verdict.outcome != "unclear error" for case in bad) else 0


if __name__ == "__main__":
    sys.exit(main())

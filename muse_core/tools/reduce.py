# SPDX-License-Identifier: BSD-3-Clause
"""Reduce a folder of raw frames: plan the cascade, run it, and end with one page for all of it.

``musetools reduce NIGHT`` plans as ``musetools sof --night`` does and runs the steps, those that do not wait
for each other side by side. What is there and up to date is left out, so that the same command goes on after
an interruption; an IFU or an exposure that fails takes nothing else with it. Products lie in one folder for
each step, ``night.html`` beside them shows what came out.

Exit: 0 everything was made; 4 something is missing, see the page; 1 nothing could be planned; 2 wrong usage;
3 damaged index; 130 stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muse_core.tools._calib_options import DAMAGE, add_choice_options, say

if TYPE_CHECKING:
    from muse_core.calib.plan import Step
    from muse_core.calib.run_plan import StepResult

SUMMARY = "from a folder of raw frames to the combined cube"
PART, STOPPED = 4, 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this sub-command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="folder with the raw frames")
    parser.add_argument("-o", "--output", type=Path, help="folder of plan and products (default: FOLDER/sof)")
    parser.add_argument(
        "--date", metavar="YYYY-MM-DD", action="append", default=[], help="only this night (repeatable)"
    )
    parser.add_argument("--plan", action="store_true", help="print the plan and stop")
    parser.add_argument(
        "--jobs", metavar="N", type=_positive, default=max(1, (os.cpu_count() or 1) // 4),
        help="steps to run side by side (default: one for every four cores); they share the cores",
    )  # fmt: skip
    parser.add_argument(
        "--cluster", metavar="ADDRESS", help="scheduler of a Dask cluster that shares the folders"
    )
    parser.add_argument(
        "--again", metavar="STEP", action="append", default=[],
        help="run a step though it is up to date: its number, its name, or a recipe (repeatable)",
    )  # fmt: skip
    parser.add_argument("--no-pages", action="store_true", help="no quality page for each step")
    add_choice_options(parser)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return number


def main(args: argparse.Namespace) -> int:
    """Run ``musetools reduce``."""
    import sqlite3

    from muse_core.calib.store import IndexDamagedError, index_trouble
    from muse_core.tools._night_plan import plan_folder, plan_lines, planned

    try:
        with _alone(plan_folder(args.folder, args.output)), _stopping():
            steps, folder = planned(args, args.folder, args.output)
            print("\n".join(plan_lines(steps)), flush=True)
            if args.plan:
                return 0
            _check_names(args.again, steps)
            return _reduce(args, steps, folder)
    except IndexDamagedError as error:
        say(f"musetools reduce: {error}")
        return DAMAGE
    except sqlite3.Error as error:
        say(f"musetools reduce: {index_trouble(error)}")
        return DAMAGE
    except KeyboardInterrupt:
        say("stopped; what is done is kept, the same command goes on from there")
        return STOPPED


def _check_names(again: list[str], steps: list[Step]) -> None:
    from muse_core.framework.errors import RecipeError

    known = {name for step in steps for name in (step.name, str(step.number), step.recipe.name)}
    wrong = [name for name in again if name not in known]
    if wrong:
        names = ", ".join(step.name for step in steps)
        raise RecipeError(f"--again {wrong[0]}: no such step; there are: {names}")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Have no other process run the same plan at the same time; a folder that stays empty goes again."""
    import fcntl

    from muse_core.framework.errors import RecipeError

    new = not folder.exists()
    if not new and not folder.is_dir():
        raise RecipeError(
            f"{folder} is a file; give a folder for the products (it is made if it is not there)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".reduce.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RecipeError(
                f"{folder}: another musetools reduce works there; wait for it, or give another folder by -o"
            ) from error
        try:
            yield
        except RecipeError:
            if new and list(folder.iterdir()) == [path]:
                path.unlink()
                folder.rmdir()
            raise


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """End as Ctrl-C does when a batch system says so."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _workers(args: argparse.Namespace) -> Iterator[Executor]:
    if not args.cluster:
        with ThreadPoolExecutor(args.jobs) as pool:
            yield pool
        return
    from muse_core.framework.errors import RecipeError

    try:
        from distributed import Client
    except ImportError:
        raise RecipeError("--cluster needs the package distributed: pip install distributed") from None
    try:
        client = Client(args.cluster, timeout=30)
    except (OSError, ValueError) as error:
        raise RecipeError(f"--cluster {args.cluster}: no scheduler answers: {error}") from None
    with client:
        yield client.get_executor(pure=False, retries=1)


def _environment(args: argparse.Namespace) -> dict[str, str]:
    """Variables of the commands: the steps that run side by side share the threads."""
    from muse_core.framework.settings import Environment, child_environment

    changes: dict[str, object] = {} if args.no_pages else {"MUSE_RECIPES_REPORT": 1}
    if args.jobs > 1 and not args.cluster:
        changes["OMP_NUM_THREADS"] = max(1, Environment.read().threads // args.jobs)
    return child_environment(changes)


def _reduce(args: argparse.Namespace, steps: list[Step], folder: Path) -> int:
    from muse_core.calib.run_plan import run_steps

    started = time.time()

    def told(what: StepResult | str) -> None:
        if isinstance(what, str):
            print(f"{time.strftime('%H:%M:%S')} {what:<26} runs", flush=True)
        else:
            print(f"{time.strftime('%H:%M:%S')} {_line(what)}", flush=True)

    with _workers(args) as executor:
        slots = len(steps) if args.cluster else args.jobs
        results = run_steps(steps, folder, executor, slots, _environment(args), told, args.again)
    page = _write_page(steps, results, folder, started)
    short = sum(_short(result) for result in results)
    print(f"{len(results) - short} of {len(results)} steps made all they should; {page}")
    return PART if short else 0


def _short(result: StepResult) -> bool:
    """Whether a step made less than it should."""
    return result.part or result.state in ("failed", "blocked")


def _line(result: StepResult) -> str:
    from muse_core.calib.run_plan import STATES

    seconds = f"{result.seconds:8.1f} s" if result.state in ("done", "partial", "failed") else " " * 10
    text = f"{result.name:<26} {STATES[result.state]:<13}{seconds}"
    return "  ".join([text, *_remarks(result)]).rstrip()


def _remarks(result: StepResult) -> list[str]:
    from muse_core.calib.run_plan import some_of

    remarks = [result.reason] if result.reason else []
    if result.left_out:
        remarks.append(f"without {some_of(result.left_out)}")
    return remarks


def _write_page(steps: list[Step], results: list[StepResult], folder: Path, started: float) -> Path:
    """Write night.html and night.json; returns the path of the page."""
    from muse_core.calib.run_plan import STATES
    from muse_core.framework.record import RunRecord
    from muse_core.report.night import NightStep, night_page

    told = [
        NightStep(
            result.name, step.recipe.name, _subject(step), STATES[result.state], not _short(result),
            result.seconds, _remarks(result), sorted(result.products), result.follows,
        )
        for step, result in zip(steps, results, strict=True)
    ]  # fmt: skip
    science = [step for step in steps if step.recipe.name == "muse_scipost"] or steps
    objects = sorted({target.object for step in science for target in step.targets if target.object})
    facts = [("target", ", ".join(objects) or "none"), ("folder", str(folder))]
    record = RunRecord("musetools reduce", wall_s=0.0)
    record.started = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started))
    facts.append(("wall time of this run", f"{time.time() - started:.0f} s"))
    values: dict[str, Any] = {"started": record.started, "version": record.version}
    values["steps"] = [asdict(result) for result in results]
    for name, text in (
        ("night.json", json.dumps(values, indent=1) + "\n"),
        ("night.html", night_page(told, folder, facts).html(record)),
    ):
        temporary = folder / f".{name}.{os.getpid()}.part"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        temporary.replace(folder / name)
    return folder / "night.html"


def _subject(step: Step) -> str:
    first = step.targets[0]
    count = f"{len(step.targets)} x " if len(step.targets) > 1 else ""
    names = sorted({target.object for target in step.targets if target.object})
    return f"{count}{first.tag.removeprefix('PIXTABLE_')} {', '.join(names) or first.name}"

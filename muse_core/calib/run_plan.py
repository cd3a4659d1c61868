# SPDX-License-Identifier: BSD-3-Clause
"""Running a plan: each step when what it waits for has ended, side by side where there are cores.

A step is one or several commands, each a process of its own. What a step was run with (commands, version,
names, sizes and times of its frames) stands as a key in the file ``reduced.json`` of its folder: a step whose
key and products are still the same is left out the next time, all others run again. A step that fails takes
nothing with it but the steps that cannot do without it: frames that were not made (an IFU, an exposure) are
left out of the sets of later steps, as long as others with the same tag are there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path

from muse_core.calib.plan import Step
from muse_core.framework.bound_process import bound
from muse_core.framework.delivery import remove_left_folders
from muse_core.framework.workers import isolated_python
from muse_core.version import __version__

RECORD = "reduced.json"
LOG = "log.txt"
PARTIAL = 4  # exit code of muserun: products were made, but not all
STATES = {
    "done": "done",
    "current": "up to date",
    "partial": "done in part",
    "failed": "failed",
    "blocked": "not run",
}
FINE = ("done", "current", "partial")
_STAMP = re.compile(r"^\d\d:\d\d:\d\d +\[ *ERROR *\] *(?:muserun: )?")


@dataclass
class StepResult:
    """How a step ended.

    Parameters
    ----------
    name : str
        of its folder
    state : str
        one of `STATES`
    reason : str
        why it was not run, or the last words of its log
    left_out : list of str
        frames that were planned and are not there
    products : dict of str
        size and time of each product, by file name
    key : str
        what it was run with
    seconds : float
    part : bool
        some of it is missing, from this run or an earlier one
    follows : list of str
        the steps that should have made what this one cannot do without
    """

    name: str
    state: str
    reason: str = ""
    left_out: list[str] = field(default_factory=list)
    products: dict[str, str] = field(default_factory=dict)
    key: str = ""
    seconds: float = 0.0
    part: bool = False
    follows: list[str] = field(default_factory=list)


def run_steps(
    steps: Sequence[Step],
    folder: Path,
    executor: Executor,
    slots: int,
    environment: dict[str, str],
    told: Callable[[StepResult | str], None],
    again: Iterable[str] = (),
) -> list[StepResult]:
    """Run what is not up to date; returns how each step ended, in the order of the plan.

    Parameters
    ----------
    steps : of `plan_night`, each after those it waits for
    folder : of the plan, where the steps have their folders and sets of frames
    executor : runs a step in one of its workers (threads, or a Dask cluster that shares the folder)
    slots : how many steps may run at the same time
    environment : all variables of the commands
    told : is called with the name of a step that begins and with the result of one that has ended
    again : names or numbers of steps, or names of recipes, that run even if they are up to date
    """
    _stopped.clear()
    wanted = set(again)
    names = {step.key: step.name for step in steps}
    results: dict[str, StepResult] = {}
    waiting, running = list(steps), dict[Future[StepResult], Step]()
    try:
        while waiting or running:
            for step in list(waiting):
                if len(running) >= slots:
                    break
                if any(names[key] not in results for key in step.needs if key in names):
                    continue
                waiting.remove(step)
                anew = bool(wanted & {step.name, str(step.number), step.recipe.name})
                job = _prepare(step, folder, anew)
                if isinstance(job, StepResult):
                    results[step.name] = job
                    told(job)
                else:
                    told(step.name)
                    running[executor.submit(run_commands, job, environment)] = step
            if not running:
                continue
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                result = future.result()
                results[running.pop(future).name] = result
                told(result)
    except BaseException:
        for future in running:
            future.cancel()
        stop_commands()
        raise
    return [results[step.name] for step in steps]


@dataclass(frozen=True)
class Job:
    """What a worker needs to run a step."""

    name: str
    folder: str
    commands: tuple[str, ...]
    left_out: tuple[str, ...]
    key: str


def _prepare(step: Step, folder: Path, anew: bool) -> Job | StepResult:
    """Look at what is there: a job if the step is to run, else how it ends without."""
    if step.sof is None or step.sof.missing:
        lacks = ", ".join(step.sof.missing) if step.sof else "set of frames"
        remedy = f"give their folder with --calib, see {step.name}.sof.incomplete"
        return StepResult(step.name, "blocked", f"no {lacks}; {remedy}")
    lines: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    for path, tag in step.sof.lines:
        made_here = path.startswith(f"{folder}/")
        (left_out if made_here and not Path(path).is_file() else lines).append((path, tag))
    kept = {tag for _, tag in lines}
    lost = sorted({(tag, Path(path).parent.name) for path, tag in left_out if tag not in kept})
    if lost:
        makers = list(dict.fromkeys(maker for _, maker in lost))
        tags = some_of(list(dict.fromkeys(tag for tag, _ in lost)))
        reason = f"no {tags}, which {some_of(makers)} should have made"
        return StepResult(step.name, "blocked", reason, follows=makers)
    if step.recipe.name == "muse_exp_align" and sum(tag == "IMAGE_FOV" for _, tag in lines) < 2:
        return StepResult(step.name, "blocked", "only one exposure is left: nothing to align")
    place = folder / step.name
    commands = step.commands
    if left_out:
        place.mkdir(exist_ok=True)
        text = "".join(f"{path} {tag}\n" for path, tag in lines)
        (place / "used.sof").write_text(text, encoding="utf-8", errors="surrogateescape")
        commands = [command.replace(f"../{step.name}.sof", "used.sof") for command in commands]
    key = _key(commands, lines)
    names = tuple(Path(path).name for path, _ in left_out)
    before = None if anew else _up_to_date(place, key)
    return before or Job(step.name, str(place), tuple(commands), names, key)


def some_of(names: Sequence[str]) -> str:
    """Return at most three names as text, and how many more there are.

    >>> some_of(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _key(commands: Sequence[str], lines: Sequence[tuple[str, str]]) -> str:
    told = [__version__, *commands, *(f"{path} {tag} {_stamp(Path(path))}" for path, tag in lines)]
    return hashlib.sha256("\n".join(told).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"


def _up_to_date(place: Path, key: str) -> StepResult | None:
    """Return how the step ended before, if it was run with the same and its products are still the same."""
    try:
        values = json.loads((place / RECORD).read_text(encoding="utf-8"))
        result = StepResult(**values)
    except (OSError, ValueError, TypeError):
        return None
    if result.key != key or result.state not in FINE or not result.products:
        return None
    if any(_stamp(place / name) != stamp for name, stamp in result.products.items()):
        return None
    result.state = "current"
    return result


_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()
_stopped = threading.Event()


def stop_commands() -> None:
    """End the commands that run in this process, and start no others."""
    _stopped.set()
    with _lock:
        for job in _running:
            os.killpg(job.pid, signal.SIGTERM)


def run_commands(job: Job, environment: dict[str, str]) -> StepResult:
    """Run the commands of a step in its folder, their output in its log; writes its record."""
    place = Path(job.folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / RECORD).unlink(missing_ok=True)
    if (place / LOG).exists():  # the folder is of an earlier run of the step
        for old in place.glob("*.fits"):
            old.unlink()
        remove_left_folders(place)
    foreign = {path.name: _stamp(path) for path in place.glob("*.fits")}
    started, status = time.monotonic(), 0
    with (place / LOG).open("wb") as log:
        for command in job.commands:
            status = max(status, _run(shlex.split(command), place, log, environment), key=_badness)
            if status not in (0, PARTIAL):
                break
    state = {0: "done", PARTIAL: "partial"}.get(status, "failed")
    products = {path.name: _stamp(path) for path in sorted(place.glob("*.fits"))}
    products = {name: stamp for name, stamp in products.items() if foreign.get(name) != stamp}
    if state == "failed":  # what it has left may be cut off
        for name in products:
            (place / name).unlink(missing_ok=True)
        products = {}
    reason = "" if state == "done" else _last_words(place / LOG)
    part = state == "partial" or bool(job.left_out)
    seconds = round(time.monotonic() - started, 2)
    result = StepResult(job.name, state, reason, list(job.left_out), products, job.key, seconds, part)
    temporary = place / f".{RECORD}.part"
    temporary.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    temporary.replace(place / RECORD)
    return result


def _badness(status: int) -> int:
    return {0: 0, PARTIAL: 1}.get(status, 2)


def _run(words: list[str], place: Path, log: object, environment: dict[str, str]) -> int:
    if words[0] == "muserun":  # of this installation, whatever the search path of the shell finds
        words = isolated_python("muse_core.hosts.muserun", *words[1:])
    with _lock:
        if _stopped.is_set():
            return 130
        job = subprocess.Popen(
            bound(words), cwd=place, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environment, start_new_session=True,
        )  # type: ignore[call-overload]  # fmt: skip
        _running.add(job)
    try:
        return int(job.wait())
    finally:
        with _lock:
            _running.discard(job)


def _last_words(log: Path) -> str:
    """Return the last error of a log, else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    # the last error of a recipe is followed by that of its host, which only says that it failed
    errors = [
        line for line in lines if "ERROR" in line.upper() and "Execution of recipe" not in line
    ] or lines
    return _STAMP.sub("", errors[-1])[:300] if errors else ""

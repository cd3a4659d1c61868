# SPDX-License-Identifier: BSD-3-Clause
"""All cases of a world, within a budget of time, and the table of what became of them."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.corpus.damage import broken
from tests.corpus.judge import BAD, GOOD, Verdict, sound_verdict, verdict
from tests.corpus.run_damage import PARAMETERS, RUNS, odd_run
from tests.corpus.target import Target
from tests.corpus.worlds import World

ATTEMPTS = 20
"""Draws for a broken file that is none of the earlier ones."""


@dataclass(frozen=True)
class Case:
    """One broken input and what a recipe did with it."""

    world: str
    tag: str
    number: int
    family: str
    damage: str
    verdict: Verdict
    recipe: str = ""

    def line(self) -> str:
        """One line for a report."""
        found = self.verdict
        head = f"{self.world} {self.tag} {self.number} [{self.family}] {self.damage}"
        return f"{head}: {found.outcome} ({found.seconds:.1f} s): {found.text.replace(chr(10), ' | ')[:600]}"


def prepare(world: World, out: Path) -> dict[str, Verdict]:
    """Run the sound inputs once in this process (modules, compiled functions), then once for each tag."""
    from muse_core.framework import run_recipe

    logging.disable(logging.CRITICAL)
    try:
        for number, settings in enumerate(
            {str(world.settings(t)): world.settings(t) for t in world.tags()}.values()
        ):
            folder = out / f"first{number}"
            folder.mkdir()
            run_recipe(world.recipe, world.frames, settings, workdir=folder, threads=1, report=True)
    finally:
        logging.disable(logging.NOTSET)
    sound = {}
    for tag in (*world.tags(), *RUNS):
        folder = out / f"sound-{tag}"
        folder.mkdir()
        sound[tag] = sound_verdict(world, tag, folder)
        shutil.rmtree(folder)
    return sound


def one_run(world: World, kind: str, number: int, seed: int, sound: Verdict, folder: Path) -> Case:
    """Run the recipe with sound files, odd parameters or an odd set of frames."""
    from muse_core.framework.registry import load

    home = Path(tempfile.mkdtemp(prefix="case-", dir=folder))
    try:
        spec, label = load(world.recipe).spec, f"{world.name}:{kind}"
        odd = odd_run(kind, seed, label, number, spec, world.options, world.frames, home)
        out = home / "out"
        out.mkdir()
        changed = replace(world, options=odd.settings, by_tag={})
        found = verdict(changed, odd.frames, kind, odd.named, out, sound, report=number % 16 == 1)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    family = "parameters" if kind == PARAMETERS else "set of frames"
    return Case(world.name, kind, number, family, odd.told, found, world.recipe)


def _distinct(
    seed: int, label: str, number: int, target: Target, families: tuple[str, ...], seen: Path
) -> tuple[str, str]:
    """Write a broken file that no other process of this corpus has made, if that can be had in some attempts.

    The folder `seen` has an empty file for each of them.
    """
    seen.mkdir(exist_ok=True)
    for attempt in range(ATTEMPTS):
        family, told = broken(seed, label, number, target, families, attempt)
        copy = target.copy
        content = copy.read_bytes() if copy.is_file() and not copy.is_symlink() else told.encode()
        mark = seen / hashlib.sha256(label.encode() + content).hexdigest()[:32]
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            _remove(copy)
            continue
        return family, told if not attempt else f"{told} (attempt {attempt})"
    return broken(seed, label, number, target, families)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def broken_copy(
    world: World,
    tag: str,
    number: int,
    seed: int,
    home: Path,
    families: tuple[str, ...],
    seen: Path,
) -> tuple[Path, Path, str, str]:
    """Write the broken file of a case; returns the sound and the broken one, the family and what was done."""
    paths = [path for path, name in world.frames if name == tag]
    source = paths[number % len(paths)]
    others = tuple(dict.fromkeys(path for path, name in world.frames if name != tag))
    copy = home / f"broken-{source.name}"
    target = Target(source, copy, others)
    family, told = _distinct(seed, f"{world.name}:{tag}", number, target, families, seen)
    return source, copy, family, told


def different_files(world: World, tag: str, per_tag: int, seed: int, folder: Path) -> int:
    """Return how many different broken files of a tag are made, of so many that are asked for."""
    home, seen = folder / f"made-{tag}", folder / f"seen-{tag}"
    home.mkdir()
    for number in range(per_tag):
        _, copy, _, _ = broken_copy(world, tag, number, seed, home, (), seen)
        _remove(copy)
    return sum(1 for _ in seen.iterdir())


def one_case(
    world: World,
    tag: str,
    number: int,
    seed: int,
    sound: Verdict,
    folder: Path,
    families: tuple[str, ...] = (),
) -> Case:
    """Break a file of a tag (or a run, see `RUNS`) and run the recipe."""
    if tag in RUNS:
        return one_run(world, tag, number, seed, sound, folder)
    home = Path(tempfile.mkdtemp(prefix="case-", dir=folder))
    try:
        source, copy, family, told = broken_copy(world, tag, number, seed, home, families, folder / "seen")
        frames = [(copy if path == source and name == tag else path, name) for path, name in world.frames]
        out = home / "out"
        out.mkdir()
        found = verdict(world, frames, tag, (copy.name,), out, sound, report=number % 16 == 1)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return Case(world.name, tag, number, family, told, found, world.recipe)


def cases(
    world: World,
    sound: dict[str, Verdict],
    folder: Path,
    *,
    seed: int,
    per_tag: int,
    seconds: float = float("inf"),
    tags: Sequence[str] = (),
    families: tuple[str, ...] = (),
    share: tuple[int, int] = (0, 1),
    first: int = 0,
) -> Iterator[Case]:
    """Yield the cases of a world, the numbers of all tags in turn, until the time is over.

    Parameters
    ----------
    sound : what the sound inputs give, see `prepare`
    seconds : budget; the cases that are left are not run
    families : of damage to files; all if empty
    share : (this process, number of processes): which of the cases are made here
    first : number of the first case of each tag
    """
    started = time.monotonic()
    known = [*world.tags(), *RUNS]
    listed = [(number, tag) for number in range(first, per_tag) for tag in known if not tags or tag in tags]
    for number, tag in listed[share[0] :: share[1]]:
        if time.monotonic() - started > seconds:
            return
        yield one_case(world, tag, number, seed, sound[tag], folder, families)


def never_broken(done: Collection[tuple[str, str]]) -> list[str]:
    """Inputs that recipes declare and that are not among those done (recipe, tag)."""
    from muse_core.framework import registry

    declared = ((name, i.tag) for name in registry.names() for i in registry.load(name).spec.inputs)
    return [f"{name} {tag}" for name, tag in declared if (name, tag) not in done]


def table(found: Sequence[Case], by: Callable[[Case], str]) -> str:
    """Numbers of cases and of each outcome, as a table in Markdown."""
    outcomes = (*GOOD, *BAD)
    counts: dict[str, Counter[str]] = {}
    for case in found:
        counts.setdefault(by(case), Counter())[case.verdict.outcome] += 1
    head = ["", "cases", *outcomes]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    total: Counter[str] = Counter()
    for name, count in sorted(counts.items()):
        total += count
        lines.append("| " + " | ".join([name, str(count.total()), *(str(count[o]) for o in outcomes)]) + " |")
    lines.append("| " + " | ".join(["all", str(total.total()), *(str(total[o]) for o in outcomes)]) + " |")
    return "\n".join(lines)


def cores() -> int:
    """Number of processes that may run at a time."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# SPDX-License-Identifier: BSD-3-Clause
"""What a run is going to do, told before the work: passes, memory, disk, time; refused if it cannot be done.

The time comes from rates of a usual machine (seconds per million units of each pass) and from how much longer
this one takes for each step, which earlier runs have left in the user's cache folder. Where they have not, it
is said.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from muse_core.framework.errors import LimitError, WriteError
from muse_core.framework.places import cache_folder

MACHINE_FILE = "machine.json"
RUNS_KEPT = 5
"""Of each step; the one in the middle counts, so that rates follow the machine and odd runs do not decide."""
LEAST_STEP = 0.3
"""Seconds that a step takes on a usual machine; a shorter one tells what it takes for any number of rows."""
LEAST_SECONDS = 5.0
"""A shorter run tells nothing of the machine: it is made of imports and of compiling."""
SURE_PART = 0.8
"""Of the estimate of the disk: if even that is not free, the run is refused."""
START_SECONDS = 1.0
WORTH_TELLING = 10.0


@dataclass(frozen=True)
class Pass:
    """One pass over data.

    Parameters
    ----------
    title : as the clock of the run calls the step it belongs to
    amount : of what is treated, in `unit`
    bytes_read : from the inputs
    rate : seconds per million units with one thread, on a usual machine
    """

    title: str
    amount: float
    bytes_read: float
    rate: float
    unit: str = "rows"


@dataclass(frozen=True)
class WorkPlan:
    """What a run is going to do.

    Parameters
    ----------
    passes : in their order
    files : number of input files
    memory_bytes : at the peak
    memory_least : the least with which it can be done at all
    disk_bytes : of the products, and of what is written on the way
    notes : sentences
    """

    passes: tuple[Pass, ...]
    files: int
    memory_bytes: float
    memory_least: float
    disk_bytes: float
    notes: tuple[str, ...] = ()

    @property
    def bytes_read(self) -> float:
        """Bytes that are read of the inputs in all passes."""
        return sum(work.bytes_read for work in self.passes)


class PlanMade(Exception):  # noqa: N818  no error: the plan was all that was asked for
    """Ends a run whose plan was all that was asked for."""


@dataclass
class Machine:
    """How fast this machine is, as earlier runs have found.

    Parameters
    ----------
    rates : times of a step over that of a usual machine in the last runs, by recipe and step
    runs : how many runs have told
    """

    rates: dict[str, list[float]] = field(default_factory=dict)
    runs: int = 0

    @classmethod
    def read(cls, path: Path | None = None) -> Machine:
        """Read what earlier runs have left; nothing, or something damaged, is an empty one."""
        try:
            said = json.loads((path or cache_folder() / MACHINE_FILE).read_text())
            rates = {str(name): [float(rate) for rate in found] for name, found in said["rates"].items()}
            good = {name: [rate for rate in found if 0.0 < rate < 1e6] for name, found in rates.items()}
            return cls({name: found for name, found in good.items() if found}, int(said["runs"]))
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def write(self, path: Path | None = None) -> None:
        """Leave it to later runs; where that is not possible it is left out."""
        with contextlib.suppress(OSError, RuntimeError):
            target = path or cache_folder() / MACHINE_FILE
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{os.getpid()}")
            temporary.write_text(json.dumps({"runs": self.runs, "rates": self.rates}, indent=1) + "\n")
            temporary.replace(target)

    def seconds(self, recipe: str, work: Pass, threads: int) -> float:
        """Return the wall time that a pass will take."""
        found = sorted(self.rates.get(f"{recipe}/{work.title}", [1.0]))
        return found[(len(found) - 1) // 2] * work.rate * work.amount / 1e6 / max(threads, 1)

    def learn(self, recipe: str, plan: WorkPlan, steps: Mapping[str, float], threads: int) -> None:
        """Take the times of a run into the rates."""
        for title, taken in steps.items():
            usual = sum(work.rate * work.amount for work in plan.passes if work.title == title) / 1e6
            if usual <= LEAST_STEP * max(threads, 1) or taken <= 0.0:
                continue
            name = f"{recipe}/{title}"
            found = taken * max(threads, 1) / usual
            self.rates[name] = [*self.rates.get(name, ()), found][-RUNS_KEPT:]
        self.runs += 1


@dataclass
class Planned:
    """A plan with what is expected of this machine.

    Parameters
    ----------
    seconds : wall time by title of the passes
    known : the machine has told how fast it is
    """

    plan: WorkPlan
    seconds: dict[str, float]
    known: bool

    @classmethod
    def of(cls, recipe: str, plan: WorkPlan, threads: int, machine: Machine) -> Planned:
        """Say what a plan will take here."""
        seconds: dict[str, float] = {}
        known = True
        for work in plan.passes:
            known &= f"{recipe}/{work.title}" in machine.rates
            seconds[work.title] = seconds.get(work.title, 0.0) + machine.seconds(recipe, work, threads)
        return cls(plan, seconds, known)

    @property
    def total_seconds(self) -> float:
        """Wall time of the whole run."""
        return START_SECONDS + sum(self.seconds.values())

    def lines(self) -> list[str]:
        """Return the plan for a reader."""
        plan = self.plan
        lines = [f"{plan.files} files are read, {amount_text(plan.bytes_read)} in {len(plan.passes)} passes:"]
        for work in plan.passes:
            rows = f"{work.amount / 1e6:.2f} million {work.unit}"
            lines.append(f"  {work.title}: {rows}, {amount_text(work.bytes_read)}")
        lines.append(f"memory: {amount_text(plan.memory_bytes)}, at least {amount_text(plan.memory_least)}")
        lines.append(f"products: {amount_text(plan.disk_bytes)}")
        how = (
            "as earlier runs of this machine" if self.known else "a usual machine: this one is not known yet"
        )
        lines.append(f"time: about {time_text(self.total_seconds)} ({how})")
        return [*lines, *plan.notes]

    def short(self) -> str:
        """Return the plan in a sentence."""
        plan = self.plan
        return (
            f"planned: {len(plan.passes)} passes over {plan.files} files ({amount_text(plan.bytes_read)}), "
            f"memory {amount_text(plan.memory_bytes)}, products {amount_text(plan.disk_bytes)}, "
            f"about {time_text(self.total_seconds)}"
        )

    def compared(self, wall: float, memory_mb: float, written: float) -> str:
        """Return what was planned beside what it was."""
        plan = self.plan
        return (
            f"planned and actual: {time_text(self.total_seconds)} and {time_text(wall)}, memory "
            f"{amount_text(plan.memory_bytes)} and {amount_text(1e6 * memory_mb)}, products "
            f"{amount_text(plan.disk_bytes)} and {amount_text(written)}"
        )


def amount_text(size: float) -> str:
    """Return bytes for a reader.

    >>> amount_text(12_345_678), amount_text(2.5e9)
    ('12 MB', '2.50 GB')
    """
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def time_text(seconds: float) -> str:
    """Return a time for a reader.

    >>> time_text(7.3), time_text(150), time_text(9000)
    ('7 s', '2.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def available_memory() -> float:
    """Return the bytes that this process may still take: of the machine, its group, and its own limit."""
    found = [float("inf")]
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text()
        found.append(1024.0 * int(text.split("MemAvailable:")[1].split()[0]))
    with contextlib.suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            found.append(float(limit) - float(Path("/sys/fs/cgroup/memory.current").read_text()))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError):
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            found.append(float(soft - used))
    return min(found)


def check_plan(plan: WorkPlan, folder: Path, memory: float | None = None) -> None:
    """Refuse a run that the memory or the disk cannot hold, with what can be done.

    Parameters
    ----------
    folder : of the products
    memory : bytes that may be used; None asks the system

    Raises
    ------
    LimitError, WriteError
    """
    there = available_memory() if memory is None else memory
    if plan.memory_least > there:
        raise LimitError(
            f"this run needs {amount_text(plan.memory_least)} of memory at least, {amount_text(there)} are "
            "free; close other programs, or make the cube in parts (larger steps dx and dy, a smaller range "
            "of wavelengths, an OUTPUT_WCS of part of the field)"
        )
    state = os.statvfs(folder)
    free = float(state.f_bavail) * state.f_frsize
    if state.f_blocks and SURE_PART * plan.disk_bytes > free:
        raise WriteError(
            f"the products of this run take about {amount_text(plan.disk_bytes)}, the disk of the output "
            f"folder {folder} has {amount_text(free)} free; make room, choose another folder, or fewer "
            "products (save)"
        )

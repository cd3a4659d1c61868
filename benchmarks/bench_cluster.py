# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost on local workers of a Dask cluster beside threads: time, and what travels in each pass.

    python benchmarks/bench_cluster.py FOLDER [--workers 1 2] [--option skymethod=none ...]

FOLDER holds scipost.sof (made with ``musetools simulate`` or `muse_core.simulate`). Each worker is a process
with one thread; the threaded run has as many threads as there are workers. The runs are made in turn.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import distributed

from muse_core.framework import cluster, run_recipe
from muse_core.framework.settings import Environment


@contextmanager
def workers(folder: Path, count: int) -> Iterator[tuple[str, list[int]]]:
    """A scheduler and workers; gives the scheduler file and their process numbers."""
    file = folder / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    options = ["--no-dashboard", "--scheduler-file", str(file)]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *options]]
    commands += [[*dask, "worker", "--nthreads", "1", "--no-nanny", *options]] * count
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log.txt").open("wb"))
        running = [subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) for command in commands]
        for process in running:
            stack.callback(process.wait)
            stack.callback(process.kill)
        with distributed.Client(scheduler_file=str(file), timeout="60s", set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)
        yield str(file), [process.pid for process in running]


def cpu_of(pid: int) -> float:
    """CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counted(passes: list[tuple[str, int, int, int, float]], with_bytes: bool) -> Any:
    """Note of each pass its name, tasks, bytes of the work, bytes of the results (if wanted), and seconds."""
    made = cluster.Pass.results

    def results(self: Any, tasks: Any) -> Iterator[Any]:
        started, size = time.monotonic(), 0
        for result in made(self, tasks):
            size += len(pickle.dumps(result, protocol=5)) if with_bytes else 0
            yield result
        work = self._work
        inner: Any = getattr(work, "work", None) or work.add
        name = type(inner).__name__ if not hasattr(inner, "__self__") else type(inner.__self__.work).__name__
        passes.append((name, len(tasks), len(cloudpickle.dumps(work)), size, time.monotonic() - started))

    return results


def stream_of(scheduler: str, since: float) -> list[str]:
    """What the task stream of the scheduler says of each worker: seconds of work and of transfers."""
    with distributed.Client(scheduler_file=scheduler, set_as_default=False) as client:
        tasks = client.get_task_stream(start=since)  # the first time it is asked, it begins to listen
    spans: dict[str, dict[str, float]] = {}
    for task in tasks:
        own = spans.setdefault(task["worker"], {})
        for part in task["startstops"]:
            own[part["action"]] = own.get(part["action"], 0.0) + part["stop"] - part["start"]
    return [
        f"    {worker}: " + ", ".join(f"{action} {seconds:.1f} s" for action, seconds in sorted(own.items()))
        for worker, own in sorted(spans.items())
    ]


def run(folder: Path, options: dict[str, str], threads: int, scheduler: str = "") -> tuple[float, float]:
    """Wall and CPU seconds of a run in this process."""
    lines = (line.split() for line in (folder / "scipost.sof").read_text().splitlines())
    frames = [(folder / name, tag) for name, tag in lines]
    out = Path(tempfile.mkdtemp(dir=folder))
    environment = Environment(threads=threads, cluster=scheduler)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.monotonic()
    run_recipe("muse_scipost", frames, options, workdir=out, environment=environment, resume=False)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    shutil.rmtree(out)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--option", action="append", default=[])
    parser.add_argument("--bytes", action="store_true", help="count the bytes of the results, too (slower)")
    given = parser.parse_args()
    options = dict(text.split("=", 1) for text in given.option)
    run(given.folder, options, max(given.workers))  # files and kernels are known from here on
    for count in given.workers:
        wall, cpu = run(given.folder, options, count)
        print(f"{count} threads: {wall:.1f} s, {cpu:.1f} s of CPU", flush=True)
        with tempfile.TemporaryDirectory() as place, workers(Path(place), count) as (file, pids):
            run(given.folder, options, count, file)
            passes: list[tuple[str, int, int, int, float]] = []
            cluster.Pass.results = counted(passes, given.bytes)  # type: ignore[method-assign]
            before = sum(cpu_of(pid) for pid in pids)
            stream_of(file, time.time())
            since = time.time()
            again, cpu = run(given.folder, options, count, file)
            others = sum(cpu_of(pid) for pid in pids) - before
            print(
                f"{count} workers: {again:.1f} s, {cpu:.1f} s of CPU here and {others:.1f} s there; "
                f"{wall / again:.2f} of the speed of threads",
                flush=True,
            )
            print("\n".join(stream_of(file, since)), flush=True)
            for name, tasks, there, back, seconds in passes:
                sizes = f"{there:9d} bytes there, {back:10d} bytes back"
                print(f"    {name:16s} {tasks:4d} tasks, {sizes}, {seconds:.2f} s", flush=True)


if __name__ == "__main__":
    main()

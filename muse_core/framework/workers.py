# SPDX-License-Identifier: BSD-3-Clause
"""Child interpreters: isolated from the folder they start in, fed with calls, kept for the next batch.

Depending on nothing in the calling program, they work from scripts without a main guard, notebooks and
tests. An idle worker ends by itself after half a minute, and with the program that started it. What runs in
the child is `muse_core.framework.worker_process`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeAlias

from muse_core.framework.errors import LostWorkerError, RecipeError
from muse_core.framework.settings import child_environment

__all__ = [
    "IDLE_SECONDS",
    "Call",
    "CallIterator",
    "Worker",
    "WorkerError",
    "WorkerPool",
    "isolated_python",
    "number_of_workers",
    "read_message",
    "shared_pool",
    "write_message",
]

IDLE_SECONDS = 30

# One thread per worker.  The C library (glibc; others ignore it) keeps freed arrays for the next ones: pages
# that come fresh from the system with every image cost a sixth of the time, and more when workers compete.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
}

# function as "package.module:name", arguments, keywords
Call: TypeAlias = tuple[str, tuple[Any, ...], Mapping[str, Any]]

_HEAD = struct.Struct("<Q")
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); import importlib; "
    "sys.exit(importlib.import_module(sys.argv.pop(1)).main())"
)


class WorkerError(RecipeError):
    """A failure inside a worker process.

    Attributes
    ----------
    message : str
        what went wrong
    traceback : str
        the traceback of the worker process, as text
    """

    def __init__(self, message: str, traceback: str | Sequence[str]) -> None:
        text = traceback if isinstance(traceback, str) else "".join(traceback)
        super().__init__(message, text)
        self.message = str(message)
        self.traceback = text

    exit_status = 70

    def __str__(self) -> str:
        return f"{self.message}\nTraceback of the worker process:\n{self.traceback}"


class DeadWorkerError(WorkerError, LostWorkerError):
    """A worker process that has ended before its work was done."""

    exit_status = LostWorkerError.exit_status

    def __str__(self) -> str:
        return self.message


def import_path() -> list[str]:
    """Folders that a child may import from: those of this program, without the working folder.

    The folder of the running script (or of an interactive session) is left out, too: a file of the user's
    that happens to be called numpy.py is not to run in a child. This package is found in any case.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    foreign = {Path.cwd(), *([Path(main).resolve().parent] if main else [])}
    kept = [entry for entry in sys.path if entry and Path(entry).resolve() not in foreign]
    here = str(Path(__file__).resolve().parents[2])
    return kept if here in kept else [*kept, here]


def isolated_python(module: str, *arguments: str) -> list[str]:
    """Command that runs ``main()`` of a module in an interpreter that executes nothing it was not told to.

    The child is started with ``-I``: no variable of the environment, no user's site folder and no file of the
    working folder has a say in what it imports (`import_path` has).
    """
    return [sys.executable, "-I", "-c", _START, json.dumps(import_path()), module, *arguments]


def number_of_workers(n: int, jobs: int | None = None) -> int:
    """Number of processes: n, one per CPU for 0, all CPUs but n for a negative number.

    There are never more of them than jobs, and at least one.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    count = max(n if n > 0 else cpus + n, 1)
    return count if jobs is None else max(min(count, jobs), 1)


def write_message(stream: IO[bytes], message: object) -> None:
    """Send one object."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_HEAD.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_message(stream: IO[bytes]) -> Any:
    """Receive one object; EOFError when the other side is gone."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError("the pipe was closed")
    (size,) = _HEAD.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the pipe was closed in the middle of a message")
    return pickle.loads(data)  # noqa: S301 - written by our own child


class Worker:
    """One worker process."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        env = child_environment(ENVIRONMENT)
        env.setdefault("MPLBACKEND", "Agg")
        command = isolated_python("muse_core.framework.worker_process")
        self.fresh, self.broken = True, False
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

    @property
    def alive(self) -> bool:
        """Does the process run?"""
        return self.process.poll() is None

    def call(self, call: Call) -> tuple[str, Any, str, list[tuple[str, int, str]]]:
        """Run one call in the current folder.

        Returns
        -------
        kind : {"result", "raised", "error", "lost"}
        value
            the result, the exception that the user is to see, or a sentence
        traceback : str
        notes : list of (logger, level, text)
        """
        try:
            write_message(self._pipe(self.process.stdin), (str(Path.cwd()), call))
            answer: tuple[str, Any, str, list[tuple[str, int, str]]]
            answer = read_message(self._pipe(self.process.stdout))
        except (EOFError, OSError) as err:
            self.broken = True
            if not self.fresh:  # it may have ended by itself just now
                self.close()
                self._start()
                return self.call(call)
            return "lost", f"A worker process ended unexpectedly ({self._end()})", repr(err), []
        self.fresh = True  # from here on a failure is one of the job
        return answer

    def _end(self) -> str:
        """Say how the process ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        code = self.process.poll()
        if code is None or code >= 0:
            return f"exit status {code}"
        name = signal.Signals(-code).name
        if code != -signal.SIGKILL:
            return name
        return f"{name}; the system does so when memory runs out: use fewer processes"

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
        if stream is None:  # Popen was asked for both
            raise EOFError("there is no pipe to the worker process")
        return stream

    def close(self) -> None:
        """Let the process end; stop it if it does not."""
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                self._pipe(pipe).close()
            except OSError:
                pass
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class WorkerPool:
    """Workers that wait for the next batch; those in use are known, too, so that none is left behind."""

    def __init__(self) -> None:
        self._waiting: list[Worker] = []
        self._known: set[Worker] = set()
        self._lock = threading.Lock()

    def take(self) -> Worker:
        """A worker that waits, or a new one."""
        while True:
            with self._lock:
                if not self._waiting:
                    break
                worker = self._waiting.pop()
            if worker.alive:
                worker.fresh = False
                return worker
            self.end(worker)
        worker = Worker()
        self._known.add(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        """Keep a healthy worker for the next batch."""
        if worker.alive and not worker.broken:
            with self._lock:
                self._waiting.append(worker)
        else:
            self.end(worker)

    def end(self, worker: Worker) -> None:
        """End one worker."""
        self._known.discard(worker)
        worker.close()

    def close(self) -> None:
        """End all workers, waiting or not."""
        with self._lock:
            self._waiting.clear()
        for worker in list(self._known):
            self.end(worker)

    def living(self) -> list[Worker]:
        """All workers whose process runs, waiting or not."""
        return [worker for worker in list(self._known) if worker.alive]

    def forget(self) -> None:
        """In a forked child: the workers belong to the parent."""
        self._waiting.clear()
        self._known.clear()


_shared = WorkerPool()
atexit.register(_shared.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.forget)


def shared_pool() -> WorkerPool:
    """The pool of this process; workers hold no state of the runs that use them."""
    return _shared


class CallIterator:
    """Iterator over the results of calls made in worker processes, in the order of the calls.

    Exceptions that a user is to see (`RecipeError`) are raised here as they were raised there, all others as
    `WorkerError`. Log messages of the workers are repeated here when their call's turn comes.

    Parameters
    ----------
    calls : sequence of (str, tuple, mapping)
        function as "package.module:name", arguments, keywords
    nworker : int
        processes; 0: one per CPU, -n: all CPUs but n
    pool : WorkerPool, optional
        where workers come from and go to; that of the process when left out
    """

    _closed = True

    def __init__(self, calls: Sequence[Call], nworker: int = 0, pool: WorkerPool | None = None) -> None:
        self._source = shared_pool() if pool is None else pool
        self._local = threading.local()
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=number_of_workers(nworker, len(calls)))
        self._closed = False
        self._jobs: list[Future[tuple[str, Any, str, list[tuple[str, int, str]]]] | None] = [
            self._threads.submit(self._work, call) for call in calls
        ]
        self._next = 0

    def _work(self, call: Call) -> tuple[str, Any, str, list[tuple[str, int, str]]]:
        worker: Worker | None = getattr(self._local, "worker", None)
        if worker is None or not worker.alive:
            worker = self._local.worker = self._source.take()
            with self._lock:
                self._workers.append(worker)
        return worker.call(call)

    def __iter__(self) -> Self:
        return self

    def __len__(self) -> int:
        return len(self._jobs)

    def __next__(self) -> Any:
        """The result of the next call, in the order in which they were given."""
        if self._closed or self._next >= len(self._jobs):
            self.close()
            raise StopIteration
        kind, value, traceback, notes = self._take().result()
        self._next += 1
        for name, level, text in notes:
            logging.getLogger(name).log(level, "%s", text)
        if kind == "raised":
            raise value
        if kind == "lost":
            raise DeadWorkerError(value, traceback)
        if kind == "error":
            raise WorkerError(value, traceback)
        return value

    def _take(self) -> Future[tuple[str, Any, str, list[tuple[str, int, str]]]]:
        """Return the next job and let go of it: results of a large batch are not to pile up."""
        job, self._jobs[self._next] = self._jobs[self._next], None
        if job is None:
            raise RuntimeError("a result was taken twice")
        return job

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not sys.is_finalizing():  # workers end by themselves with this program
            self.close()

    def close(self) -> None:
        """End the worker processes; called at the end of the iteration and of a with block."""
        if self._closed:
            return
        self._closed = True
        jobs = [job for job in self._jobs if job is not None]
        for job in jobs:
            job.cancel()
        unfinished = any(not job.done() for job in jobs)
        if unfinished:
            for worker in self._workers:
                worker.fresh = True  # it is not to be replaced
                worker.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            if unfinished:
                self._source.end(worker)
            else:
                self._source.give_back(worker)

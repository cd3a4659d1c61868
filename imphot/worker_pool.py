# SPDX-License-Identifier: BSD-3-Clause
"""Worker processes that stay for a while, so that a second batch need not start them again.

An idle worker ends by itself after half a minute, and with the program that started it.
"""

from __future__ import annotations

import atexit
import os
import pickle
import struct
import subprocess
import sys
import threading
from pathlib import Path

__all__ = [
    "IDLE_SECONDS",
    "Worker",
    "close_workers",
    "living_workers",
    "read_message",
    "return_worker",
    "take_worker",
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

_HEAD = struct.Struct("<Q")
_spare: list[Worker] = []
_alive: set[Worker] = set()  # none is forgotten before it is closed
_lock = threading.Lock()


def take_worker():
    """A worker that waits, or a new one."""
    while True:
        with _lock:
            if not _spare:
                break
            worker = _spare.pop()
        if worker.process.poll() is None:
            worker.fresh = False
            return worker
        worker.close()
    return Worker()


def return_worker(worker):
    """Keep a healthy worker for the next batch."""
    if worker.process.poll() is None and not worker.broken:
        with _lock:
            _spare.append(worker)
    else:
        worker.close()


def _forget():
    """In a forked child: the workers belong to the parent."""
    _spare.clear()
    _alive.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def close_workers():
    """End all worker processes, waiting or not."""
    with _lock:
        _spare.clear()
    for worker in list(_alive):
        worker.close()


def living_workers():
    """All workers whose process runs, waiting or not."""
    return [worker for worker in list(_alive) if worker.process.poll() is None]


class Worker:
    """One worker process."""

    def __init__(self):
        self._start()

    def _start(self):
        env = dict(os.environ)
        here = str(Path(__file__).resolve().parent.parent)
        env["PYTHONPATH"] = os.pathsep.join(p for p in (here, env.get("PYTHONPATH")) if p)
        env.update(ENVIRONMENT)
        self.fresh, self.broken = True, False
        _alive.add(self)
        command = [sys.executable, "-m", "imphot.worker_process"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

    def call(self, job):
        """Run one job (function name, arguments, keywords) in the current folder."""
        try:
            write_message(self.process.stdin, (str(Path.cwd()), job))
            answer = read_message(self.process.stdout)
        except (EOFError, OSError) as err:
            self.broken = True
            if not self.fresh:  # it may have ended by itself just now
                self.close()
                self._start()
                return self.call(job)
            code = self.process.poll()
            return "error", f"A worker process ended unexpectedly (exit status {code})", repr(err), []
        self.fresh = True  # from here on a failure is one of the job
        return answer

    def close(self):
        """Let the process end; stop it if it does not."""
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass
        _alive.discard(self)
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def write_message(stream, message):
    """Send one object."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_HEAD.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_message(stream):
    """Receive one object; EOFError when the other side is gone."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError("the pipe was closed")
    (size,) = _HEAD.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the pipe was closed in the middle of a message")
    return pickle.loads(data)  # noqa: S301 - written by our own child

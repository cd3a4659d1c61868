# SPDX-License-Identifier: BSD-3-Clause
"""Running a recipe in a worker process from Python: own folder, own environment, own crashes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muse_core.framework.registry import LoadedRecipe
from muse_core.framework.workers import isolated_python
from muse_core.hosts.wire import join_fields, split_fields

GRACE_SECONDS = 4.0


@dataclass(frozen=True)
class WorkerError:
    """One error of a run: CPL's code name, where it was raised, and its text."""

    code: str
    function: str
    file: str
    line: int
    text: str


@dataclass
class Outcome:
    """What came out of a worker process."""

    status: int = -1
    ended: bool = False
    signal: int = 0
    products: list[tuple[str, str]] = field(default_factory=list)
    errors: list[WorkerError] = field(default_factory=list)
    user_time: float = 0.0
    sys_time: float = 0.0


def run_in_worker(
    recipe: LoadedRecipe,
    settings: Mapping[str, str],
    frames: Sequence[tuple[str, str]],
    *,
    folder: str | Path,
    environment: Mapping[str, str],
    message: Callable[[str, str, str], None],
) -> Outcome:
    """Run a recipe in its own process with `folder` as the current one.

    Parameters
    ----------
    settings : full parameter name -> value as text
    frames : (absolute file name, tag)
    message : called with level, function and text of each message
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            isolated_python("muse_core.hosts.worker", str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=dict(environment),
        )
        theirs.close()
        outcome = Outcome()
        try:
            _send_request(ours, recipe, settings, frames)
            _read_replies(ours, outcome, message)
        finally:
            ours.close()
            _collect(process, outcome)
    return outcome


def _send_request(
    connection: socket.socket,
    recipe: LoadedRecipe,
    settings: Mapping[str, str],
    frames: Sequence[tuple[str, str]],
) -> None:
    lines = [("recipe", recipe.spec.name, str(recipe.file)), ("level", "debug")]
    lines += [("param", name, "1", value) for name, value in settings.items()]
    lines += [("frame", file, tag, "") for file, tag in frames]
    text = "".join(join_fields(line) + "\n" for line in [*lines, ("go",)])
    try:
        connection.sendall(text.encode("utf-8", "surrogateescape"))
    except OSError:
        return  # a worker that is gone shows in its replies


def _read_replies(
    connection: socket.socket, outcome: Outcome, message: Callable[[str, str, str], None]
) -> None:
    rest = b""
    while not outcome.ended:
        try:
            piece = connection.recv(65536)
        except OSError:
            return
        if not piece:
            return
        *complete, rest = (rest + piece).split(b"\n")
        for raw in complete:
            fields = split_fields(raw.decode("utf-8", "surrogateescape"))
            if fields[0] == "message":
                message(fields[1], fields[2], fields[3])
            elif fields[0] == "product":
                outcome.products.append((fields[1], fields[2]))
            elif fields[0] == "error":
                outcome.errors.append(WorkerError(fields[1], fields[2], fields[3], int(fields[4]), fields[5]))
            elif fields[0] == "exit":
                outcome.status, outcome.ended = int(fields[1]), True


def _collect(process: subprocess.Popen[bytes], outcome: Outcome) -> None:
    """Wait for the end of the process, by force if need be, and note its times."""
    deadline = time.monotonic() + GRACE_SECONDS
    asked = False
    while True:
        found, status, usage = os.wait4(process.pid, os.WNOHANG)
        if found:
            break
        now = time.monotonic()
        if not asked and (not outcome.ended or now > deadline - GRACE_SECONDS / 2):
            os.kill(process.pid, signal.SIGTERM)
            asked = True
        if now > deadline:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.005)
    process.returncode = os.waitstatus_to_exitcode(status)
    outcome.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    outcome.user_time, outcome.sys_time = usage.ru_utime, usage.ru_stime

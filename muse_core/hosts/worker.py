# SPDX-License-Identifier: BSD-3-Clause
"""The process behind the C plugin: reads one request from a socket, runs the recipe, reports what happened.

Started as ``python -I worker.py <descriptor>``; it ends with its host.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

_HERE = Path(__file__).resolve()

# The plugin starts this file by name in Python's isolated mode; the project may live outside site-packages.
if __name__ == "__main__" and str(_HERE.parents[2]) not in sys.path:
    sys.path.insert(0, str(_HERE.parents[2]))

from muse_core.hosts.wire import join_fields, plain_text, split_fields  # noqa: E402

if TYPE_CHECKING:
    from muse_core.framework.spec import RecipeSpec

GRACE_SECONDS = 3.0


class Connection:
    """The worker's end of the socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._lock = threading.Lock()
        self.finished = False

    def send(self, *fields: object) -> None:
        """Send one line; a host that is gone is no reason to fail, the watcher ends the run."""
        data = (join_fields(fields) + "\n").encode("utf-8", "surrogateescape")
        with self._lock:
            try:
                self._socket.sendall(data)
            except OSError:
                return

    def request(self) -> list[list[str]]:
        """Read the lines up to ``go``."""
        lines: list[list[str]] = []
        rest = b""
        while True:
            piece = self._socket.recv(65536)
            if not piece:
                raise SystemExit(1)
            *complete, rest = (rest + piece).split(b"\n")
            for raw in complete:
                fields = split_fields(raw.decode("utf-8", "surrogateescape"))
                if fields[0] == "go":
                    return lines
                lines.append(fields)

    def watch(self) -> None:
        """End this process when the host goes away: politely, then by force.

        Signals are left to the main thread: one that this thread takes would not wake the main thread up.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            while self._socket.recv(1024):
                pass
        except OSError:
            pass
        if not self.finished:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            time.sleep(GRACE_SECONDS)
            os._exit(143)


class HostHandler(logging.Handler):
    """Sends log records to the host, one line at a time, ASCII only."""

    def __init__(self, connection: Connection, level: int) -> None:
        super().__init__(level)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        level = "error" if record.levelno >= logging.ERROR else record.levelname.lower()
        function = plain_text(record.funcName or "run")
        component = function if function.isidentifier() else "run"
        for line in record.getMessage().split("\n"):
            self._connection.send("message", level, component, plain_text(line))


def _passed_over(number: int, frame: FrameType | None) -> None:
    """Take a further signal without effect."""


def _ended(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """End with a clean-up that no second signal cuts short: after Ctrl-C the host dies, too."""
    signal.signal(signal.SIGINT, _passed_over)
    signal.signal(signal.SIGTERM, _passed_over)
    raise SystemExit(128 + number)


def _place(error: BaseException) -> tuple[str, str, int]:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "run", str(_HERE), 0
    last = frames[-1]
    return last.name, last.filename, last.lineno or 0


def _code(error: BaseException) -> str:
    from muse_core.framework import InputError, MissingFileError, ParameterError

    if isinstance(error, ParameterError):
        return "ILLEGAL_INPUT"
    if isinstance(error, MissingFileError | FileNotFoundError):
        return "FILE_NOT_FOUND"
    return "DATA_NOT_FOUND" if isinstance(error, InputError) else "UNSPECIFIED"


def _report(error: BaseException, connection: Connection, log: logging.Logger) -> None:
    from muse_core.framework import RecipeError

    function, file, line = _place(error)
    text = str(error) or type(error).__name__
    if not isinstance(error, RecipeError):
        text = f"unexpected {type(error).__name__}: {text} ({file}, line {line})"
        log.debug("%s", "".join(traceback.format_exception(error)).rstrip())
    log.error("%s", text)
    connection.send(
        "error", _code(error), plain_text(function), file, line, plain_text(text.replace("\n", "; "))
    )


def execute(lines: list[list[str]], connection: Connection) -> int:
    """Run what the request asks for; returns the exit status for the host."""
    request: dict[str, Any] = {"recipe": "", "file": "", "params": {}, "frames": [], "level": logging.INFO}
    for fields in lines:
        if fields[0] == "recipe":
            request["recipe"], request["file"] = fields[1], fields[2]
        elif fields[0] == "level":
            request["level"] = logging.DEBUG if fields[1] == "debug" else logging.INFO
        elif fields[0] == "param":
            request["params"][fields[1]] = (fields[2] == "1", fields[3])
        elif fields[0] == "frame":
            request["frames"].append(fields[1:])
    from muse_core.framework.log import ROOT

    root = logging.getLogger(ROOT)
    root.propagate = False
    root.addHandler(HostHandler(connection, request["level"]))
    log = logging.getLogger(f"{ROOT}.worker")
    log.setLevel(logging.DEBUG)
    try:
        for product in _run(request, connection):
            kind = "TABLE" if product.type == "TABLE" else "IMAGE"
            name = product.path.name if product.path.parent == Path() else product.path
            connection.send("product", name, product.tag, kind, product.group, product.level)
    except SystemExit as error:
        if isinstance(error.code, int) and error.code > 128:
            raise
        _report(RuntimeError(f"the recipe asked to exit with status {error.code}"), connection, log)
        return -1
    except Exception as error:
        _report(error, connection, log)
        return -1
    return 0


def _run(request: dict[str, Any], connection: Connection) -> list[Any]:
    from muse_core.framework import Frame, run_recipe
    from muse_core.framework.registry import load

    folders = [Path(request["file"]).parent] if request["file"] else []
    recipe = load(request["recipe"], folders)
    frames = []
    for index, (name, tag, group) in enumerate(request["frames"]):
        declared = recipe.spec.input_for(tag)
        if declared is not None:
            connection.send("group", index, declared.group)
        frames.append(Frame(Path(name), tag, group or None))
    products = run_recipe(recipe, frames, _settings(request["params"], recipe.spec))
    return sorted(products, key=lambda product: product.tag)  # the order in which the C recipes leave them


def _settings(given: dict[str, tuple[bool, str]], spec: RecipeSpec) -> dict[str, str]:
    """Return what the user set: python-cpl sets values without CPL's flag, so a changed value counts, too."""
    from muse_core.framework import ParameterError

    settings = {}
    for name, (is_set, value) in given.items():
        try:
            param = spec.param(name)
        except ParameterError as error:
            raise ParameterError(
                f"{error}; after an update run 'musetools plugins --install' again"
            ) from None
        if is_set or param.coerce(value) != param.default:
            settings[name] = value
    return settings


def main() -> int:
    """Serve one request on the descriptor given as the only argument."""
    from muse_core.framework.settings import occupy_descriptors, own_process

    occupy_descriptors()
    own_process()
    connection = Connection(int(sys.argv[1]))
    signal.signal(signal.SIGTERM, _ended)
    signal.signal(signal.SIGINT, _ended)
    lines = connection.request()
    threading.Thread(target=connection.watch, daemon=True).start()
    status = execute(lines, connection)
    connection.finished = True
    connection.send("exit", status)
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())

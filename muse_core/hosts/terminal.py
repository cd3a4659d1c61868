# SPDX-License-Identifier: BSD-3-Clause
"""Messages of a run in esorex's form, on the terminal and in the log file."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from muse_core.framework.log import ROOT
from muse_core.framework.settings import occupy_descriptors
from muse_core.hosts.options import UsageError

_LABELS = {
    "DEBUG": "[ DEBUG ]",
    "INFO": "[ INFO  ]",
    "WARNING": "[WARNING]",
    "ERROR": "[ ERROR ]",
    "CRITICAL": "[ ERROR ]",
}
_NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "off": 100}


def level_number(name: str) -> int:
    """Return the logging level of one of esorex's level names."""
    return _NUMBERS[name]


def component(record: logging.LogRecord) -> str:
    """Return the recipe or program that speaks."""
    return record.name.rpartition(".")[2]


class TerminalHandler(logging.Handler):
    """Errors to stderr, all else to stdout: ``hh:mm:ss [ INFO  ] recipe: text``."""

    def __init__(self, level: int) -> None:
        super().__init__(level)

    def show(self, level: int) -> None:
        """Change the least severe level shown."""
        self.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message, a line at a time."""
        if getattr(record, "log_only", False):
            return
        stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{clock} {_LABELS.get(record.levelname, '[ INFO  ]')} {component(record)}: "
        if self.level <= logging.DEBUG and record.funcName:
            head += f"{record.funcName}: "
        with contextlib.suppress(OSError, ValueError):  # closed, or on a full disk: no reason to end a run
            for line in record.getMessage().split("\n"):
                print(head + line, file=stream, flush=True)


class LogFileHandler(logging.Handler):
    """Lines ``hh:mm:ss [ INFO  ] function: [tid=000] text`` after a three-line head."""

    def __init__(self, path: Path, level_name: str, program: str) -> None:
        super().__init__(level_number(level_name))
        try:
            self._stream = path.open("w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"log file {path} cannot be written: {error.strerror}") from None
        label = _LABELS.get(level_name.upper(), "[ OFF   ]")
        self._stream.write(
            f"\nStart time     : {time.strftime('%Y-%m-%dT%H:%M:%S')}\n"
            f"Program name   : {program}\nSeverity level : {label} \n\n"
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message, a line at a time."""
        speaker = "" if getattr(record, "from_host", False) else record.funcName
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{clock} {_LABELS.get(record.levelname, '[ INFO  ]')}"
        with contextlib.suppress(OSError, ValueError):
            for line in record.getMessage().split("\n"):
                self._stream.write(f"{head} {speaker}: [tid=000] {line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


class Messages:
    """The host's own voice and the handlers of one command."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._logger = logging.getLogger(f"{ROOT}.{program}")
        self._logger.setLevel(logging.DEBUG)

    def info(self, text: str) -> None:
        """Say something."""
        self._logger.info("%s", text, extra={"from_host": True})

    def note(self, text: str) -> None:
        """Write something into the log file only."""
        self._logger.info("%s", text, extra={"from_host": True, "log_only": True})

    def unexpected(self, error: BaseException) -> None:
        """Report an error of the program itself: one line, and the traceback at level debug."""
        import traceback

        frame = traceback.extract_tb(error.__traceback__)[-1]
        self.error(f"unexpected {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})")
        self._logger.debug(
            "%s", "".join(traceback.format_exception(error)).rstrip(), extra={"from_host": True}
        )

    def debug(self, text: str) -> None:
        """Say what only a developer needs."""
        self._logger.debug("%s", text, extra={"from_host": True})

    def warning(self, text: str) -> None:
        """Warn."""
        self._logger.warning("%s", text, extra={"from_host": True})

    def error(self, text: str) -> None:
        """Name an error."""
        self._logger.error("%s", text, extra={"from_host": True})


class Tolerant:
    """A text stream that takes what it can: a reader that went away or a full disk ends nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write; what cannot be written is lost."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush; a stream that cannot is given up, so that the interpreter does not complain at its end."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def standard_streams() -> None:
    """Make standard output and error such that neither can end a run."""
    occupy_descriptors()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        if not isinstance(stream, Tolerant):
            setattr(sys, name, Tolerant(stream))


@contextlib.contextmanager
def attached(handler: logging.Handler) -> Iterator[None]:
    """Attach a handler to the loggers of all recipes for the duration of a block."""
    root = logging.getLogger(ROOT)
    propagate = root.propagate
    root.addHandler(handler)
    root.propagate = False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.propagate = propagate
        handler.close()

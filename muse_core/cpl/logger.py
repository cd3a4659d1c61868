# SPDX-License-Identifier: BSD-3-Clause
"""Messages of a run as log records."""

from __future__ import annotations

import logging
import threading

OFF = logging.CRITICAL + 1
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "warn": logging.WARNING,
          "error": logging.ERROR, "off": OFF}  # fmt: skip


def level_number(level: int | str) -> int:
    """Return a logging level from its number or name; KeyError or TypeError as in python-cpl."""
    if isinstance(level, bool) or not isinstance(level, int | str):
        raise TypeError(f"Level not an integer or a valid string: {level!r}")
    if isinstance(level, int):
        return level
    name = level.lower()
    if name not in LEVELS:
        raise KeyError(level.upper())
    return LEVELS[name]


class LogList(list[logging.LogRecord]):
    """The records of a run; ``error``, ``warning``, ``info`` and ``debug`` give "function: message" texts."""

    def _texts(self, level: int) -> list[str]:
        return [f"{record.funcName}: {record.getMessage()}" for record in self if record.levelno >= level]

    @property
    def error(self) -> list[str]:
        """Errors."""
        return self._texts(logging.ERROR)

    @property
    def warning(self) -> list[str]:
        """Warnings and errors."""
        return self._texts(logging.WARNING)

    @property
    def info(self) -> list[str]:
        """Everything but debug messages."""
        return self._texts(logging.INFO)

    @property
    def debug(self) -> list[str]:
        """Everything."""
        return self._texts(logging.DEBUG)


class LogServer:
    """Collects the messages of one run and hands them to the logger ``<name>.<function>``."""

    def __init__(self, name: str, level: int | str | None = None) -> None:
        self.name = name
        self.level = logging.DEBUG if level is None else level_number(level)
        self.entries = LogList()
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.DEBUG)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())

    def message(self, level: str, function: str, text: str) -> None:
        """Take one message."""
        number = LEVELS.get(level, logging.INFO)
        if number < self.level:
            return
        logger = logging.getLogger(f"{self.name}.{function}")
        record = logger.makeRecord(logger.name, number, "", 0, text, (), None, function)
        record.threadName = threading.current_thread().name
        self.entries.append(record)
        if logger.isEnabledFor(number):
            logger.handle(record)

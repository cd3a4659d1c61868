# SPDX-License-Identifier: BSD-3-Clause
"""Set-up in esorex's manner: messages on the terminal and in a log file, `load_sof` and `load_rc`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from muse_core.cpl.files import load_rc, load_sof
from muse_core.cpl.logger import OFF, level_number
from muse_core.cpl.recipe import Recipe

__all__ = ["CplFileLogger", "CplLogger", "init", "load_rc", "load_sof", "log", "msg"]


def init(source: Any = None) -> None:
    """Take recipe folders, message and log settings from an esorex configuration."""
    values = load_rc(source)
    prefix = "esorex.caller."
    if values.get(prefix + "recipe-dir"):
        Recipe.path = values[prefix + "recipe-dir"].split(":")
    if prefix + "msg-level" in values:
        msg.level = values[prefix + "msg-level"]
    if prefix + "log-level" in values:
        log.level = values[prefix + "log-level"]
    if prefix + "log-dir" in values:
        log.dir = values[prefix + "log-dir"]
    if prefix + "log-file" in values:
        log.filename = values[prefix + "log-file"]


class CplLogger:
    """Messages of recipes on the terminal; setting an attribute takes effect at once."""

    DEBUG, INFO, WARN, ERROR, OFF = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, OFF

    def __init__(self, level: int = OFF, *, detailed: bool = False) -> None:
        self.handler: logging.Handler | None = None
        self.dir: str | None = None
        self._level = level
        self._time = self._threadid = self._component = detailed
        self._format: str | None = None

    @property
    def level(self) -> int:
        """Least severe messages shown: a logging level, or its name."""
        return self._level

    @level.setter
    def level(self, level: int | str) -> None:
        self._level = level_number(level)
        self._renew()

    @property
    def format(self) -> str:
        """Format of a line; None composes it from time, threadid and component."""
        if self._format is not None:
            return self._format
        return (
            ("%(asctime)s " if self._time else "")
            + "[%(levelname)7s]"
            + ("[%(threadName)s]" if self._threadid else "")
            + (" %(name)s:" if self._component else "")
            + " %(message)s"
        )

    @format.setter  # noqa: A003
    def format(self, text: str | None) -> None:
        self._format = text
        self._renew()

    @property
    def time(self) -> bool:
        """Show the time."""
        return self._time

    @time.setter
    def time(self, shown: bool) -> None:
        self._time = shown
        self._renew()

    @property
    def threadid(self) -> bool:
        """Show the thread."""
        return self._threadid

    @threadid.setter
    def threadid(self, shown: bool) -> None:
        self._threadid = shown
        self._renew()

    @property
    def component(self) -> bool:
        """Show the recipe and function that speak."""
        return self._component

    @component.setter
    def component(self, shown: bool) -> None:
        self._component = shown
        self._renew()

    def _make_handler(self) -> logging.Handler | None:
        return _TerminalHandler()

    def _renew(self) -> None:
        root = logging.getLogger("cpl")
        if root.level == logging.NOTSET:
            root.setLevel(logging.DEBUG)  # the handlers decide; else Python leaves out all below a warning
        if self.handler is not None:
            root.removeHandler(self.handler)
            self.handler.close()
        self.handler = self._make_handler() if self._level < OFF else None
        if self.handler is None:
            return
        self.handler.setLevel(self._level)
        self.handler.setFormatter(logging.Formatter(self.format, "%H:%M:%S"))
        root.addHandler(self.handler)


class _TerminalHandler(logging.StreamHandler[Any]):
    """Writes to what sys.stdout is at that moment."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


class CplFileLogger(CplLogger):
    """Messages of recipes in a file, once a file name is set."""

    def __init__(self) -> None:
        super().__init__(logging.INFO, detailed=True)
        self._filename: str | None = None
        self._dir: str | None = None

    @property
    def filename(self) -> str | None:
        """Name of the log file; None writes none."""
        return self._filename

    @filename.setter
    def filename(self, name: str | None) -> None:
        self._filename = name
        self._renew()

    @property
    def dir(self) -> str | None:
        """Folder of the log file."""
        return self._dir

    @dir.setter  # noqa: A003
    def dir(self, folder: str | None) -> None:
        self._dir = folder
        if hasattr(self, "_filename"):
            self._renew()

    def _make_handler(self) -> logging.Handler | None:
        if self._filename is None:
            return None
        return logging.FileHandler(Path(self._dir or ".") / self._filename, encoding="utf-8")


msg = CplLogger()
log = CplFileLogger()

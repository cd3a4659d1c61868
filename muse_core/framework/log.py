# SPDX-License-Identifier: BSD-3-Clause
"""The log of a run: a logger of its own below that of the recipe, a filter that counts warnings."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from muse_core.framework.errors import Problems, RecipeError

ROOT = "muse"

UNDONE = {"undone": True}
"""``extra`` of a warning that something is missing and part of the work left out; an error when strict."""


def recipe_logger(name: str) -> logging.Logger:
    """Return the logger of a recipe; hosts attach their handlers to its parent ``muse``."""
    logger = logging.getLogger(f"{ROOT}.{name}")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.DEBUG)
    return logger


def run_logger(name: str, handlers: Iterable[logging.Handler] = ()) -> logging.Logger:
    """Return a logger for one run: its messages go on to the recipe's logger, its filters are its own.

    Two runs of one recipe in one process must not see each other, so this logger is in no registry.
    """
    logger = logging.Logger(f"{ROOT}.{name}", logging.DEBUG)
    logger.parent = recipe_logger(name)
    for handler in handlers:
        logger.addHandler(handler)
    return logger


class Strict(logging.Filter):
    """Turns warnings of something left undone into errors.

    Until the inputs have been checked they are collected with the other faults of the inputs; later the run
    ends at once.
    """

    def __init__(self, problems: Problems) -> None:
        super().__init__()
        self._problems = problems

    def filter(self, record: logging.LogRecord) -> bool:
        """Raise, or note, what a strict run does not tolerate."""
        if not getattr(record, "undone", False):
            return True
        if self._problems.were_raised:
            raise RecipeError(f"{record.getMessage()} (an error because of 'strict')")
        self._problems.add("", record.getMessage(), remedy="This is an error because of 'strict'.")
        return False


class RepeatCounter(logging.Filter):
    """Let a warning pass once per run and count the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a warning that was already shown."""
        if record.levelno != logging.WARNING:
            return True
        text = record.getMessage()
        self.counts[text] += 1
        return self.counts[text] == 1

    def report(self, log: logging.Logger) -> None:
        """Log how often each repeated warning came."""
        for text, count in self.counts.items():
            if count > 1:
                log.info("the warning '%s' came %d times", text, count)


class WarningKeeper(logging.Handler):
    """Keeps the texts of the warnings of a run, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a text."""
        self.texts.setdefault(record.getMessage())


class Message(NamedTuple):
    """What was logged, to be said again elsewhere or later."""

    level: int
    text: str
    undone: bool


class Heard(logging.Handler):
    """Keeps the messages of some work."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.messages: list[Message] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        undone = bool(getattr(record, "undone", False))
        self.messages.append(Message(record.levelno, record.getMessage(), undone))


def repeat(messages: Iterable[Message], log: logging.Logger) -> None:
    """Log messages again."""
    for level, text, undone in messages:
        log.log(level, "%s", text, extra=UNDONE if undone else None)

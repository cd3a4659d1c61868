# SPDX-License-Identifier: BSD-3-Clause
"""The log of a run: one logger per recipe, and a filter that counts warnings instead of repeating them."""

from __future__ import annotations

import logging
from collections import Counter

ROOT = "muse"


def recipe_logger(name: str) -> logging.Logger:
    """Return the logger of a recipe; hosts attach their handlers to its parent ``muse``."""
    logger = logging.getLogger(f"{ROOT}.{name}")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.DEBUG)
    return logger


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

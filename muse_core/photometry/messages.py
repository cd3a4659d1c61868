# SPDX-License-Identifier: BSD-3-Clause
"""The messages of the library imphot, brought into the log of the run that caused them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["library_messages_to"]

# the log of the run that goes on in this thread; two runs in two threads do not see each other
_log_of_this_run: ContextVar[logging.Logger | None] = ContextVar("log of this run", default=None)


class _Router(logging.Filter):
    """Hands a message to the log of the run that goes on, if there is one, and keeps it to itself then."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a message that went to the log of a run."""
        log = _log_of_this_run.get()
        if log is None:
            return True
        log.log(record.levelno, "%s", record.getMessage())
        return False


_router = _Router()  # holds nothing of any run


@contextlib.contextmanager
def library_messages_to(log: logging.Logger) -> Iterator[None]:
    """Send the messages that the library writes in this thread to the log of a run, and nowhere else."""
    logging.getLogger("imphot").addFilter(_router)  # a second time changes nothing
    token = _log_of_this_run.set(log)
    try:
        yield
    finally:
        _log_of_this_run.reset(token)

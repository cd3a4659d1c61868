# SPDX-License-Identifier: BSD-3-Clause
"""The two exceptions a user of imphot meets."""

from __future__ import annotations

__all__ = ["UserError", "WorkerError"]


class UserError(Exception):
    """A mistake in the inputs or in the options, with a message that says how to repair it."""

    def __init__(self, message):
        super().__init__(message)
        self.message = str(message)


class WorkerError(Exception):
    """A failure inside a worker process.

    Attributes
    ----------
    message : str
        what went wrong
    traceback : str
        the traceback of the worker process, as text
    """

    def __init__(self, message, traceback):
        if not isinstance(traceback, str):
            traceback = "".join(traceback)
        super().__init__(message, traceback)
        self.message = str(message)
        self.traceback = traceback

    def __str__(self):
        return f"{self.message}\nTraceback of the worker process:\n{self.traceback}"

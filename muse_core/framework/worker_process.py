# SPDX-License-Identifier: BSD-3-Clause
"""The child's side of `muse_core.framework.workers`: calls come in, answers go out."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from muse_core.framework.errors import RecipeError
from muse_core.framework.faults import recipe_error
from muse_core.framework.settings import occupy_descriptors
from muse_core.framework.workers import (
    IDLE_SECONDS,
    DeadWorkerError,
    WorkerError,
    read_message,
    write_message,
)


def find_function(name: str) -> Callable[..., Any]:
    """A function by "package.module:name".

    >>> find_function("os.path:basename")("a/b")
    'b'
    """
    module, _, function = name.rpartition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


class Notes(logging.Handler):
    """Keeps the messages of a call for the calling process."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.messages.append((record.name, record.levelno, record.getMessage()))

    def take(self) -> list[tuple[str, int, str]]:
        """The messages so far, which are then forgotten."""
        out, self.messages = self.messages, []
        return out


def answer_to(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, Any, str]:
    """Make one call: what came out, as kind, value and traceback."""
    try:
        return "result", find_function(name)(*args, **kwargs), ""
    except WorkerError as err:  # of a worker's worker
        return "lost" if isinstance(err, DeadWorkerError) else "error", err.message, err.traceback
    except RecipeError as err:
        return "raised", err, ""
    except Exception as err:  # the caller gets whatever happened
        known = recipe_error(err)
        if known is not None:
            return "raised", known, ""
        return "error", f"{type(err).__name__}: {err}", traceback.format_exc()


def main() -> int:
    """Serve calls until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source = sys.stdin.buffer
    occupy_descriptors()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not get between the answers
    notes = Notes()
    logging.getLogger().addHandler(notes)
    settled = False
    while True:
        signal.alarm(IDLE_SECONDS)  # ends this process
        try:
            folder, call = read_message(source)
        except EOFError:
            return 0
        signal.alarm(0)
        os.chdir(folder)
        answer = answer_to(*call)
        try:
            write_message(answers, (*answer, notes.take()))
        except BrokenPipeError:  # nobody waits for it any more
            return 0
        if not settled and answer[0] == "result":
            gc.freeze()  # all modules are there: the collector need not go through them for every few images
            settled = True

# SPDX-License-Identifier: BSD-3-Clause
"""The other end of `imphot.workers`: reads jobs from standard input, writes results to standard output."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
import traceback


def find_function(name):
    """A function of imphot by its name, or by "module:function"."""
    module, _, function = name.rpartition(":")
    return getattr(importlib.import_module(f"imphot.{module}" if module else "imphot"), function)


class Notes(logging.Handler):
    """Keeps the messages of a job for the calling process."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        """Keep one message."""
        self.messages.append((record.levelno, record.getMessage()))

    def take(self):
        """The messages so far, which are then forgotten."""
        out, self.messages = self.messages, []
        return out


def main():
    """Serve jobs until the input ends."""
    from imphot.errors import UserError
    from imphot.worker_pool import IDLE_SECONDS, read_message, write_message

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever is printed must not get between the answers
    os.environ.setdefault("MPLBACKEND", "Agg")
    notes, log = Notes(), logging.getLogger("imphot")
    log.addHandler(notes)
    log.propagate = False
    settled = False
    while True:
        signal.alarm(IDLE_SECONDS)  # ends this process
        try:
            folder, (name, args, kwargs) = read_message(source)
        except EOFError:
            return
        signal.alarm(0)
        try:
            os.chdir(folder)
            answer = ("result", find_function(name)(*args, **kwargs), "")
        except UserError as err:
            answer = ("user", str(err), "")
        except Exception as err:  # the caller gets whatever happened
            answer = ("error", f"{type(err).__name__}: {err}", traceback.format_exc())
        write_message(answers, (*answer, notes.take()))
        if not settled and answer[0] == "result":
            gc.freeze()  # all modules are there: the collector need not go through them for every few images
            settled = True


if __name__ == "__main__":
    main()

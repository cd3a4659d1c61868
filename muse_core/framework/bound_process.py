# SPDX-License-Identifier: BSD-3-Clause
"""A command that ends with the process that started it, however that ends.

What a killed process has started would go on, and write into folders in which the next one works. On Linux
the kernel is asked to take the command along; elsewhere it goes on to its end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def bound(words: Sequence[str]) -> list[str]:
    """Return a command that runs another one in its place, bound to the calling process.

    The thread that starts it has to wait for its end: the kernel counts the end of that thread, too.
    """
    # neither path nor packages of this program are of use there: a tenth of the time of a usual start
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *words]


def main() -> int:
    """Become the command; returns the status of a shell that does not find it."""
    caller, *words = sys.argv[1:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != int(caller):  # it has ended meanwhile
            return 130
    try:
        os.execvp(words[0], words)  # noqa: S606  the words are those of the caller
    except OSError as error:
        print(f"{words[0]} cannot be started: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 127


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: BSD-3-Clause
"""What the system refuses to a run (memory, disk, files, threads), in words of its own for each cause."""

from __future__ import annotations

import errno
from pathlib import Path

from muse_core.framework.errors import InputError, LimitError, RecipeError, WriteError

_WRITING = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
)
_FILES = frozenset({errno.EMFILE, errno.ENFILE})
_LOST = frozenset({errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT})
_NO_THREAD = "can't start new thread"

ADVICE = {
    errno.ENOSPC: "make room on the disk, or choose another folder",
    errno.EDQUOT: "your quota is used up: make room, or choose another folder",
    errno.EFBIG: "the limit of the size of files (ulimit -f) is too small",
    errno.EROFS: "the disk is mounted for reading only: choose another folder",
}


def write_error(target: Path | str, error: OSError) -> RecipeError:
    """Say why something could not be written: the disk, its rights, or an input that was lost meanwhile.

    Parameters
    ----------
    target : what was being written, as the user knows it
    """
    known = limit_error(error)
    if known is not None:
        return known
    reason = error.strerror or str(error)
    if error.errno in _WRITING:
        advice = ADVICE.get(error.errno or 0, "check free space and permissions")
        return WriteError(f"{target} could not be written: {reason}; {advice}")
    named = f" ({error.filename})" if error.filename else ""
    return WriteError(
        f"{target} could not be made: {reason}{named}; check that the inputs are still there, and the disks "
        "that they and the product are on"
    )


def limit_error(error: BaseException) -> LimitError | None:
    """Tell a limit of the machine or of the process from all other errors; None for those."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        text = str(error) if isinstance(error, MemoryError) else ""
        return LimitError(
            f"out of memory{f' ({text})' if text else ''}; lower MUSE_RECIPES_MEMORY (in MB) or the number "
            "of threads, or raise the limit (ulimit -v)"
        )
    if isinstance(error, OSError) and error.errno in _FILES:
        return LimitError(
            f"{error.strerror}: the limit of open files is too small; raise it (ulimit -n), or lower the "
            "number of threads"
        )
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return LimitError(
            "no further thread can be started; lower the number of threads (OMP_NUM_THREADS), or raise the "
            "limit (ulimit -u)"
        )
    return None


def recipe_error(error: BaseException) -> RecipeError | None:
    """Put what the system refused into words for the user; None for what is a fault of the program."""
    known: RecipeError | None = limit_error(error)
    if known is not None or not isinstance(error, OSError):
        return known
    name = error.filename if isinstance(error.filename, str) else ""
    if error.errno in _WRITING:
        return write_error(name or "a file", error)
    if error.errno in _LOST and name:
        return InputError(
            name, "file", expected="to be there while the recipe runs", found=error.strerror or error,
            remedy="Check the disk that it is on, and start again.",
        )  # fmt: skip
    return None

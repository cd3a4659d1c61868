# SPDX-License-Identifier: BSD-3-Clause
"""Text files that a user names: sets of frames, configuration, rules. One door, as for FITS files."""

from __future__ import annotations

from pathlib import Path

from muse_core.framework.errors import InputError

LARGEST_TEXT = 1 << 26
"""Bytes of a text file at most; a set of frames of a thousand exposures has a tenth of a megabyte."""


def read_text(path: Path, errors: str = "strict") -> str:
    """Return the text of a regular file of a size that texts have.

    Parameters
    ----------
    errors : what becomes of bytes that are no UTF-8, as in `bytes.decode`

    Raises
    ------
    InputError
        for a pipe or a device (which would block, or never end), and for a file that is too large, cannot be
        read or is no text
    """
    from muse_core.framework.input_files import (
        check_regular,
    )  # its modules unpack files: not for a list of recipes

    check_regular(path)
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise InputError(
                path,
                "file",
                expected=f"a text of {LARGEST_TEXT >> 20} MB at most",
                found=f"{size / (1 << 20):.0f} MB",
            )
        return path.read_text(encoding="utf-8", errors=errors)
    except OSError as error:
        raise InputError(path, "file", expected="a readable file", found=error.strerror or error) from None
    except UnicodeDecodeError as error:
        raise InputError(path, "file", expected="a text (UTF-8)", found=error) from None

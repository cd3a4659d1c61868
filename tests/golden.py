# SPDX-License-Identifier: BSD-3-Clause
"""Stored inputs and products of the C pipeline 2.8.7 (tests/data/golden/README.md)."""

from __future__ import annotations

import atexit
import functools
import shutil
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent / "data" / "golden"
_unpacked = Path(tempfile.mkdtemp(prefix="golden-"))  # one for each process, removed at its end
atexit.register(shutil.rmtree, _unpacked, ignore_errors=True)


@functools.cache
def golden_set(name: str) -> Path:
    """Folder with the files of a set, which is unpacked when it is first asked for."""
    folder = _unpacked / name
    with tarfile.open(FOLDER / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder

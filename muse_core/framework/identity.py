# SPDX-License-Identifier: BSD-3-Clause
"""A digest of everything that the results of a run depend on."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

from muse_core.framework.frames import Frame
from muse_core.version import __version__

LIBRARIES = ("numpy", "numba", "llvmlite", "scipy", "astropy")
"""Whose versions can change a bit of the results."""
_SAMPLES = 16
_SAMPLE_BYTES = 4096
_PACKAGES = ("muse_core", "imphot", "recipes")


def run_identity(recipe: str, parameters: Mapping[str, str], frames: Iterable[Frame], *more: str) -> str:
    """Return the digest of a run: recipe, parameters, inputs, and the programs that make the results.

    Parameters
    ----------
    recipe : name of the recipe
    parameters : all parameters as text
    frames : the inputs in their order
    more : whatever else the products depend on
    """
    said = {
        "recipe": recipe,
        "parameters": dict(sorted(parameters.items())),
        "inputs": [(frame.tag, frame.name, file_identity(frame.source)) for frame in frames],
        "programs": programs(),
        "more": more,
    }
    return blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).hexdigest()


def file_identity(path: Path) -> tuple[int | str, ...]:
    """Return what tells a file from all others: number, size and times of the file, and samples of its bytes.

    The time of the last change cannot be set by those who copy or rewrite a file, and rows in the middle are
    in none of the samples: both together tell what a digest of all bytes would, without reading them. The
    number of the disk is left out: it differs between nodes that share one.
    """
    with path.open("rb") as stream:
        state = os.fstat(stream.fileno())
        digest = blake2b(digest_size=16)
        for number in range(_SAMPLES):
            stream.seek(max(0, state.st_size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE_BYTES))
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, digest.hexdigest()


def programs() -> tuple[str, ...]:
    """Return the versions of this package, its sources, the libraries, and the kind of processor."""
    found = [f"{name} {number}" for name, number in versions().items()]
    return *found, sources(), sys.version, platform.machine(), platform.processor()


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python (3.x), and of the libraries ("no": not there)."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return {"muse-recipes": __version__, "Python": python, **_library_versions()}


@cache
def _library_versions() -> dict[str, str]:
    """Those of the libraries; a worker is asked with each task."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "no"
    return found


def sources() -> str:
    """Return a digest of the source files of this package (their names, sizes and times)."""
    top = Path(__file__).resolve().parents[2]
    digest = blake2b(digest_size=16)
    for package in _PACKAGES:
        for path in sorted((top / package).rglob("*.py")):
            state = path.stat()
            digest.update(f"{path.relative_to(top)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()

# SPDX-License-Identifier: BSD-3-Clause
"""Compiling side by side: when a first run has to compile, other processes make the kernels it will need.

Which kernels a run needs, with which types, is a list that comes with the package (``first_kernels.json``,
made by ``benchmarks/list_kernels.py``). What the list does not know the run compiles when it comes to it, and
what the list has too much is not waited for, so a list that is out of date costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from muse_core.framework.kernels import Kernel

LIST = Path(__file__).with_name("first_kernels.json")
MOST_HELPERS = 3
"""Processes beside that of the run; the kernels of a run keep no more of them busy."""


class UnlistedTypeError(TypeError):
    """A type of numba that the list has no words for."""


def described(kind: Any) -> Any:
    """Return a type of numba in the words of the list: text, [type, dimensions, layout], or a dictionary."""
    from numba import types

    if isinstance(kind, types.Array) and kind.aligned and kind.mutable:
        return [described(kind.dtype), kind.ndim, kind.layout]
    if isinstance(kind, types.NamedTuple | types.NamedUniTuple):
        of = kind.instance_class
        return {"class": f"{of.__module__}:{of.__qualname__}", "of": [described(part) for part in kind]}
    if isinstance(kind, types.Tuple | types.UniTuple):
        return {"of": [described(part) for part in kind]}
    if isinstance(kind, types.Number | types.Boolean) and not isinstance(kind, types.Literal):
        return str(kind)
    raise UnlistedTypeError(str(kind))


def type_of(words: Any) -> Any:
    """Return the type of numba that the words of the list mean."""
    from numba import types

    if isinstance(words, str):
        return getattr(types, "boolean" if words == "bool" else words)
    if isinstance(words, list):
        return types.Array(type_of(words[0]), words[1], words[2])
    parts = [type_of(part) for part in words["of"]]
    if "class" not in words:
        return types.Tuple(parts)
    module, _, name = words["class"].partition(":")
    return types.BaseTuple.from_types(parts, getattr(importlib.import_module(module), name))


@dataclass(frozen=True)
class Entry:
    """A kernel of the list.

    Parameters
    ----------
    kernel : "module:name"
    types : its arguments in the words of the list
    seconds : what it took to compile when the list was made
    runs : the runs that need it, see `run_name`
    """

    kernel: str
    types: list[Any]
    seconds: float
    runs: list[str]

    def compile(self) -> None:
        """Compile the kernel, unless it is in the cache or another process is at it."""
        module, _, name = self.kernel.partition(":")
        kernel: Kernel = getattr(importlib.import_module(module), name)
        kernel.compile_beforehand(tuple(type_of(words) for words in self.types))


def run_name(recipe: str, values: Any) -> str:
    """Return the name of a run in the list: the recipe, and how it treats the sky."""
    method = getattr(values, "skymethod", "")
    return f"{recipe} {method}".rstrip()


def entries(run: str = "") -> list[Entry]:
    """Return the kernels of a run (of all runs of the list for ""), those that take longest first."""
    found = [Entry(**words) for words in json.loads(LIST.read_text(encoding="utf-8"))]
    return sorted((e for e in found if not run or run in e.runs), key=lambda e: -e.seconds)


def compile_all(chosen: Iterable[Entry]) -> None:
    """Compile kernels one by one; one that the list has wrong is left out."""
    for entry in chosen:
        with contextlib.suppress(Exception):
            entry.compile()


def start(run: str, processes: int) -> list[subprocess.Popen[bytes]]:
    """Start processes that compile the kernels of a run (of all runs for ""), as many as there can be."""
    from muse_core.framework.kernel_cache import own_folder
    from muse_core.framework.workers import isolated_python

    alone = not sys.executable or getattr(sys, "frozen", False)  # part of a program that is no interpreter
    if alone or processes < 1 or own_folder() is None or not entries(run):
        return []
    command = isolated_python(__name__, run, str(os.getpid()))
    quiet = subprocess.DEVNULL
    helpers: list[subprocess.Popen[bytes]] = []
    with contextlib.suppress(OSError):  # no room for another process
        for _ in range(processes):
            helpers.append(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))
    return helpers


def end(helpers: list[subprocess.Popen[bytes]]) -> None:
    """End the processes: the run is over."""
    for helper in helpers:
        helper.kill()  # even one that is stopped
    for helper in helpers:
        helper.wait()


def main() -> int:
    """Compile the kernels of the run that the caller names, while the caller is there."""
    from muse_core.framework.settings import own_process

    own_process()
    run, caller = sys.argv[1:]
    compile_all(takewhile(lambda _: os.getppid() == int(caller), entries(run)))
    return 0

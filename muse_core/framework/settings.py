# SPDX-License-Identifier: BSD-3-Clause
"""What the environment decides. It is read here, once, when a run starts; nothing below reads it again."""

from __future__ import annotations

import atexit
import gc
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from muse_core.framework import lean_imports

CLUSTER_VARIABLE = "MUSE_RECIPES_CLUSTER"
DEFAULT_MEMORY_MB = 1300


MEANINGS = (
    ("OMP_NUM_THREADS", "Number of threads; without it all cores that the process may use."),
    (
        "MUSE_RECIPES_MEMORY",
        f"What pixel data may take, in MB ({DEFAULT_MEMORY_MB}). Results do not depend on it.",
    ),
    (
        "MUSE_RECIPES_RESUME",
        "0: keep nothing in .muse-resume beside the products, from which a killed run goes on.",
    ),
    (
        "MUSE_RECIPES_SUMS",
        "0: do not compare the data of inputs with their DATASUM (it takes 0.2 s for 1 GB, but slow disks "
        "are read twice where the inputs do not fit into the memory).",
    ),
    ("MUSE_RECIPES_REPORT", "1: write the quality page <recipe>_report.html beside the products."),
)
"""The variables that all recipes read, for the manual."""


def switched_on(text: str) -> bool:
    """Tell whether the text of a variable is 1, true, yes or on."""
    return text.strip().lower() in ("1", "true", "yes", "on")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass(frozen=True)
class Environment:
    """The environment of a run.

    Parameters
    ----------
    threads : worker threads (OMP_NUM_THREADS as for the C pipeline, else all usable cores)
    memory_bytes : what pixel data may take (MUSE_RECIPES_MEMORY in MB)
    cluster : the Dask scheduler that is to do the work (MUSE_RECIPES_CLUSTER: address or file), else ""
    report : quality pages are wanted (MUSE_RECIPES_REPORT=1)
    resume : results are kept for a run that goes on when this one is killed (not so: MUSE_RECIPES_RESUME=0)
    sums : the data of inputs are compared with their DATASUM (not so: MUSE_RECIPES_SUMS=0)
    variables : those whose name begins with MUSE_, for the parameters that they set
    notes : warnings about variables that could not be read
    """

    threads: int = 1
    memory_bytes: int = DEFAULT_MEMORY_MB * 1_000_000
    cluster: str = ""
    report: bool = False
    resume: bool = True
    sums: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, source: Mapping[str, str] | None = None) -> Environment:
        """Read the environment of this process, or a given one.

        >>> Environment.read({"OMP_NUM_THREADS": "3", "MUSE_RECIPES_MEMORY": "500"}).memory_bytes
        500000000
        """
        values = os.environ if source is None else source
        notes: list[str] = []
        wanted = values.get("OMP_NUM_THREADS", "").split(",")[0]  # it may be a list, one for each level
        threads = _whole("OMP_NUM_THREADS", wanted, usable_cores(), notes)
        wanted = values.get("MUSE_RECIPES_MEMORY", "")
        memory = _whole("MUSE_RECIPES_MEMORY", wanted, DEFAULT_MEMORY_MB, notes)
        return cls(
            threads=threads,
            memory_bytes=1_000_000 * memory,
            cluster=values.get(CLUSTER_VARIABLE, "").strip(),
            report=switched_on(values.get("MUSE_RECIPES_REPORT", "")),
            resume=switched_on(values.get("MUSE_RECIPES_RESUME", "") or "1"),
            sums=switched_on(values.get("MUSE_RECIPES_SUMS", "") or "1"),
            variables={name: text for name, text in values.items() if name.startswith("MUSE_")},
            notes=tuple(notes),
        )


def _whole(name: str, text: str, default: int, notes: list[str]) -> int:
    """Return a whole number above 0; for any other text the default, with a note."""
    text = text.strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    notes.append(f"{name}={text!r} is not a whole number above 0, {default} is used")
    return default


def process_variables() -> Mapping[str, str]:
    """Return the environment of this process, for those above the recipes (hosts, sets of frames)."""
    return os.environ


def child_environment(changes: Mapping[str, object | None]) -> dict[str, str]:
    """Return the environment for a child process: that of this one with changes; None takes a variable away.

    >>> "MUSE_X" in child_environment({"MUSE_X": 1}), "MUSE_X" in child_environment({"MUSE_X": None})
    (True, False)
    """
    merged = {**os.environ, **changes}
    return {name: str(value) for name, value in merged.items() if value is not None}


def occupy_descriptors() -> None:
    """Give the null device to standard input, output or error that are closed (``>&-``).

    The next file opened would have their number, and whatever is printed would be written into a product.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)  # a child has the same need


def usable_kernel_cache() -> None:
    """Give compiled functions a folder where neither the package nor the home of the user can be written.

    (numba refuses to import a function that it cannot keep. A cache holds pickles, so the folder is used only
    if it belongs to this user alone.) To be called before numba is imported.
    """
    if os.environ.get("NUMBA_CACHE_DIR") or "numba" in sys.modules:
        return
    if os.access(Path(__file__).resolve().parents[1], os.W_OK):
        return
    try:
        wide = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"
        wide.mkdir(parents=True, exist_ok=True)
        if os.access(wide, os.W_OK | os.X_OK):
            return
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        pass
    os.environ["NUMBA_CACHE_DIR"] = str(_private_folder())


def _private_folder() -> Path:
    """Return a folder for temporary files that is this user's alone, the same for all runs if possible."""
    folder = Path(tempfile.gettempdir()) / f"muse-recipes-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        state = folder.lstat()
        mine = stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077
        if not mine:
            return Path(tempfile.mkdtemp(prefix="muse-recipes-"))
    return folder


_OWN: list[bool] = []


def is_own_process() -> bool:
    """Tell whether this process does nothing but run a recipe."""
    return bool(_OWN)


def own_process() -> None:
    """Adjust a process that does nothing but run a recipe; to be called before numpy is imported.

    Half of a small run is imports, a tenth of those is the search for garbage that is not there yet, and a
    last search at the end takes as long. The threads belong to the recipes: those of the linear-algebra
    library would only start and wait.
    """
    _OWN.append(True)
    gc.set_threshold(20_000, 20, 20)
    atexit.register(gc.freeze)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    lean_imports.install()
    usable_kernel_cache()
    _reuse_freed_memory()


def _reuse_freed_memory() -> None:
    """Let the C library keep freed arrays for the next ones instead of returning their pages (glibc only).

    Slabs allocate and free the same sizes again and again; fresh pages cost a tenth of the run time.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)
    mallopt(arena_max, 1)

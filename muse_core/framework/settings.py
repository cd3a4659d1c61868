# SPDX-License-Identifier: BSD-3-Clause
"""What the environment decides. It is read here, once, when a run starts; nothing below reads it again."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

CLUSTER_VARIABLE = "MUSE_RECIPES_CLUSTER"
DEFAULT_MEMORY_MB = 1300


MEANINGS = (
    ("OMP_NUM_THREADS", "Number of threads; without it all cores that the process may use."),
    (
        "MUSE_RECIPES_MEMORY",
        f"What pixel data may take, in MB ({DEFAULT_MEMORY_MB}). Results do not depend on it.",
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
    variables : those whose name begins with MUSE_, for the parameters that they set
    """

    threads: int = 1
    memory_bytes: int = DEFAULT_MEMORY_MB * 1_000_000
    cluster: str = ""
    report: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, source: Mapping[str, str] | None = None) -> Environment:
        """Read the environment of this process, or a given one.

        >>> Environment.read({"OMP_NUM_THREADS": "3", "MUSE_RECIPES_MEMORY": "500"}).memory_bytes
        500000000
        """
        values = os.environ if source is None else source
        threads = values.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        memory = values.get("MUSE_RECIPES_MEMORY", "").strip()
        return cls(
            threads=int(threads) if threads.isdigit() and int(threads) > 0 else usable_cores(),
            memory_bytes=1_000_000 * (int(memory) if memory.isdigit() and int(memory) else DEFAULT_MEMORY_MB),
            cluster=values.get(CLUSTER_VARIABLE, "").strip(),
            report=switched_on(values.get("MUSE_RECIPES_REPORT", "")),
            variables={name: text for name, text in values.items() if name.startswith("MUSE_")},
        )


def own_process() -> None:
    """Adjust a process that does nothing but run a recipe; to be called before numpy is imported.

    Half of a small run is imports, a tenth of those is the search for garbage that is not there yet, and a
    last search at the end takes as long. The threads belong to the recipes: those of the linear-algebra
    library would only start and wait.
    """
    gc.set_threshold(20_000, 20, 20)
    atexit.register(gc.freeze)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
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

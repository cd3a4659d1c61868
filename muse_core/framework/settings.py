# SPDX-License-Identifier: BSD-3-Clause
"""What the environment decides: threads, memory budget, compatibility with the C pipeline's defects."""

from __future__ import annotations

import atexit
import gc
import os

CLUSTER_VARIABLE = "MUSE_RECIPES_CLUSTER"


def switched_on(variable: str) -> bool:
    """Tell whether an environment variable is 1, true, yes or on."""
    return os.environ.get(variable, "0").strip().lower() in ("1", "true", "yes", "on")


def compat_mode() -> bool:
    """Tell whether the C pipeline's defects are wanted (MUSE_RECIPES_COMPAT=1)."""
    return switched_on("MUSE_RECIPES_COMPAT")


def thread_count() -> int:
    """Return the number of worker threads: OMP_NUM_THREADS as for the C pipeline, else all usable cores."""
    text = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if text.isdigit() and int(text) > 0:
        return int(text)
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def memory_budget() -> int:
    """Return the memory in bytes that pixel data may take: MUSE_RECIPES_MEMORY in MB, else 1300 MB."""
    text = os.environ.get("MUSE_RECIPES_MEMORY", "").strip()
    megabytes = int(text) if text.isdigit() and int(text) > 0 else 1300
    return megabytes * 1_000_000


def cluster_scheduler() -> str:
    """Return the Dask scheduler that is to do the work (MUSE_RECIPES_CLUSTER: address or file), else ""."""
    return os.environ.get(CLUSTER_VARIABLE, "").strip()


def report_requested() -> bool:
    """Tell whether quality pages are wanted (MUSE_RECIPES_REPORT=1, or muserun --report)."""
    return switched_on("MUSE_RECIPES_REPORT")


def own_process() -> None:
    """Adjust a process that does nothing but run a recipe; to be called before numpy is imported.

    Half of a small run is imports, a tenth of those is the search for garbage that is not there yet, and a
    last search at the end takes as long. The threads belong to the recipes: those of the linear-algebra
    library would only start and wait.
    """
    gc.set_threshold(20_000, 20, 20)
    atexit.register(gc.freeze)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def reuse_freed_memory() -> None:
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

# SPDX-License-Identifier: BSD-3-Clause
"""Kernels are compiled by several processes at the same time, each by one of them."""

import importlib
import os
import subprocess
import sys
from inspect import signature
from typing import NamedTuple

import numpy as np
import pytest

from muse_core.framework import first_kernels
from muse_core.framework.first_kernels import described, entries, type_of
from muse_core.framework.kernels import Kernel

pytestmark = pytest.mark.unit
PROGRAM = """
import os, sys
from pathlib import Path
from muse_core.framework import first_kernels, kernel_cache
kernel_cache.write_to(Path(sys.argv[1]))
entry, = (e for e in first_kernels.entries() if e.kernel.endswith(":find_runs"))
from muse_core.data.file_kernels import find_runs
cache, target = find_runs._cache, find_runs.targetctx
types = tuple(first_kernels.type_of(words) for words in entry.types)
assert cache.begun(types, target)
if os.fork() == 0:  # another process leaves alone what is being made
    cache.unlock = cache._lock = None
    os._exit(1 if cache.begun(types, target) else 0)
assert os.wait()[1] == 0
cache.unlock()
entry.compile()
assert not cache.begun(types, target)  # it is there
entry.compile()
print(sum(find_runs.stats.cache_misses.values()))
"""


class Pair(NamedTuple):
    one: object
    two: object


@pytest.mark.parametrize(
    "value",
    [1, 1.5, True, np.float32(1), np.ones((2, 3), np.float32), np.ones(3).T, np.ones((4, 4))[::2, ::2],
     (1, 2.0), (1, 2), Pair(1, np.ones(2)), Pair(1, 2)],
)  # fmt: skip
def test_types_are_told_in_the_words_of_the_list(value):
    from numba import typeof

    assert type_of(described(typeof(value))) == typeof(value)


def test_a_type_without_words_is_left_out():
    from numba import typeof

    with pytest.raises(first_kernels.UnlistedTypeError):
        described(typeof("text"))


def test_the_list_knows_the_runs():
    for method in ("none", "simple", "model"):
        names = [entry.kernel for entry in entries(f"muse_scipost {method}")]
        assert "muse_core.resampling.cosmic_limits:flag_outliers" in names[:2]  # the longest first
    assert entries("muse_exp_align") == []
    for entry in entries():
        for words in entry.types:
            type_of(words)
        module, _, name = entry.kernel.partition(":")
        kernel = getattr(importlib.import_module(module), name)
        assert isinstance(kernel, Kernel)
        assert len(entry.types) == len(signature(kernel.py_func).parameters), entry.kernel


def test_each_kernel_is_compiled_by_one_process(tmp_path):
    environment = {name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"]


def test_processes_compile_what_a_run_needs(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(first_kernels.subprocess, "Popen", lambda command, **_: started.append(command))
    assert len(first_kernels.start("muse_scipost none", 2)) == 2
    module = "muse_core.framework.first_kernels"
    assert started[0][-3:] == [module, "muse_scipost none", str(os.getpid())]
    assert first_kernels.start("muse_scipost none", 0) == []
    assert first_kernels.start("muse_exp_align", 2) == []


def test_where_no_process_can_be_started_the_run_compiles_alone(monkeypatch):
    started = []

    def refuse(*_, **__):
        started.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(first_kernels.subprocess, "Popen", refuse)
    assert first_kernels.start("muse_scipost none", 2) == []
    assert started == [1]
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # the executable is no interpreter
    assert first_kernels.start("muse_scipost none", 2) == []
    assert started == [1]


def test_a_process_whose_caller_is_gone_compiles_nothing(monkeypatch):
    compiled = []
    monkeypatch.setattr(first_kernels.Entry, "compile", lambda entry: compiled.append(entry.kernel))
    monkeypatch.setattr("muse_core.framework.settings.own_process", lambda: None)
    for caller, count in ((os.getppid(), len(entries("muse_scipost none"))), (os.getpid(), 0)):
        compiled.clear()
        monkeypatch.setattr(sys, "argv", ["", "muse_scipost none", str(caller)])
        assert first_kernels.main() == 0
        assert len(compiled) == count

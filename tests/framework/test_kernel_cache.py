# SPDX-License-Identifier: BSD-3-Clause
"""Compiled kernels are found by the contents of their sources, and damage costs their compilation only."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from muse_core.framework import kernel_cache

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os
from pathlib import Path
import numpy as np
from muse_core.framework import kernel_cache
kernel_cache.write_to(Path(os.environ["KERNELS"]))
from muse_core.data.file_kernels import scale_rows
from muse_core.data import file_kernels
assert file_kernels.__file__.startswith(os.environ["TOP"]), file_kernels.__file__
data, stat = np.ones(3, np.float32), np.ones(3, np.float32)
scale_rows(data, stat, 2.0)
stats = scale_rows.stats
print(data.tolist() == [2.0] * 3, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def environment(cache, top=ROOT):
    own = {"KERNELS": str(cache), "TOP": str(top), "PYTHONPATH": str(top)}
    return {**{name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}, **own}


def run(cache, top=ROOT):
    """Call a kernel in a new process; returns whether it came from the cache."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], env=environment(cache, top), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    right, hits, misses = done.stdout.split()
    assert right == "True"
    assert int(hits) + int(misses) == 1
    return hits == "1"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache that eight cold processes have filled at the same time."""
    cache = tmp_path_factory.mktemp("cache")
    command = [sys.executable, "-P", "-c", PROGRAM]
    processes = [
        subprocess.Popen(command, env=environment(cache), stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    answers = [process.communicate()[0].split() for process in processes]
    assert [answer[0] for answer in answers] == ["True"] * 8
    return cache


@pytest.fixture
def cache(filled, tmp_path):
    return shutil.copytree(filled, tmp_path / "cache")


def test_eight_cold_processes_fill_one_cache(cache):
    assert run(cache)
    assert list(cache.rglob("*.tmp.*")) == []


def test_a_moved_environment_finds_its_kernels(cache, tmp_path):
    for package in ("muse_core", "imphot"):
        for path in (ROOT / package).rglob("*.py"):
            target = tmp_path / "moved" / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)  # with other times
    assert run(cache, tmp_path / "moved")
    changed = tmp_path / "moved" / "muse_core" / "data" / "elementary_functions.py"
    kernels = tmp_path / "moved" / "muse_core" / "data" / "file_kernels.py"
    kernels.write_text(kernels.read_text() + "\nimport muse_core.data.elementary_functions\n")
    assert not run(cache, tmp_path / "moved")  # its own source has changed
    assert run(cache, tmp_path / "moved")
    changed.write_text(changed.read_text() + "\n# changed\n")
    assert not run(cache, tmp_path / "moved")  # what it imports has changed


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone"])
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_damaged_files_are_made_again(cache, ending, damage):
    for path in cache.rglob(f"*.{ending}"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(data[: {"flipped": len(data), "cut": len(data) // 2, "empty": 0}[damage]])
    assert not run(cache)
    assert run(cache)


def test_kernels_stand_in_the_package_or_else_in_the_cache_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_cache, "SHARED", tmp_path / "package" / "_kernels")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "package").mkdir()
    find = kernel_cache.own_folder.__wrapped__
    assert find() == tmp_path / "package" / "_kernels"
    monkeypatch.setattr(os, "access", lambda path, _: "package" not in str(path))
    assert find() == tmp_path / "cache" / "muse-recipes" / "kernels"
    (tmp_path / "cache" / "muse-recipes" / "kernels").chmod(0o777)  # others could put kernels there
    assert find() is None


def test_a_cache_that_cannot_be_written_serves(cache):
    for folder in (path for path in cache.rglob("*") if path.is_dir()):
        folder.chmod(0o500)
    try:
        assert run(cache) or os.getuid() != 0  # others than root: numba has a place of its own
    finally:
        for folder in (path for path in cache.rglob("*") if path.is_dir()):
            folder.chmod(0o700)

# SPDX-License-Identifier: BSD-3-Clause
"""Runs to which the machine refuses something: memory, files, disk, time, a terminal, a home, an input."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from muse_core.framework import LimitError, RecipeError, WriteError, run_recipe
from muse_core.framework.delivery import deliver
from muse_core.framework.settings import Environment
from tests.corpus.judge import forked, profile_of
from tests.corpus.worlds import World, combination

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """Inputs of muse_exp_combine; all modules are loaded and all functions compiled in this process."""
    folder = tmp_path_factory.mktemp("world")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = combination(folder)
        (folder / "first").mkdir()
        reduce(made, folder / "first")
    return made


def reduce(world, out, threads=1):
    """Run the recipe and return the names of the products."""
    environment = Environment(threads=threads, memory_bytes=300_000_000)
    products = run_recipe(
        world.recipe, world.frames, {**world.options, "filter": "white"}, workdir=out,
        environment=environment,
    )  # fmt: skip
    return sorted(product.path.name for product in products)


def attempt(world, out, prepare=lambda: None):
    """Run in a fork after something was prepared there; returns (what came out, wait status)."""

    def work():
        prepare()
        try:
            return {"made": reduce(world, out)}
        except RecipeError as error:
            return {"error": str(error), "status": error.exit_status, "kind": type(error).__name__}
        except (SystemExit, KeyboardInterrupt) as error:
            return {"ended": type(error).__name__}
        except BaseException as error:  # noqa: BLE001  this is what must not be
            return {"traceback": f"{type(error).__name__}: {error}"}

    answer, status, *_ = forked(work)
    return answer, status


def is_whole_or_empty(out):
    """Either all products are there and sound, or none and nothing else."""
    names = sorted(path.name for path in out.iterdir())
    for name in names:
        profile_of(out / name)
    return names in ([], ["DATACUBE_FINAL.fits", "IMAGE_FOV_0001.fits", "PIXTABLE_COMBINED.fits"])


def limit(kind, value):
    return lambda: resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


@pytest.mark.parametrize("size", [3000, 30_000, 100_000])
def test_files_that_may_not_grow(world, tmp_path, size):
    answer, _ = attempt(world, tmp_path, limit(resource.RLIMIT_FSIZE, size))
    assert answer.get("kind") == "WriteError", answer
    assert answer["status"] == 74
    assert "could not be written" in answer["error"] and "muse-run" not in answer["error"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [8, 12, 20])
def test_too_few_open_files(world, tmp_path, number):
    answer, _ = attempt(world, tmp_path, limit(resource.RLIMIT_NOFILE, number))
    assert answer.get("kind") in ("LimitError", "WriteError") or "made" in answer, answer
    assert is_whole_or_empty(tmp_path)


def test_too_little_memory(world, tmp_path):
    """Whatever the amount: a message, or the products."""

    def prepare():
        pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (pages + extra, pages + extra))

    for extra in (1 << 20, 8 << 20):  # noqa: B007  prepare() uses it
        answer, status = attempt(world, tmp_path, prepare)
        assert not os.WIFSIGNALED(status), signal.Signals(os.WTERMSIG(status))
        assert answer.get("kind") == "LimitError" or "made" in answer, answer
        assert is_whole_or_empty(tmp_path)
        for path in tmp_path.iterdir():
            path.unlink()


def test_signals_at_any_time(world, tmp_path):
    """SIGTERM, SIGINT and SIGKILL at random moments leave all products or none (a kill: hidden files)."""
    rng = np.random.default_rng(15)

    def prepare():
        number = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)[trial % 3]
        for known in (signal.SIGTERM, signal.SIGINT):
            signal.signal(known, lambda *_: sys.exit(143))
        signal.setitimer(signal.ITIMER_REAL, delay)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), number))

    for trial in range(18):
        out = tmp_path / str(trial)
        out.mkdir()
        delay = float(rng.uniform(0.001, 0.5))
        attempt(world, out, prepare)
        hidden = [path for path in out.iterdir() if path.name.startswith(".")]
        assert not hidden or trial % 3 == 2
        for path in hidden:
            shutil.rmtree(path)
        assert is_whole_or_empty(out)


def test_input_cut_while_it_is_read(world, tmp_path):
    """A pixel table that loses its end during the run: a message, never a signal."""
    source = world.frames[0][0]
    size = source.stat().st_size
    rng = np.random.default_rng(7)
    for trial in range(8):
        home = tmp_path / str(trial)
        (home / "out").mkdir(parents=True)
        copy = home / source.name
        shutil.copy(source, copy)
        frames = [(copy if path == source else path, tag) for path, tag in world.frames]
        cut, delay = int(rng.integers(1, size)), float(rng.uniform(0.0, 0.2))

        def prepare(copy=copy, cut=cut, delay=delay):
            threading.Timer(delay, os.truncate, (copy, cut)).start()

        other = World(world.name, world.recipe, frames, world.options)
        answer, status = attempt(other, home / "out", prepare)
        assert not os.WIFSIGNALED(status), answer
        assert "made" in answer or answer.get("kind") in ("InputError", "RecipeError", "WriteError"), answer
        assert is_whole_or_empty(home / "out")


def test_input_removed_while_it_is_read(world, tmp_path):
    source = world.frames[0][0]
    copy = tmp_path / source.name
    (tmp_path / "out").mkdir()
    shutil.copy(source, copy)
    frames = [(copy if path == source else path, tag) for path, tag in world.frames]
    other = World(world.name, world.recipe, frames, world.options)
    answer, _ = attempt(other, tmp_path / "out", lambda: threading.Timer(0.05, copy.unlink).start())
    assert "traceback" not in answer
    assert is_whole_or_empty(tmp_path / "out")


def command(world, folder, *words, prepare=lambda: None):
    """Run muserun in a fork; returns its exit status, or the name of an exception."""
    sof = folder / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in world.frames))

    def work():
        from muse_core.hosts.muserun import main

        os.chdir(folder)
        prepare()
        try:
            return {"status": main([*words, world.recipe, "--filter=white", "in.sof"])}
        except BaseException as error:  # noqa: BLE001  this is what must not be
            return {"traceback": f"{type(error).__name__}: {error}"}

    return forked(work)[0]


def closed(*numbers):
    def prepare():
        for number in numbers:
            os.close(number)
        sys.stdout = sys.stderr = None

    return prepare


def full():
    """Let the terminal be a full disk."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    os.dup2(1, 2)
    sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)


def gone():
    """Let the terminal be a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    os.close(reader)
    sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)


def homeless(home):
    def prepare():
        os.environ.pop("HOME", None)
        if home is not None:
            os.environ["HOME"] = home

    return prepare


@pytest.mark.parametrize(
    "prepare",
    [closed(1), closed(2), closed(0, 1, 2), full, gone, homeless("/proc/none"), homeless("/dev/null")],
    ids=["stdout closed", "stderr closed", "all closed", "full disk", "no reader", "no home", "odd home"],
)
def test_no_terminal_and_no_home_end_no_run(world, tmp_path, prepare):
    assert command(world, tmp_path, prepare=prepare) == {"status": 0}
    made = sorted(path.name for path in tmp_path.glob("*.fits"))
    assert made == ["DATACUBE_FINAL.fits", "IMAGE_FOV_0001.fits"]
    for name in made:
        profile_of(tmp_path / name)


@pytest.mark.parametrize("folder", ["/proc", "/dev/null", "/no/such/folder"])
def test_folders_that_cannot_be_written(world, tmp_path, folder):
    assert command(world, tmp_path, f"--output-dir={folder}") == {"status": 255}


def test_links_beside_the_products_destroy_nothing(world, tmp_path):
    words = ("--suppress-link=FALSE", f"--link-dir={tmp_path}")
    assert command(world, tmp_path, *words) == {"status": 0}
    assert (tmp_path / "DATACUBE_FINAL.fits").is_file()
    assert not (tmp_path / "DATACUBE_FINAL.fits").is_symlink()


def test_links_replace_no_file(world, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "DATACUBE_FINAL.fits").write_text("precious")
    assert command(world, tmp_path, "--suppress-link=FALSE", "--link-dir=links") == {"status": 0}
    assert (tmp_path / "links" / "DATACUBE_FINAL.fits").read_text() == "precious"
    assert (tmp_path / "links" / "IMAGE_FOV_0001.fits").is_symlink()


@pytest.mark.parametrize(
    "words",
    [
        ("--suppress-prefix=FALSE", "--output-prefix=../x"),
        ("--products-sof=in.sof",),
        ("--products-sof=precious.fits",),
        ("--log-file=precious.fits",),
        ("--log-file=in.sof",),
    ],
)
def test_names_under_which_something_would_be_lost(world, tmp_path, words):
    shutil.copy(world.frames[0][0], tmp_path / "precious.fits")
    before = (tmp_path / "precious.fits").read_bytes()
    assert command(world, tmp_path, *words) == {"status": 255}
    assert (tmp_path / "precious.fits").read_bytes() == before
    assert (tmp_path / "in.sof").read_text().count(" PIXTABLE_REDUCED\n") == 2
    assert not list(tmp_path.parent.glob("x_*.fits"))


def test_a_failed_run_leaves_the_folder_as_it_was(world, tmp_path):
    for name in ("DATACUBE_FINAL.fits", "PIXTABLE_COMBINED.fits", "notes.txt"):
        (tmp_path / name).write_text(f"old {name}")
    answer, _ = attempt(world, tmp_path, limit(resource.RLIMIT_FSIZE, 100_000))
    assert answer["kind"] == "WriteError"
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        name: f"old {name}" for name in ("DATACUBE_FINAL.fits", "PIXTABLE_COMBINED.fits", "notes.txt")
    }


def test_delivery_is_taken_back(tmp_path):
    made, place = tmp_path / "made", tmp_path / "place"
    made.mkdir()
    place.mkdir()
    for name in "abc":
        (made / name).write_text(f"new {name}")
    (place / "a").write_text("old a")
    (place / "c").mkdir()
    with pytest.raises(WriteError, match="a folder has this name"):
        deliver([(made / name, place / name) for name in "abc"])
    assert (place / "a").read_text() == "old a"
    assert not (place / "b").exists()
    assert (made / "a").read_text() == "new a"


def test_delivery_is_taken_back_when_the_folder_is_not_on_the_disk(tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a").write_text("new")
    (tmp_path / "a").write_text("old")

    def failing(number):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(WriteError, match="the folder of the products"):
        deliver([(tmp_path / "made" / "a", tmp_path / "a")])
    assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "made" / "a").read_text() == "new"


@pytest.mark.parametrize("after", range(1, 7))
def test_delivery_is_taken_back_when_a_signal_comes(tmp_path, monkeypatch, after):
    """The signal comes when a file has just been renamed, before anything else is done."""
    made, place = tmp_path / "made", tmp_path / "place"
    for folder, age in ((made, "new"), (place, "old")):
        folder.mkdir()
        for name in "abc":
            (folder / name).write_text(age)
    rename, done = Path.rename, []

    def interrupted(path, target):
        rename(path, target)
        done.append(path)
        if len(done) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deliver([(made / name, place / name) for name in "abc"])
    assert [(place / name).read_text() for name in "abc"] == ["old"] * 3
    assert [(made / name).read_text() for name in "abc"] == ["new"] * 3


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.ENOSPC, WriteError, "make room"),
        (errno.EDQUOT, WriteError, "quota"),
        (errno.EFBIG, WriteError, "ulimit -f"),
        (errno.EMFILE, LimitError, "ulimit -n"),
        (errno.ENOMEM, LimitError, "out of memory"),
        (errno.EIO, WriteError, "inputs are still there"),
    ],
)
def test_causes_have_words_of_their_own(number, kind, text):
    from muse_core.framework.faults import write_error

    told = write_error("product a.fits", OSError(number, os.strerror(number)))
    assert type(told) is kind
    assert text in str(told)


def test_two_runs_with_a_time_between_them_do_not_meet(world, tmp_path):
    """Many runs at once into one folder: the last one's products are whole."""
    threads = [threading.Thread(target=reduce, args=(world, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert is_whole_or_empty(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3

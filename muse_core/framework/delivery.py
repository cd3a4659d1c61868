# SPDX-License-Identifier: BSD-3-Clause
"""Products come into their folder all together, when the run is done and they are on the disk, or not at all.

A run works in a hidden folder inside of the one for its products, which it holds locked: that of a run that
was killed is removed by the next one there. What it has finished is forced to the disk
in the background, so that a power cut leaves no empty file under a final name. At the end the files are
renamed; what they replace is kept until the last one is in its place, and put back if one of them cannot be.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muse_core.framework.errors import RecipeError
from muse_core.framework.faults import write_error
from muse_core.framework.frames import ProductFrame

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

PREFIX = ".muse-run-"
PREFIXES = (PREFIX, ".muserun-")
"""Beginnings of the names of folders that runs work in: `working_folder`, and that of the runner."""
_NEW = ".muse-new-"
_NEW_SECONDS = 60.0
"""A folder that was made so long ago without being locked belongs to a run that was killed."""
_TO_TIDY_UP = 4
"""Descriptors that are kept for removing a folder and what is in it."""
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EROFS})
"""What file systems answer that know nothing of forcing to the disk."""


@contextlib.contextmanager
def working_folder(folder: Path) -> Iterator[Path]:
    """Give a hidden folder for what a run makes; it is gone at the end, whatever that is.

    Raises
    ------
    WriteError
        if it cannot be made
    """
    spare: list[int] = []

    def close_spare() -> None:
        while spare:
            os.close(spare.pop())

    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(locked_folder(folder, PREFIX))
            stack.callback(close_spare)
            # a run that ends because it may open no more files must still be able to tidy up
            spare += [os.open(os.devnull, os.O_RDONLY) for _ in range(_TO_TIDY_UP)]
        except OSError as error:
            raise write_error(f"the output folder {folder}", error) from None
        yield made


@contextlib.contextmanager
def locked_folder(place: Path, prefix: str) -> Iterator[Path]:
    """Give a new hidden folder in `place` that is locked as long as this process lives, and gone at the end.

    Folders of killed runs in `place` are removed first.

    Raises
    ------
    OSError
        if it cannot be made
    """
    remove_left_folders(place)
    name = os.urandom(6).hex()  # known before it is there: a signal may come between
    new, made, descriptor = place / f"{_NEW}{name}", place / f"{prefix}{name}", -1
    try:
        new.mkdir(mode=0o700)
        descriptor = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # a file system without locks: nobody will think it is free
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(made)  # has its name when it is locked
        yield made
    finally:
        remove_tree(made)
        if new.exists():
            remove_tree(new)
        if descriptor >= 0:
            os.close(descriptor)


def remove_left_folders(place: Path) -> None:
    """Remove the folders in which runs worked that were killed; those of others and of live runs stay."""
    try:
        with os.scandir(place) as entries:
            left = [Path(entry.path) for entry in entries if entry.name.startswith((*PREFIXES, _NEW))]
    except OSError:
        return
    for folder in left:
        with contextlib.suppress(OSError):
            state = folder.lstat()
            if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
                continue
            if folder.name.startswith(_NEW) and time.time() - state.st_mtime < _NEW_SECONDS:
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)
            finally:
                os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, even if a signal ends the run meanwhile."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # needs no descriptor


def deliver(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename finished files into their places: all of them, or none.

    Parameters
    ----------
    moves : pairs of the present and the final path, on the same file system. A file or link that has the
        final path is replaced.

    Raises
    ------
    WriteError
        if one of them cannot be renamed, or the folder not be forced to the disk; all are taken back, what
        they replaced is there again
    """
    if not moves:
        return
    try:
        kept = Path(tempfile.mkdtemp(prefix=".replaced-", dir=moves[0][0].parent))
    except OSError as error:
        raise write_error(f"product {moves[0][1]}", error) from error
    undo: list[tuple[Path, Path]] = []
    try:
        for number, (source, target) in enumerate(moves):
            try:
                if target.is_dir() and not target.is_symlink():
                    raise IsADirectoryError(errno.EISDIR, "a folder has this name")
                if os.path.lexists(target):
                    old = kept / str(number)
                    undo.append((old, target))  # noted before it is done: a signal may come between
                    target.rename(old)
                undo.append((target, source))
                source.rename(target)
            except OSError as error:
                raise write_error(f"product {target}", error) from error
        for folder in dict.fromkeys(target.parent for _, target in moves):
            try:
                force_to_disk(folder)
            except PermissionError:
                continue  # a folder that may be written need not be readable
            except OSError as error:
                raise write_error(f"the folder of the products, {folder},", error) from error
    except BaseException:
        for now, before in reversed(undo):
            with contextlib.suppress(OSError):
                now.rename(before)
        raise
    shutil.rmtree(kept, ignore_errors=True)


def final_names(products: Iterable[ProductFrame], prefix: str) -> dict[Path, str]:
    """Return the names of products, in the order of their tags; numbered if there is a prefix."""
    ordered = sorted(products, key=lambda product: product.tag)
    return {
        product.path: f"{prefix}_{number:04d}.fits" if prefix else product.path.name
        for number, product in enumerate(ordered)
    }


def force_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


class DiskQueue:
    """Files that are being forced to the disk while the run goes on."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: list[tuple[Path, Future[None]]] = []

    def add(self, path: Path, then: Callable[[Path], None] | None = None) -> None:
        """Begin with one file; it must not be renamed before `wait`.

        Parameters
        ----------
        then : called with the path when it is on the disk
        """

        def work() -> None:
            force_to_disk(path)
            if then is not None:
                then(path)

        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor  # a help text needs no threads

            self._thread = ThreadPoolExecutor(1)
        try:
            self._waiting.append((path, self._thread.submit(work)))
        except RuntimeError:  # no thread can be started: wait here
            work()

    def wait(self) -> None:
        """Return when all files are on the disk.

        Raises
        ------
        WriteError
            if one of them could not be written
        """
        try:
            for path, done in self._waiting:
                try:
                    done.result()
                except OSError as error:
                    raise write_error(f"product {path.name}", error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Give up what has not begun."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self._thread, self._waiting = None, []


def check_name(name: str, what: str) -> None:
    """Refuse a name that would leave its folder.

    >>> check_name("night1", "prefix")
    >>> check_name("../night1", "prefix")
    Traceback (most recent call last):
    muse_core.framework.errors.RecipeError: prefix '../night1': expected a name without '/'
    """
    if "/" in name or "\0" in name or name in (".", ".."):
        raise RecipeError(f"{what} {name!r}: expected a name without '/'")

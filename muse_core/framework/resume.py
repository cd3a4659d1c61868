# SPDX-License-Identifier: BSD-3-Clause
"""What a run keeps, so that it goes on where it was killed when it is started again.

Results that took long stand in a hidden folder beside the products, below the digest of everything they
depend on (see `run_identity`), so that a run never takes a result of other inputs, parameters or versions.
Each file holds a digest of its own and gets its name when it is complete; a run marks what it is writing with
a lock that the system gives up when it ends in whatever way. When a run has succeeded, what it has kept is
removed.

Results are pickles: they are read only from a folder that belongs to this user alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pickle
import shutil
import stat
import struct
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from muse_core.framework.log import Heard, repeat

FOLDER = ".muse-resume"
WORTH_SECONDS = 0.3
"""Results that took less than this are made again."""
TIMES_SAVING = 10.0
"""And those that took less than so many times what it took to keep something last (a slow disk)."""
OLD_SECONDS = 7 * 86400.0
"""What no run has come back for so long is removed by the next one in the same folder."""
_MAGIC = b"muse-resume 1\n"
_HEAD = struct.Struct("<Q16s")
T = TypeVar("T")


def _packed(value: object) -> bytes:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(data), blake2b(data, digest_size=16).digest()) + data


class _Digested:
    """Passes what is written on to a file, and digests it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = blake2b(digest_size=16)
        self.size = 0

    def write(self, data: Any) -> int:
        """Write bytes, or anything that holds some."""
        view = memoryview(data).cast("B")
        self.digest.update(view)
        self._stream.write(view)
        self.size += len(view)
        return len(view)


def _pack_into(stream: BinaryIO, value: object) -> None:
    """Write what `_packed` returns while it is made: large arrays are not copied."""
    start = stream.tell()
    stream.write(bytes(_HEAD.size))
    body = _Digested(stream)
    pickle.Pickler(body, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    stream.seek(start)
    stream.write(_HEAD.pack(body.size, body.digest.digest()))
    stream.seek(0, os.SEEK_END)


def _unpacked(data: bytes | memoryview) -> tuple[object, int] | None:
    """Return a value and the bytes it takes; None for what is cut off or damaged."""
    if len(data) < _HEAD.size:
        return None
    size, digest = _HEAD.unpack_from(data)
    body = data[_HEAD.size : _HEAD.size + size]
    if len(body) < size or blake2b(body, digest_size=16).digest() != digest:
        return None
    return pickle.loads(body), _HEAD.size + size  # noqa: S301  of a folder that is this user's alone


def _is_own(path: Path) -> bool:
    """Tell whether a folder is there, is no link, and cannot be written by anybody else."""
    try:
        state = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022


def _locked(path: Path, *, create: bool = False) -> int | None:
    """Return the descriptor of a file whose lock was free and is held now; None if somebody else has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


class Journal:
    """Records that are appended while a file is being written, and the file itself.

    Parameters
    ----------
    path : of the journal; beside it, with the ending ``.part``, stands the file (a second name of it)
    descriptor : of the journal, whose lock is held
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @property
    def part(self) -> Path:
        """The unfinished file."""
        return self.path.with_suffix(".part")

    def records(self) -> list[Any]:
        """Return the records, up to the first one that is cut off or damaged."""
        found: list[Any] = []
        try:
            data = memoryview(self.path.read_bytes())
        except OSError:
            return found
        if bytes(data[: len(_MAGIC)]) != _MAGIC:
            return found
        place = len(_MAGIC)
        while (record := _unpacked(data[place:])) is not None:
            found.append(record[0])
            place += record[1]
        return found

    def append(self, record: object) -> None:
        """Write a record behind the others."""
        data = memoryview(_packed(record))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Give up the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Remove the journal and the second name of the file."""
        self.close()
        for path in (self.path, self.part):
            with contextlib.suppress(OSError):
                path.unlink()


class KeptResults:
    """What a run keeps, and what it finds of one that was killed.

    Nothing is looked up where no folder is; the identity is found when something is kept or looked up first.
    Whatever goes wrong with this folder must not cost the run: it is then left alone.

    Parameters
    ----------
    place : folder of the products; None: nothing is kept
    identity : gives the digest of what the results depend on
    log : of the run
    """

    def __init__(
        self, place: Path | None = None, identity: Callable[[], str] = str, log: logging.Logger | None = None
    ) -> None:
        self._place = place
        self._identity = identity
        self._log = log or logging.getLogger("muse")
        self._entry: Path | None = None
        self._mark: int | None = None
        self._lock = threading.RLock()
        self._before = time.monotonic()
        self._saving = 0.0
        self.taken = 0
        """Results that were taken from an interrupted run."""
        self.kept = 0
        """Results that were kept."""

    @property
    def _found(self) -> bool:
        """Tell whether an interrupted run may have left something."""
        return self._place is not None and (self._place / FOLDER).is_dir()

    def _give_up(self, error: BaseException) -> None:
        self._log.debug("nothing is kept for a run that would go on: %s", error)
        self._place = None

    def _open(self, *, create: bool) -> Path | None:
        """Return the folder for this run's results; None if there is none or it cannot be used."""
        with self._lock:
            if self._place is None:
                return None
            if self._entry is not None:
                return self._entry
            root = self._place / FOLDER
            entry = root / self._identity()
            try:
                if create:
                    root.mkdir(mode=0o700, exist_ok=True)
                    entry.mkdir(mode=0o700, exist_ok=True)
                if not (_is_own(root) and _is_own(entry)):
                    if create:
                        self._give_up(PermissionError(f"{root} is not this user's alone"))
                    return None
                mark = entry / f"{os.urandom(6).hex()}.run"
                self._mark = _locked(mark, create=True)
                if self._mark is None:
                    self._give_up(OSError(f"files in {root} cannot be locked"))
                    return None
            except OSError as error:
                self._give_up(error)
                return None
            self._entry = entry
            return entry

    def begin(self) -> None:
        """Look for what an interrupted run has left, and tidy up behind it."""
        if not self._found or self._place is None:
            return
        root = self._place / FOLDER
        if not _is_own(root):
            self._give_up(PermissionError(f"{root} is not this user's alone"))
            return
        own = self._open(create=False)
        others = 0
        for entry in sorted(root.iterdir()):
            if not _is_own(entry):
                continue
            changed = entry.stat().st_mtime
            alive = self._clear_marks(entry)
            if entry == own or alive:
                continue
            if time.time() - changed > OLD_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
            else:
                others += 1
        if own is None and others:
            text = "what an interrupted run has left in %s is of other inputs, parameters or versions"
            self._log.info(text, FOLDER)

    def _clear_marks(self, entry: Path) -> bool:
        """Remove the marks of dead runs; tell whether a run is at work with this entry."""
        alive = False
        for mark in entry.glob("*.run"):
            descriptor = _locked(mark)
            if descriptor is None:
                alive = True
                continue
            try:
                mark.unlink(missing_ok=True)
            except OSError:
                alive = True
            finally:
                os.close(descriptor)
        return alive

    def is_worth(self, times: float = 1.0) -> bool:
        """Tell whether what was done since something was kept last took so long that it should be kept.

        Parameters
        ----------
        times : so many times as long as a result of its own would have to take, for the state of a pass that
            is not finished
        """
        if self._place is None:
            return False
        return time.monotonic() - self._before >= times * max(WORTH_SECONDS, TIMES_SAVING * self._saving)

    def has(self, name: str) -> bool:
        """Tell whether an interrupted run has kept something under a name."""
        entry = self._open(create=False) if self._found else None
        return entry is not None and self._file(entry, name).is_file()

    def load(self, name: str) -> Any:
        """Return what an interrupted run has kept under a name, or None."""
        if not self._found:
            return None
        entry = self._open(create=False)
        if entry is None:
            return None
        try:
            data = self._file(entry, name).read_bytes()
        except OSError:
            return None
        found = _unpacked(memoryview(data)[len(_MAGIC) :]) if data.startswith(_MAGIC) else None
        if found is None:
            return None
        if not self.taken:
            self._log.info("an interrupted run goes on: what it has kept in %s is used", FOLDER)
        self.taken += 1
        self._before = time.monotonic()
        return found[0]

    def save(self, name: str, value: object) -> None:
        """Keep a value, which is not None, under a name."""
        entry = self._open(create=True)
        if entry is None:
            return
        target = self._file(entry, name)
        temporary = target.with_suffix(f".{os.urandom(4).hex()}")
        started = time.monotonic()
        try:
            with temporary.open("wb") as stream:
                stream.write(_MAGIC)
                _pack_into(stream, value)
                stream.flush()
                os.fdatasync(stream.fileno())
            temporary.replace(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            self._give_up(error)
            return
        self.kept += 1
        self._before = time.monotonic()
        self._saving = self._before - started

    @staticmethod
    def _file(entry: Path, name: str) -> Path:
        return entry / f"{blake2b(name.encode(), digest_size=12).hexdigest()}.kept"

    def once(self, name: str, work: Callable[[], T]) -> T:
        """Return what `work` returns, or what it returned to the run that was killed.

        Its messages are repeated. A result is kept if the work took long.
        """
        found = self.load(name)
        if found is not None:
            value: T
            value, messages = found
            repeat(messages, self._log)
            return value
        with self.heard(self._log) as messages:
            value = work()
        if self.is_worth():
            self.save(name, (value, messages))
        return value

    @contextlib.contextmanager
    def heard(self, log: logging.Logger) -> Any:
        """Give the list of the messages that are logged meanwhile."""
        if self._place is None:
            yield []
            return
        handler = Heard()
        log.addHandler(handler)
        try:
            yield handler.messages
        finally:
            log.removeHandler(handler)

    def keep_file(self, path: Path) -> None:
        """Keep a finished file (by a second name) that is on the disk."""
        entry = self._open(create=True)
        if entry is None:
            return
        linked = self._file(entry, path.name).with_suffix(".file")
        try:
            linked.unlink(missing_ok=True)
            os.link(path, linked)
        except OSError as error:
            self._give_up(error)
            return
        self.save(f"file {path.name}", path.stat().st_size)

    def take_file(self, target: Path) -> bool:
        """Give a finished file of the run that was killed its place again; False if there is none."""
        size = self.load(f"file {target.name}")
        if size is None or self._entry is None:
            return False
        linked = self._file(self._entry, target.name).with_suffix(".file")
        try:
            if linked.stat().st_size != size:
                return False
            os.link(linked, target)
        except OSError:
            return False
        return True

    def journals(self, name: str) -> list[Journal]:
        """Return the journals of a name whose runs are dead, locked."""
        if not self._found:
            return []
        entry = self._open(create=False)
        if entry is None:
            return []
        found = []
        for path in sorted(entry.glob(f"{name}-*.journal")):
            descriptor = _locked(path)
            if descriptor is not None:
                found.append(Journal(path, descriptor))
        return found

    def new_journal(self, name: str, file: Path) -> Journal | None:
        """Begin a journal about a file that is being written; None if that is not possible here."""
        entry = self._open(create=True)
        if entry is None:
            return None
        path = entry / f"{name}-{os.urandom(6).hex()}.journal"
        try:
            os.link(file, path.with_suffix(".part"))
        except OSError as error:
            self._give_up(error)
            return None
        descriptor = _locked(path, create=True)
        if descriptor is None:
            with contextlib.suppress(OSError):
                path.with_suffix(".part").unlink()
            return None
        os.write(descriptor, _MAGIC)
        self.kept += 1
        return Journal(path, descriptor)

    def end(self, *, keep: bool) -> None:
        """Remove what was kept; with `keep` leave it to the run that goes on."""
        with self._lock:
            entry, self._entry, self._place = self._entry, None, None
            if self._mark is not None:
                os.close(self._mark)
                self._mark = None
        if entry is None:
            return
        if keep and self.kept + self.taken:
            self._log.info("started again with the same inputs and parameters, the run goes on from here")
            return
        # under another name first: a run that shares it must find all of it or nothing
        gone = entry.with_name(f"{entry.name}-{os.urandom(4).hex()}")
        with contextlib.suppress(OSError):
            entry.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(OSError):
            entry.parent.rmdir()  # only if nothing else is in it

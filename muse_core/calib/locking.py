# SPDX-License-Identifier: BSD-3-Clause
"""One scan of a tree at a time: a row of the index says who is at it, and a dead owner does not block it.

On the same computer an owner is alive as long as its process is, however long it waits for a slow disk. Of
another computer only the beat is seen, which an owner renews while it works.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from muse_core.calib.store import Index, IndexBusyError

STALE_SECONDS = 600.0
BEAT_SECONDS = 20.0
_WAIT = 0.25


@contextlib.contextmanager
def scan_lock(index: Index, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Hold the lock row of an index; yields a function that renews it when it is time (call it often).

    Another scan that holds it is waited for, and named once.

    Raises
    ------
    IndexBusyError
        by the function, where another scan has taken the lock over
    """
    me = {"pid": os.getpid(), "host": platform.node(), "id": time.monotonic_ns()}
    me["born"] = _born(os.getpid())
    told = False
    while not _take(index, me):
        if not told:
            owner = _owner(index)
            say(f"waiting for the scan of process {owner.get('pid')} on {owner.get('host')}")
            told = True
        time.sleep(_WAIT)
    due = time.monotonic() + BEAT_SECONDS

    def renew() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + BEAT_SECONDS
        with _transaction(index):
            if not _mine(index, me):
                raise IndexBusyError(
                    f"{index.path}: another scan took over while this one waited; run it again"
                )
            index.set_meta("lock", json.dumps(me | {"beat": time.time()}))

    try:
        yield renew
    finally:
        if index.db.in_transaction:
            index.db.execute("ROLLBACK")
        with _transaction(index):
            if _mine(index, me):
                index.db.execute("DELETE FROM meta WHERE key = 'lock'")


@contextlib.contextmanager
def _transaction(index: Index) -> Iterator[None]:
    """Read and write the lock in one go; within a transaction of the caller, as a part of it."""
    if index.db.in_transaction:
        yield
        return
    index.db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        index.db.execute("ROLLBACK")
        raise
    index.db.execute("COMMIT")


def _take(index: Index, me: dict[str, object]) -> bool:
    with _transaction(index):
        owner = _owner(index)
        free = not owner or not _alive(owner)
        if free:
            index.set_meta("lock", json.dumps(me | {"beat": time.time()}))
    return free


def _owner(index: Index) -> dict:
    try:
        owner = json.loads(index.meta("lock", "{}"))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _mine(index: Index, me: dict[str, object]) -> bool:
    owner = _owner(index)
    return all(owner.get(key) == me[key] for key in ("pid", "host", "id"))


def _alive(owner: dict) -> bool:
    if owner.get("host") != platform.node():
        return abs(time.time() - float(owner.get("beat", 0))) <= STALE_SECONDS
    try:
        pid = int(owner.get("pid", 0))
        os.kill(pid, 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    # the number may have been given to another process since
    return owner.get("born") in (None, _born(pid))


def _born(pid: int) -> int | None:
    """Start of a process in ticks since the computer started, None where the system does not tell."""
    try:
        words = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return int(words[19])
    except (OSError, ValueError, IndexError):
        return None

# SPDX-License-Identifier: BSD-3-Clause
"""One scan of a tree at a time: a row of the index says who is at it, and a dead owner does not block it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator

from muse_core.calib.store import Index

STALE_SECONDS = 120.0
_WAIT = 0.25


@contextlib.contextmanager
def scan_lock(index: Index, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Hold the lock row of an index; yields a function that renews it (call it within a transaction).

    Another scan that holds it is waited for, and named once.
    """
    me = {"pid": os.getpid(), "host": platform.node(), "id": time.monotonic_ns()}
    told = False
    while not _take(index, me):
        if not told:
            owner = json.loads(index.meta("lock", "{}"))
            say(f"waiting for the scan of process {owner.get('pid')} on {owner.get('host')}")
            told = True
        time.sleep(_WAIT)
    try:
        yield lambda: index.set_meta("lock", json.dumps(me | {"beat": time.time()}))
    finally:
        if index.db.in_transaction:
            index.db.execute("ROLLBACK")
        index.db.execute("DELETE FROM meta WHERE key = 'lock'")


def _take(index: Index, me: dict[str, object]) -> bool:
    index.db.execute("BEGIN IMMEDIATE")
    try:
        owner = json.loads(index.meta("lock", "{}"))
        free = not owner or not _alive(owner)
        if free:
            index.set_meta("lock", json.dumps(me | {"beat": time.time()}))
    finally:
        index.db.execute("COMMIT")
    return free


def _alive(owner: dict) -> bool:
    if abs(time.time() - float(owner.get("beat", 0))) > STALE_SECONDS:
        return False
    if owner.get("host") != platform.node():
        return True
    try:
        os.kill(int(owner.get("pid", 0)), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True

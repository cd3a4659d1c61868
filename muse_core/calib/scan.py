# SPDX-License-Identifier: BSD-3-Clause
"""Bringing the index of a tree up to date: only new and changed files are opened, and of those the header."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from muse_core.calib.cards import HeaderError, read_primary
from muse_core.calib.classify import VERSION, Classifier, Row
from muse_core.calib.locking import scan_lock
from muse_core.calib.rules import Rules
from muse_core.calib.store import Index, memory_index, on_network, open_for_writing, restored, shown
from muse_core.calib.votes import VoteError, normal_name, read_votes
from muse_core.framework.errors import RecipeError

SUFFIXES = (".fits", ".fits.fz", ".fits.gz", ".fits.z", ".fit", ".xml")
BATCH = 1000
_RECENT_NS = 2_000_000_000
_LARGEST = 2**63 - 1
_NEVER = -1  # a modification time that no file has: read again next time


@dataclass
class ScanReport:
    """What a scan found; `bad` holds (path, reason)."""

    root: Path
    index: Path | None
    seen: int = 0
    read: int = 0
    gone: int = 0
    bad: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0


class _Found(NamedTuple):  # made for every file of a tree, however many
    path: str
    size: int
    mtime_ns: int
    inode: int
    fault: str = ""


def scan(
    root: str | Path,
    rules: Rules,
    *,
    index_path: Path | None = None,
    in_memory: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Index, ScanReport]:
    """Index a tree, or bring its index up to date; returns the open index and a report.

    Raises
    ------
    RecipeError
        where the folder does not exist
    """
    folder = Path(root)
    if not folder.is_dir():
        raise RecipeError(f"{shown(folder)}: is no folder; give the folder with the files of the archive")
    started = time.monotonic()
    remark = ""
    if in_memory:
        index = memory_index(folder)
    else:
        index, remark = open_for_writing(folder, index_path)
    report = ScanReport(index.root, index.path, remarks=[remark] if remark else [])
    with scan_lock(index, say) as renew:
        _Scan(index, rules, report, renew, progress).run()
    report.seconds = time.monotonic() - started
    return index, report


class _Scan:
    def __init__(self, index: Index, rules: Rules, report: ScanReport, renew: Any, progress: Any) -> None:
        self.index, self.report, self.renew, self.progress = index, report, renew, progress
        self.classifier = Classifier(rules)
        self.threads = 8 if on_network(index.root) else 1
        text = json.dumps(
            [VERSION, *(rules.data[name] for name in ("site", "fields", "classify", "kinds"))], sort_keys=True
        )
        self.how = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.touched: set[int] = set()

    def run(self) -> None:
        """Walk, read, tidy up; every thousand files stand in the index for good."""
        db = self.index.db
        same_rules = self.index.meta("classification") == self.how
        plain = db.cursor()
        plain.row_factory = None  # tuples are faster than rows with names
        query = "SELECT id, path, size, mtime_ns, set_id FROM file WHERE state <> 'gone'"
        known: dict[str, tuple[int, int, int, int | None]] = {
            restored(path): (number, size, mtime, set_id)
            for number, path, size, mtime, set_id in plain.execute(query)
        }
        self.first = not known
        top = db.execute("SELECT COALESCE(MAX(id), 0) FROM file").fetchone()[0]
        self.scan_number = int(self.index.meta("scans", "0")) + 1
        self.now_ns = time.time_ns()
        for chunk in _chunks(self._changed(known, same_rules), BATCH):
            numbered = []
            for old, row in zip(
                [entry[1] for entry in chunk], self._read([e[0] for e in chunk]), strict=True
            ):
                if old is None:
                    top += 1
                number = top if old is None else old[0]
                self.touched |= {
                    value for value in (row.set_id, old[3] if old else None) if value is not None
                }
                numbered.append((number, row))
                self.report.read += 1
                if row.state == "bad":
                    self.report.bad.append((row.path, row.reason))
            db.execute("BEGIN IMMEDIATE")
            db.executemany("DELETE FROM used WHERE file_id = ?", [(e[1][0],) for e in chunk if e[1]])
            self.index.write_rows(numbered)
            self._votes(numbered)
            db.execute("COMMIT")
            self.progress(self.report.seen)
        self._finish(known)

    def _changed(self, known: dict, same_rules: bool) -> Iterator[tuple[_Found, tuple | None]]:
        """Yield files to read with what is known of them; leaves in `known` those that were not met."""
        for found in _walk(self.index.root, self.report):
            self.report.seen += 1
            self.renew()
            old = known.pop(found.path, None)
            if old is None or not same_rules or old[1] != found.size or old[2] != found.mtime_ns:
                yield found, old

    def _read(self, files: list[_Found]) -> list[Row]:
        if self.threads == 1:
            return [self._row(found) for found in files]
        from concurrent.futures import ThreadPoolExecutor  # where there are new files only

        with ThreadPoolExecutor(self.threads) as pool:  # a network folder: many small waits at once
            return list(pool.map(self._row, files))

    def _row(self, found: _Found) -> Row:
        row = self._content(found)
        row.path, row.folder = found.path, found.path.rpartition("/")[0]
        row.size, row.mtime_ns, row.inode, row.seen = (
            found.size,
            found.mtime_ns,
            found.inode,
            self.scan_number,
        )
        if found.mtime_ns > self.now_ns - _RECENT_NS:  # being written, or a clock that is ahead
            row.mtime_ns = _NEVER
        return row

    def _content(self, found: _Found) -> Row:
        bad = Row(
            state="bad",
            reason=found.fault,
            ident=f"bad:{found.path}:{found.size}".encode("utf-8", "replace").decode(),
        )
        if found.fault:
            return bad
        if found.path.lower().endswith(".xml"):
            return Row(tag="XML", kind="xml", ident=f"xml:{found.size}:{found.mtime_ns}")
        full = f"{self.index.root}/{found.path}"
        try:
            header = read_primary(full, self.classifier.wanted)
        except HeaderError as error:
            bad.reason = str(error)
            return bad
        return self.classifier.row(found.path, header, found.size)

    def _votes(self, numbered: list[tuple[int, Row]]) -> None:
        for _, row in numbered:
            if row.kind != "xml":
                continue
            self.index.db.execute("DELETE FROM vote WHERE xml = ?", (row.path,))
            try:
                votes = read_votes(f"{self.index.root}/{row.path}")
            except VoteError as error:
                self.report.bad.append((row.path, str(error)))
                continue
            self.index.db.executemany(
                "INSERT INTO vote VALUES(?,?,?,?,?,?)", [(row.path, *vote) for vote in votes]
            )

    def _finish(self, gone: dict) -> None:
        db, report = self.index.db, self.report
        report.gone = len(gone)
        self.touched |= {old[3] for old in gone.values() if old[3] is not None}
        db.execute("BEGIN IMMEDIATE")
        for old in gone.values():
            db.execute("UPDATE file SET state = 'gone', set_id = NULL WHERE id = ?", (old[0],))
        if gone:
            names = {path for path in gone if path.lower().endswith(".xml")}
            db.executemany("DELETE FROM vote WHERE xml = ?", [(name,) for name in names])
        if report.read or gone:
            db.execute("DELETE FROM used WHERE file_id NOT IN (SELECT id FROM file)")
            self._classify_by_votes()
            self.index.make_indexes()
            self.index.update_sets(None if self.first or len(self.touched) > 2000 else sorted(self.touched))
        self.index.set_meta("classification", self.how)
        self.index.set_meta("root", str(self.index.root).encode("utf-8", "replace").decode())
        self.index.set_meta("scans", self.scan_number)
        db.execute("COMMIT")

    def _classify_by_votes(self) -> None:
        """Give files that only a name speaks for the category of their association file."""
        db = self.index.db
        categories = dict(db.execute("SELECT name, category FROM vote ORDER BY xml DESC"))
        if not categories:
            return
        weak = db.execute(
            "SELECT * FROM file WHERE state = 'ok' AND instrume = 'MUSE' AND kind <> 'xml'"
            " AND source IN ('', 'ORIGFILE', 'name')"
        ).fetchall()
        for old in weak:
            category = categories.get(normal_name(restored(old["path"])))
            if category:
                row = Row(**{key: old[key] for key in old.keys() if key != "id"})  # noqa: SIM118 - no dict
                row.path, row.folder = restored(row.path), restored(row.folder)
                self.classifier.retag(row, category, "XML")
                self.touched |= {value for value in (old["set_id"], row.set_id) if value is not None}
                self.index.write_rows([(old["id"], row)])


def _chunks(items: Iterator, size: int) -> Iterator[list]:
    while chunk := list(islice(items, size)):
        yield chunk


def _walk(root: Path, report: ScanReport) -> Iterator[_Found]:
    """Yield every file of interest below a folder.

    A folder is entered once, however many links lead to it; its own name comes before those of links.
    """
    real, entered = [""], {_identity(root.stat())}
    links: list[str] = []
    while real or links:
        if not real:
            links.sort(reverse=True)
        folder = real.pop() if real else links.pop()
        try:
            entries = os.scandir(f"{root}/{folder}" if folder else root)
            key = _identity(os.stat(f"{root}/{folder}"))  # noqa: PTH116
        except OSError as error:
            report.remarks.append(f"{shown(folder)}: folder left out: {error.strerror}")
            continue
        with entries:
            if folder and key in entered:
                continue
            entered.add(key)
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                path = f"{folder}/{name}" if folder else name
                try:
                    if entry.is_dir():
                        (links if entry.is_symlink() else real).append(path)
                    elif name.lower().endswith(SUFFIXES):
                        yield _found(entry, path)
                except OSError as error:
                    yield _Found(path, 0, 0, 0, f"cannot be read: {error.strerror}")


def _found(entry: os.DirEntry, path: str) -> _Found:
    if not entry.is_file():
        if entry.is_symlink():
            return _Found(path, 0, 0, 0, "is a link that leads nowhere")
        return _Found(path, 0, 0, 0, "is no plain file")
    status = entry.stat()
    # some file systems number with all 64 bits, and have times after 2262: SQLite takes neither
    return _Found(path, status.st_size, min(status.st_mtime_ns, _LARGEST), status.st_ino & _LARGEST)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino

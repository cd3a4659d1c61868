# SPDX-License-Identifier: BSD-3-Clause
"""The index of one folder tree: an SQLite file. Paths count from the tree, so a moved tree stays valid."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from muse_core.calib.classify import COLUMNS, Row
from muse_core.framework.errors import RecipeError
from muse_core.framework.places import cache_folder

SCHEMA = 1
NAME = ".muse-index.sqlite"
_NETWORK = ("nfs", "cifs", "smb", "afs", "fuse.sshfs", "9p", "beegfs", "lustre", "gpfs", "ceph", "gluster")
_INTEGER = {
    "size", "mtime_ns", "inode", "seen", "binx", "biny", "ifu", "tpl_expno", "tpl_nexp", "obs_id",
    "simulated", "set_id",
}  # fmt: skip
_REAL = {"mjd", "mjd_mid", "exptime", "valid_from", "valid_to", "ra", "dec", "posang", "temp"}

_TABLES = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS file(id INTEGER PRIMARY KEY, {columns});
CREATE TABLE IF NOT EXISTS sets(id INTEGER PRIMARY KEY, tag TEXT, kind TEXT, mode TEXT, field TEXT, ao TEXT,
    range TEXT, readout TEXT, mjd REAL, night TEXT, valid_from REAL, tpl_start TEXT, tpl_nexp INT, obs_id INT,
    object TEXT, temp REAL, pipe TEXT, folder TEXT, n INT, ifus INT, merged INT, simulated INT, first TEXT);
CREATE TABLE IF NOT EXISTS used(file_id INT, rec INT, role TEXT, n INT, name TEXT, catg TEXT, datamd5 TEXT);
CREATE TABLE IF NOT EXISTS vote(xml TEXT, main TEXT, name TEXT, category TEXT, certified INT, complete INT);
CREATE TABLE IF NOT EXISTS mark(ident TEXT PRIMARY KEY, verdict TEXT, note TEXT, who TEXT, date TEXT);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS file_ident ON file(ident);
CREATE INDEX IF NOT EXISTS file_set ON file(set_id);
CREATE INDEX IF NOT EXISTS file_night ON file(night, tag);
CREATE INDEX IF NOT EXISTS file_state ON file(state) WHERE state <> 'ok';
CREATE INDEX IF NOT EXISTS file_datamd5 ON file(datamd5) WHERE datamd5 IS NOT NULL;
CREATE INDEX IF NOT EXISTS sets_time ON sets(tag, mjd);
CREATE INDEX IF NOT EXISTS used_file ON used(file_id);
CREATE INDEX IF NOT EXISTS used_md5 ON used(datamd5);
CREATE INDEX IF NOT EXISTS used_name ON used(name);
CREATE INDEX IF NOT EXISTS vote_name ON vote(name);
"""
_SET_QUERY = """
INSERT OR REPLACE INTO sets
SELECT set_id, MIN(tag), MIN(kind), MIN(mode), MIN(field), MIN(ao), MIN(range), MIN(readout), AVG(mjd_mid),
    MIN(night), MIN(valid_from), MIN(tpl_start), MAX(tpl_nexp), MIN(obs_id), MIN(object), AVG(temp),
    MIN(pipe), MIN(folder), COUNT(DISTINCT ident), SUM(DISTINCT 1 << (ifu - 1)), MAX(ifu IS NULL),
    MAX(simulated), MIN(path)
FROM file WHERE state = 'ok' AND set_id {which} GROUP BY set_id
"""


class IndexDamagedError(RecipeError):
    """The index file cannot be used as it is; hosts end with exit code 3."""


class IndexBusyError(RecipeError):
    """Another process is at the index."""


def index_trouble(error: sqlite3.Error) -> str:
    """Say in plain words what an error of SQLite means for the user."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return f"the index is in use by another program ({text}); wait for it, and run again"
    if "full" in text or "readonly" in text or "I/O" in text:
        return f"the index cannot be written ({text}); check free space and rights"
    return f"the index is damaged ({text}); remove {NAME} of the folder and run 'musetools calib index' again"


def stored(path: str) -> str | bytes:
    """Return a path as SQLite takes it; names that are no UTF-8 become bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def restored(value: str | bytes) -> str:
    """Return a stored path as the file system takes it."""
    return os.fsdecode(value) if isinstance(value, bytes) else value


def shown(path: str | Path) -> str:
    """Return a path for a message: names with odd bytes or control characters become visible ones."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def on_network(folder: Path, mounts: str = "/proc/mounts") -> bool:
    """Tell whether a folder lies on a network file system, where SQLite's locks cannot be trusted."""
    try:
        lines = Path(mounts).read_text(errors="replace").splitlines()
    except OSError:
        return False
    best = ("", "")
    for line in lines:
        words = line.split()
        if (
            len(words) > 2
            and (str(folder) + "/").startswith(words[1].rstrip("/") + "/")
            and len(words[1]) > len(best[0])
        ):
            best = (words[1], words[2])
    return best[1].startswith(_NETWORK)


def index_file(root: Path, *, for_writing: bool = False) -> Path:
    """Return where the index of a tree is, or is to be: in the tree, or in the cache where it cannot be."""
    root = root.resolve()
    inside = root / NAME
    cached = (
        cache_folder()
        / "index"
        / f"{hashlib.sha1(os.fsencode(root), usedforsecurity=False).hexdigest()[:16]}.sqlite"
    )
    if inside.is_file() and (not for_writing or os.access(inside, os.W_OK)):
        return inside
    if cached.is_file() or not os.access(root, os.W_OK) or on_network(root):
        return cached
    return inside


class Index:
    """An open index.

    Parameters
    ----------
    root : the tree
    db : connection
    path : the index file, or None for one in memory
    """

    def __init__(self, root: Path, db: sqlite3.Connection, path: Path | None) -> None:
        self.root, self.db, self.path = root, db, path

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def meta(self, key: str, default: str = "") -> str:
        """Return a remark of the index."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def set_meta(self, key: str, value: object) -> None:
        """Keep a remark of the index."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    def full(self, path: str | bytes) -> str:
        """Return the absolute path of a stored one."""
        return f"{self.root}/{restored(path)}"

    def entry(self, path: Path) -> sqlite3.Row | None:
        """Return the row of a file by its name here, or None; links in its path are followed."""
        full = path.absolute()
        real = Path(os.path.realpath(full))  # unlike Path.resolve it takes links that lead in a circle
        for name in dict.fromkeys((full, Path(os.path.realpath(full.parent)) / full.name, real)):
            if name.is_relative_to(self.root):
                key = stored(name.relative_to(self.root).as_posix())
                row = self.db.execute("SELECT * FROM file WHERE path = ?", (key,)).fetchone()
                if row is not None and row["state"] != "gone":
                    return row
        return None

    def rows(self, where: str = "1", values: Sequence[object] = ()) -> Iterator[sqlite3.Row]:
        """Yield rows of the table file."""
        yield from self.db.execute(f"SELECT * FROM file WHERE {where}", tuple(values))  # noqa: S608 - our own texts

    def write_rows(self, numbered: Iterable[tuple[int, Row]]) -> None:
        """Insert rows, or replace those of the same path."""
        places = ",".join("?" * (len(COLUMNS) + 1))
        values, used = [], []
        for number, row in numbered:
            values.append(
                (number, stored(row.path), stored(row.folder), *(getattr(row, c) for c in COLUMNS[2:]))
            )
            used += [(number, *entry) for entry in row.used]
        self.db.executemany(f"INSERT OR REPLACE INTO file VALUES({places})", values)  # noqa: S608
        self.db.executemany("INSERT INTO used VALUES(?,?,?,?,?,?,?)", used)

    def update_sets(self, touched: Iterable[int] | None = None) -> None:
        """Make the sets again: all, or those whose numbers are given."""
        if touched is None:
            self.db.execute("DELETE FROM sets")
            self.db.execute(_SET_QUERY.format(which="IS NOT NULL"))
            return
        for number in touched:
            self.db.execute("DELETE FROM sets WHERE id = ?", (number,))
            self.db.execute(_SET_QUERY.format(which="= ?"), (number,))

    def make_indexes(self) -> None:
        """Make the look-up tables (after the first load, which is faster)."""
        for statement in _INDEXES.strip().split(";\n"):
            self.db.execute(statement)


def _connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    if read_only:
        from urllib.parse import quote

        db = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=60, isolation_level=None)
    else:
        db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.row_factory = sqlite3.Row
    return db


def _create(db: sqlite3.Connection) -> None:
    columns = ", ".join(
        f"{name} {'INT' if name in _INTEGER else 'REAL' if name in _REAL else 'TEXT'}"
        + (" UNIQUE" if name == "path" else "")
        for name in COLUMNS
    )
    for statement in _TABLES.format(columns=columns).strip().split(";\n"):
        db.execute(statement)
    db.execute("INSERT OR IGNORE INTO meta VALUES('schema', ?)", (SCHEMA,))


def memory_index(root: Path) -> Index:
    """Return an empty index in memory."""
    db = _connect(":memory:")
    _create(db)
    return Index(root.resolve(), db, None)


def open_for_writing(root: Path, path: Path | None = None) -> tuple[Index, str]:
    """Open or make the index of a tree; returns it and a remark where an unusable one was put aside.

    Marks of an index of another version are taken over; a damaged file is renamed, never deleted.
    """
    root = root.resolve()
    place = path or index_file(root, for_writing=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    marks: list[tuple] = []
    remark = ""
    if place.is_file() and place.stat().st_size:
        fault = _fault(place)
        if fault:
            with contextlib.suppress(sqlite3.Error), contextlib.closing(_connect(str(place))) as old:
                marks = [
                    tuple(mark) for mark in old.execute("SELECT ident, verdict, note, who, date FROM mark")
                ]
            aside = place.with_name(place.name + ".old")
            place.replace(aside)
            remark = f"{shown(place)}: {fault}; put aside as {aside.name}, a new one is made"
    db = _connect(str(place))
    db.execute("PRAGMA synchronous = NORMAL")
    _create(db)
    db.executemany("INSERT OR IGNORE INTO mark VALUES(?,?,?,?,?)", marks)
    return Index(root, db, place), remark


def _fault(path: Path) -> str:
    """Say why an index file cannot be used, or ""."""
    try:
        with contextlib.closing(_connect(str(path), read_only=True)) as db:
            found = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
            db.execute("SELECT set_id FROM file LIMIT 1").fetchone()
            db.execute("SELECT ident FROM mark LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            return ""
        return f"no index of this program ({error})"
    except sqlite3.DatabaseError as error:
        return f"damaged ({error})"
    if found is None or found[0] != SCHEMA:
        return f"index of version {found[0] if found else '?'}, this program writes version {SCHEMA}"
    return ""


def open_for_reading(root: Path, path: Path | None = None) -> Index | None:
    """Open the index of a tree, or return None where there is none.

    Raises
    ------
    IndexDamagedError
        where there is one that cannot be used
    """
    root = root.resolve()
    place = path or index_file(root)
    if not place.is_file():
        return None
    fault = _fault(place)
    if fault:
        raise IndexDamagedError(
            f"{shown(place)}: {fault}; run 'musetools calib index {shown(root)}' to make it again"
        )
    return Index(root, _connect(str(place), read_only=True), place)

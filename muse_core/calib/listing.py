# SPDX-License-Identifier: BSD-3-Clause
"""What the indexes hold, as tables and as a tree of folders."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from muse_core.calib.candidates import Library
from muse_core.calib.classify import date_of
from muse_core.calib.store import restored, shown
from muse_core.calib.targets import ifu_list

Table = tuple[list[str], list[list]]
SET_TITLES = ["tag", "kind", "date", "night", "mode", "read-out", "files", "IFUs", "pipeline", "first file"]
FILE_TITLES = ["tag", "kind", "date", "night", "mode", "read-out", "IFU", "object", "source", "file"]


def _where(tag: str | None, night: str | None) -> tuple[str, list[str]]:
    parts, values = ["1"], []
    for column, value in (("tag", tag), ("night", night)):
        if value:
            parts.append(f"{column} = ?")
            values.append(value)
    return " AND ".join(parts), values


def list_sets(library: Library, tag: str | None = None, night: str | None = None) -> Table:
    """Return titles and rows of the sets."""
    where, values = _where(tag, night)
    rows = []
    for index in library.indexes:
        for s in index.db.execute(f"SELECT * FROM sets WHERE {where}", values):  # noqa: S608 - our own texts
            ifus = len(ifu_list(s["ifus"])) if s["ifus"] else ("all" if s["merged"] else "")
            rows.append([
                s["tag"], s["kind"], date_of(s["mjd"]) if s["mjd"] is not None else "", s["night"] or "",
                s["mode"] or "", s["readout"] or "", s["n"], ifus,
                s["pipe"] or "", shown(restored(s["first"])),
            ])  # fmt: skip
    return SET_TITLES, sorted(rows, key=lambda row: (row[2], row[0], row[-1]))


def list_files(library: Library, tag: str | None = None, night: str | None = None) -> Table:
    """Return titles and rows of the files."""
    where, values = _where(tag, night)
    rows = []
    for index in library.indexes:
        for f in index.rows(f"state = 'ok' AND kind <> 'xml' AND {where}", values):
            rows.append([
                f["tag"] or "?", f["kind"], date_of(f["mjd"]) if f["mjd"] is not None else "",
                f["night"] or "",
                f["mode"] or "", f["readout"] or "", f["ifu"] or "", shown(f["object"] or ""), f["source"],
                shown(restored(f["path"])),
            ])  # fmt: skip
    return FILE_TITLES, sorted(rows, key=lambda row: (row[2], row[0], row[-1]))


def as_tree(library: Library, tag: str | None = None, night: str | None = None) -> list[str]:
    """Return every file where our advice would put it; nothing is moved."""
    where, values = _where(tag, night)
    lines = []
    for index in library.indexes:
        for f in index.rows(f"state = 'ok' AND kind <> 'xml' AND {where}", values):
            path = restored(f["path"])
            lines.append(f"{_advised(f, PurePath(path).name)} <- {shown(path)}")
    return sorted(lines)


def _advised(f: Any, name: str) -> str:
    name = shown(name)
    if f["kind"] == "raw":
        return f"raw/{f['night'] or 'unknown'}/{name}"
    if f["kind"] in ("static", "long"):
        return f"static/{name}"
    if f["kind"] == "master":
        return f"master/{f['tag']}/{f['tpl_start'] or 'unknown'}.{f['mode'] or 'any'}/{name}"
    if f["kind"] in ("chain", "product"):
        when = date_of(f["mjd"]) if f["mjd"] is not None else "unknown"
        return f"reduced/{shown(f['object'] or 'unknown').replace('/', '_')}/{when}/{name}"
    return f"other/{name}"

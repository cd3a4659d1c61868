# SPDX-License-Identifier: BSD-3-Clause
"""What a product was made with, and which products were made with a file: from headers and sums of data."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Any

from muse_core.calib.candidates import Library
from muse_core.calib.store import Index, shown, stored
from muse_core.framework.errors import InputError


def used_by(library: Library, path: Path) -> list[str]:
    """Return a line for every raw frame and calibration that a product names, the last recipe first."""
    row, index = library.row_of(path)
    if row.kind == "raw":
        raise InputError(shown(path), "provenance", expected="a product", found=f"a raw frame ({row.tag})")
    if index is None:
        entries = row.used
    else:
        query = "SELECT rec, role, n, name, catg, datamd5 FROM used"
        query += " WHERE file_id = (SELECT id FROM file WHERE path = ?)"
        entries = [
            tuple(e)
            for e in index.db.execute(f"{query} ORDER BY rec DESC, role DESC, n", (stored(row.path),))
        ]
    lines = []
    for rec, role, _, name, catg, datamd5 in sorted(entries, key=lambda e: (-e[0], e[1] != "RAW", e[2])):
        found = _lookup(library, name, datamd5)
        lines.append(f"REC{rec} {role} {catg:<16} {shown(name)}: {found}")
    return lines


def _lookup(library: Library, name: str, datamd5: str) -> str:
    for index in library.indexes:
        if datamd5:
            row = index.db.execute(
                "SELECT path FROM file WHERE datamd5 = ? AND state = 'ok' ORDER BY path", (datamd5,)
            ).fetchone()
            if row:
                return shown(index.full(row["path"]))
    for index in library.indexes:
        row = _by_name(index, name)
        if row:
            changed = bool(datamd5) and row["datamd5"] not in (None, datamd5)
            return shown(index.full(row["path"])) + (" (changed since)" if changed else "")
    return "not here"


def _by_name(index: Index, name: str) -> Any:
    if not name:
        return None
    query = "SELECT path, datamd5 FROM file WHERE state = 'ok'"
    query += " AND ((kind = 'raw' AND arcfile = ?) OR path = ? OR substr(path, ?) = ?) ORDER BY path"
    end = f"/{name}"
    return index.db.execute(query, (_unpacked(name), stored(name), -len(end), end)).fetchone()


def _unpacked(name: str) -> str:
    """Name of a file before it was packed, which is that in ARCFILE."""
    return re.sub(r"\.(fz|gz|Z)$", "", name)


def users_of(library: Library, path: Path) -> list[str]:
    """Return the products that name a file, by the sum of its data, else by its name."""
    row, _ = library.row_of(path)
    # a product carries the name of its first raw frame, too
    given = shown(PurePath(path).name)
    names = {given, _unpacked(given), (row.arcfile or "") if row.kind == "raw" else ""} - {""}
    names |= {f"{name}{suffix}" for name in names for suffix in (".fz", ".gz", ".Z")}
    marks = ",".join("?" * len(names))
    lines = set()
    for index in library.indexes:
        query = f"""
            SELECT f.path, f.tag FROM used u JOIN file f ON f.id = u.file_id
            WHERE f.state = 'ok' AND ((u.datamd5 <> '' AND u.datamd5 = ?)
               OR (u.datamd5 = '' AND u.name IN ({marks})))
        """  # noqa: S608 - only question marks
        for found in index.db.execute(query, (row.datamd5 or "-", *sorted(names))):
            lines.add(f"{found['tag']:<16} {shown(index.full(found['path']))}")
    return sorted(lines)

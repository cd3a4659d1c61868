# SPDX-License-Identifier: BSD-3-Clause
"""The user's verdict on files, kept by identity: it survives renaming, moving and indexing again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from muse_core.calib.places import tree_of
from muse_core.calib.rules import Rules
from muse_core.calib.scan import scan
from muse_core.calib.store import shown, stored
from muse_core.framework.errors import InputError

VERDICTS = ("good", "bad", "none")


def mark(files: list[Path], verdict: str, note: str, who: str, rules: Rules) -> list[str]:
    """Mark files good or bad, or take a mark back (``none``); returns a line for each.

    Raises
    ------
    InputError
        where a file is in no index
    """
    lines = []
    for path in files:
        full = path.absolute()
        index, _ = scan(tree_of(full), rules)
        with index:
            name = stored(full.resolve().relative_to(index.root).as_posix())
            row = index.db.execute("SELECT ident, tag FROM file WHERE path = ?", (name,)).fetchone()
            if row is None:
                raise InputError(
                    shown(path),
                    "mark",
                    expected="a file of an indexed folder",
                    found="none",
                    remedy="Run 'musetools calib index' on its folder first.",
                )
            index.db.execute("DELETE FROM mark WHERE ident = ?", (row["ident"],))
            if verdict != "none":
                date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
                values = (row["ident"], verdict, note, who, date)
                index.db.execute("INSERT INTO mark VALUES(?,?,?,?,?)", values)
            lines.append(f"{shown(path)}: {row['tag']} marked {verdict}")
    return lines

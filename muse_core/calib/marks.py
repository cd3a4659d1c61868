# SPDX-License-Identifier: BSD-3-Clause
"""The user's verdict on files, kept by identity: it survives renaming, moving and indexing again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from muse_core.calib.places import tree_of
from muse_core.calib.rules import Rules
from muse_core.calib.scan import scan
from muse_core.calib.store import Index, shown
from muse_core.framework.errors import InputError

VERDICTS = ("good", "bad", "none")


def mark(files: list[Path], verdict: str, note: str, who: str, rules: Rules) -> list[str]:
    """Mark files good or bad, or take a mark back (``none``); returns a line for each.

    The index of each tree is brought up to date once. Either all files of a tree are marked, or none.

    Raises
    ------
    InputError
        where a file does not exist, is in no index, or cannot be read
    """
    trees: dict[Path, list[Path]] = {}
    for path in files:
        if not path.is_file():
            raise InputError(
                shown(path), "mark", expected="a file of an indexed folder", found="no such file",
                remedy="Check its name.",
            )  # fmt: skip
        trees.setdefault(tree_of(path.absolute()), []).append(path)
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    lines = []
    for tree, members in trees.items():
        index, _ = scan(tree, rules)
        with index:
            found = [(path, *_identity(index, path)) for path in members]
            index.db.execute("BEGIN IMMEDIATE")
            for path, ident, tag in found:
                index.db.execute("DELETE FROM mark WHERE ident = ?", (ident,))
                if verdict != "none":
                    index.db.execute("INSERT INTO mark VALUES(?,?,?,?,?)", (ident, verdict, note, who, date))
                lines.append(f"{shown(path)}: {tag} marked {verdict}")
            index.db.execute("COMMIT")
    return lines


def _identity(index: Index, path: Path) -> tuple[str, str]:
    row = index.entry(path)
    if row is None or row["kind"] == "xml":
        raise InputError(
            shown(path), "mark", expected="a FITS file of an indexed folder", found="none of them",
            remedy="Run 'musetools calib index' on its folder first.",
        )  # fmt: skip
    if row["state"] == "bad":
        raise InputError(shown(path), "mark", expected="a FITS file", found=f"a file that {row['reason']}")
    return row["ident"], row["tag"] or "file"

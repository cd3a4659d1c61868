# SPDX-License-Identifier: BSD-3-Clause
"""Checking the files of an index: structure, sums, sets, names that lie, what products were made with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muse_core.calib.cards import HeaderError, Wanted, read_primary, walk_extensions
from muse_core.calib.classify import Classifier
from muse_core.calib.rules import Rules
from muse_core.calib.store import Index, restored, shown
from muse_core.calib.targets import ALL_IFUS, ifu_list
from muse_core.framework.checksums import ones_complement, word_sum

LEVELS = ("quick", "sizes", "full")
_PER_IFU_TABLES = ("TRACE_TABLE", "WAVECAL_TABLE")
_CHANNELS = Wanted(["EXTNAME", "XTENSION", "CHECKSUM", "DATASUM", "DATAMD5"])
_CHUNK = 2880 * 1024


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`damage`) or worth knowing."""

    path: str
    text: str
    damage: bool = True

    def __str__(self) -> str:
        return f"{'V001' if self.damage else 'V010'} {shown(self.path)}: {self.text}"


def verify(
    index: Index, rules: Rules, how: str = "sizes", progress: Callable[[str], None] = lambda _: None
) -> Iterator[Finding]:
    """Yield what is wrong with the files of an index.

    Parameters
    ----------
    how : ``quick`` (headers only), ``sizes`` (also the sizes that headers announce), ``full`` (also sums)
    """
    classifier = Classifier(rules)
    for row in index.db.execute("SELECT path, reason FROM file WHERE state = 'bad' ORDER BY path").fetchall():
        yield Finding(restored(row["path"]), row["reason"])
    query = "SELECT * FROM file WHERE state = 'ok' AND kind <> 'xml' ORDER BY path"
    for row in index.db.execute(query).fetchall():
        progress(restored(row["path"]))
        yield from _file(index, classifier, row, how)
    yield from _sets(index)
    yield from _names(index, classifier)
    yield from _used(index)


def _file(index: Index, classifier: Classifier, row: Any, how: str) -> Iterator[Finding]:
    path = restored(row["path"])
    full = index.full(row["path"])
    try:
        status = os.stat(full)  # noqa: PTH116
        header = read_primary(full, classifier.wanted)
    except OSError as error:
        yield Finding(path, f"is in the index, but {error.strerror}")
        return
    except HeaderError as error:
        yield Finding(path, str(error))
        return
    fresh = classifier.row(path, header, status.st_size)
    if (fresh.ident, fresh.tag) != (row["ident"], row["tag"]) and row["source"] != "XML":
        same = status.st_size == row["size"] and status.st_mtime_ns == row["mtime_ns"]
        how_it_hid = " with equal size and time, which a scan cannot see" if same else ""
        yield Finding(path, f"another file than in the index{how_it_hid}: run 'musetools calib index'", same)
        return
    if how == "quick" or path.endswith((".gz", ".Z")):
        return
    try:
        found = list(walk_extensions(full, _CHANNELS))
    except (HeaderError, OSError, OverflowError) as error:
        yield Finding(path, str(error))
        return
    yield from _content(path, row, found)
    if how == "full":
        yield from _sums(path, full, found)


def _content(path: str, row: Any, found: Any) -> Iterator[Finding]:
    names = [str(values.get("EXTNAME", "")) for _, _, values in found[1:]]
    channels = {int(name[4:6]) for name in names if name.startswith("CHAN") and name[4:6].isdigit()}
    chips = json.loads(row["cards"] or "{}").get("ESO DET CHIPS")
    if row["kind"] == "raw" and isinstance(chips, int) and len(channels) != chips:
        yield Finding(path, f"has {len(channels)} detectors in its extensions, its header says {chips}")
    if row["tag"] in _PER_IFU_TABLES and len(found) < 2:
        yield Finding(path, f"calls itself {row['tag']} but has no table")
    if row["tag"] in ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT") and not any(
        "DATA" in name for name in names
    ):
        yield Finding(path, f"calls itself {row['tag']} but has no extension DATA")


def _sums(path: str, full: str, found: Any) -> Iterator[Finding]:
    """Compare CHECKSUM and DATASUM of every HDU, and DATAMD5 of the file, where they are given."""
    md5 = hashlib.md5(usedforsecurity=False)
    with Path(full).open("rb") as stream:
        starts = [entry[0] for entry in found] + [Path(full).stat().st_size]
        for n, (start, size, values) in enumerate(found):
            stream.seek(start)
            header = stream.read(max(0, starts[n + 1] - start - size))
            total = 0
            left = size
            while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
                left -= len(chunk)
                md5.update(chunk)
                total = _added(total, chunk)
            given = str(values.get("DATASUM", "")).strip()
            if given.isdigit() and int(given) != total:
                yield Finding(path, f"extension {n}: DATASUM is {given}, the data give {total}")
            if "CHECKSUM" in values and _added(total, header) not in (0, 0xFFFFFFFF):
                yield Finding(path, f"extension {n}: CHECKSUM does not fit")
    given = str(found[0][2].get("DATAMD5", "")).strip()
    if len(given) == 32 and given != md5.hexdigest():
        yield Finding(path, f"DATAMD5 is {given}, the data give {md5.hexdigest()}")


def _added(total: int, chunk: bytes) -> int:
    """Add the words of a piece to a sum; a file that was cut off may end in a part of one."""
    return ones_complement(total + word_sum(chunk + b"\0" * (-len(chunk) % 4)))


def _sets(index: Index) -> Iterator[Finding]:
    query = "SELECT * FROM sets WHERE kind IN ('master', 'raw') ORDER BY first"
    for row in index.db.execute(query).fetchall():
        path = restored(row["first"])
        if row["kind"] == "raw":
            if row["tpl_nexp"] and row["n"] < row["tpl_nexp"]:
                text = f"template of {row['tpl_start']} ({row['tag']}) has {row['n']}"
                text += f" of {row['tpl_nexp']} exposures"
                yield Finding(path, text, damage=False)
        elif row["ifus"] and not row["simulated"] and row["ifus"] != ALL_IFUS:
            lacking = ", ".join(str(n) for n in ifu_list(ALL_IFUS & ~row["ifus"]))
            yield Finding(
                path, f"set of {row['tag']} of {row['tpl_start'] or '?'} lacks IFU {lacking}", damage=False
            )
        elif row["ifus"] and row["merged"]:
            yield Finding(
                path, f"a merged {row['tag']} and files per IFU of the same data lie together", damage=False
            )
    twice = "SELECT ident, MIN(path) a, MAX(path) b FROM file WHERE state = 'ok'"
    twice += " GROUP BY ident HAVING COUNT(*) > 1"
    for row in index.db.execute(f"{twice} ORDER BY a").fetchall():
        yield Finding(
            restored(row["b"]), f"C060 duplicate of {shown(restored(row['a']))}; one is used", damage=False
        )


def _names(index: Index, classifier: Classifier) -> Iterator[Finding]:
    query = (
        "SELECT path, tag, kind, instrume, cards FROM file WHERE state = 'ok' AND kind <> 'xml' ORDER BY path"
    )
    for row in index.db.execute(query).fetchall():
        path = restored(row["path"])
        name = path.rpartition("/")[2]
        says = classifier.tag_of_name(name)
        if row["kind"] == "unclassified":
            cards = json.loads(row["cards"] or "{}")
            dpr = " ".join(shown(str(cards.get(f"ESO DPR {key}", ""))) for key in ("CATG", "TYPE")).strip()
            why = f"DPR {dpr} is in no rule" if dpr else "no DPR, no PRO"
            yield Finding(path, f"C070 unclassified (INSTRUME={row['instrume']}, {why})", damage=False)
        elif says and says != row["tag"] and row["tag"] != "IGNORED":
            yield Finding(path, f"is {row['tag']}, though its name says {says}", damage=False)


def _used(index: Index) -> Iterator[Finding]:
    """Products whose calibrations have changed since, as far as sums of the data tell."""
    query = """
        SELECT f.path, u.catg, u.name, u.datamd5 FROM used u JOIN file f ON f.id = u.file_id
        WHERE u.role = 'CAL' AND u.datamd5 <> '' AND f.state = 'ok'
          AND NOT EXISTS (SELECT 1 FROM file g WHERE g.datamd5 = u.datamd5 AND g.state = 'ok')
        ORDER BY f.path, u.n
    """
    for row in index.db.execute(query).fetchall():
        text = f"made with a {row['catg']} ({shown(row['name'])}) that is not here or has changed"
        yield Finding(restored(row["path"]), text, damage=False)

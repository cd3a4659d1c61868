# SPDX-License-Identifier: BSD-3-Clause
"""What could calibrate an exposure (candidates), and where it and the exposure are found (library)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath

from muse_core.calib.cards import HeaderError, read_primary
from muse_core.calib.classify import Classifier, Row, date_of
from muse_core.calib.messages import Message
from muse_core.calib.rules import Association, Rules
from muse_core.calib.store import Index, restored, shown
from muse_core.calib.targets import SETTING, Setting, Target, detectors, target_of
from muse_core.calib.votes import normal_name
from muse_core.framework.errors import InputError


@dataclass(frozen=True)
class Candidate(Setting):
    """One file, or one set of files per IFU, that could be used.

    Parameters
    ----------
    when : MJD of the data, or the start of validity of long-term and static files; None = any time
    ifus : bits of the IFUs it has; None where a merged file does not tell without being walked
    place : number of the tree in the order of search
    step : name of the step of a plan that is still to make it, or ""
    """

    tag: str
    kind: str
    path: str
    place: int
    when: float | None
    _: KW_ONLY
    files: tuple[str, ...] = ()
    idents: tuple[str, ...] = ()
    pipe: str | None = None
    ifus: int | None = None
    merged: bool = True
    simulated: bool = False
    set_id: int | None = None
    step: str = ""
    ra: float | None = None
    dec: float | None = None
    filter: str | None = None

    @property
    def label(self) -> str:
        """How messages call it."""
        if self.when is None:
            return shown(PurePath(self.path).name)
        return self.tpl_start or date_of(self.when)


class Library:
    """The indexes to search, in order, with the marks and votes they hold."""

    def __init__(self, indexes: Iterable[Index], rules: Rules) -> None:
        self.indexes = list(indexes)
        self.rules = rules
        self.classifier = Classifier(rules)

    def close(self) -> None:
        """Close all indexes."""
        for index in self.indexes:
            index.close()

    def candidates(self, tag: str, association: Association, around: float | None) -> Iterator[Candidate]:
        """Yield everything with a tag, within the widest window of its association around an MJD."""
        before, after = association.reach
        for place, index in enumerate(self.indexes):
            query = "tag = ?"
            values: list[str | float] = [tag]
            if around is not None and max(before, after) < 3650:
                query += " AND (mjd IS NULL OR mjd BETWEEN ? AND ?)"
                # a little more, so that the nearest one outside the window can be named
                values += [around - 3 * before - 1, around + 3 * after + 1]
            for row in index.db.execute(f"SELECT * FROM sets WHERE {query}", values):  # noqa: S608
                yield from self._expand(place, index, row, association)

    def _expand(
        self, place: int, index: Index, row: sqlite3.Row, association: Association
    ) -> Iterator[Candidate]:
        if row["n"] < 2 or (association.is_set and not row["merged"]):
            yield self._candidate(place, index, row, None)
            return
        files = self.set_rows(index, row["id"])
        per_ifu = [f for f in files if association.is_set and f["ifu"]]
        # a file with all IFUs in it is a candidate of its own, and never joined to another one
        for part in [*([f] for f in files if f not in per_ifu), per_ifu]:
            if part:
                yield self._candidate(place, index, row, part)

    def _candidate(
        self, place: int, index: Index, row: sqlite3.Row, files: list[sqlite3.Row] | None
    ) -> Candidate:
        first = files[0] if files else None
        when = row["valid_from"] if row["kind"] in ("long", "static") else row["mjd"]
        if first is not None and row["kind"] == "raw":
            when = first["mjd_mid"]
        setting = {key: row[key] for key in SETTING}
        if first is not None:
            setting["temp"] = first["temp"]
        ifus = row["ifus"] if files is None else sum(1 << (f["ifu"] - 1) for f in files if f["ifu"])
        return Candidate(
            tag=row["tag"],
            kind=row["kind"],
            path=index.full(first["path"] if first is not None else row["first"]),
            place=place,
            when=when,
            files=tuple(index.full(f["path"]) for f in files) if files else (),
            idents=tuple(f["ident"] for f in files) if files else (),
            merged=not ifus,
            ifus=ifus or None,
            simulated=bool(row["simulated"]),
            set_id=row["id"],
            pipe=row["pipe"],
            **setting,
        )

    def set_rows(self, index: Index, set_id: int) -> list[sqlite3.Row]:
        """Return the usable files of a set: one per IFU and identity, plain files before compressed ones."""
        rows = index.db.execute("SELECT * FROM file WHERE set_id = ? AND state = 'ok'", (set_id,)).fetchall()
        rows.sort(key=lambda r: (r["ifu"] or 0, r["mjd"] or 0.0, _packed(r["path"]), restored(r["path"])))
        chosen: dict[object, sqlite3.Row] = {}
        for row in rows:
            chosen.setdefault(row["ifu"] if row["ifu"] else row["ident"], row)
        return list(chosen.values())

    def placed(self, candidate: Candidate) -> Candidate:
        """Return the candidate with its pointing and filter."""
        if candidate.step or candidate.set_id is None:
            return candidate
        row = self.indexes[candidate.place].entry(Path(candidate.path))
        if row is None:
            return candidate
        return replace(candidate, ra=row["ra"], dec=row["dec"], filter=row["filter"])

    def siblings(self, index: Index, path: Path, row: Row, named: Collection[str] = ()) -> list[sqlite3.Row]:
        """Return the files with the other IFUs of the set of a file, one per IFU.

        Where an IFU has several, one that was named comes first, then one whose name differs from that of the
        file in the number only, then as in `set_rows`. A file without an IFU has no siblings.

        Parameters
        ----------
        named : absolute paths that the user gave together with this one
        """
        if not row.ifu or row.set_id is None or row.kind not in ("chain", "master"):
            return []
        query = "SELECT * FROM file WHERE set_id = ? AND state = 'ok' AND ifu > 0 AND ifu <> ?"
        rows = index.db.execute(query, (row.set_id, row.ifu)).fetchall()

        def order(other: sqlite3.Row) -> tuple:
            full = restored(other["path"])
            alike = _named_alike(path.name, row.ifu or 0, PurePath(full).name, other["ifu"])
            return other["ifu"], index.full(full) not in named, not alike, _packed(full), full

        chosen: dict[int, sqlite3.Row] = {}
        for other in sorted(rows, key=order):
            chosen.setdefault(other["ifu"], other)
        return list(chosen.values())

    def mixed(
        self, tag: str, index: Index, set_id: int | None, taken: Collection[str]
    ) -> tuple[Message, ...]:
        """Say for which IFUs a set has several files with different data, and which one is taken (C013).

        Parameters
        ----------
        taken : absolute paths of the files of the set that are used
        """
        query = "SELECT path, ifu, ident FROM file WHERE set_id = ? AND state = 'ok' AND ifu > 0 ORDER BY ifu"
        by_ifu: dict[int, dict[str, list[str]]] = {}
        for row in index.db.execute(query, (set_id,)):
            path = index.full(row["path"])
            by_ifu.setdefault(row["ifu"], {}).setdefault(_data_of(row["ident"]), []).append(path)
        used = {PurePath(path).name for path in taken}
        parts = []
        for ifu, versions in by_ifu.items():
            names = sorted(PurePath(path).name for paths in versions.values() for path in paths)
            if len(versions) > 1 and used.intersection(names):
                here = ", ".join(shown(name) for name in names if name in used)
                others = ", ".join(shown(name) for name in names if name not in used)
                parts.append(f"IFU {ifu} ({here} taken, not {others})")
        if not parts:
            return ()
        more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
        text = f"mixed: {tag} has different files for {', '.join(parts[:3])}{more}"
        return (Message("C013", f"{text}. Remedy: give each version a folder of its own, or --exclude one."),)

    def mixed_candidate(self, candidate: Candidate) -> tuple[Message, ...]:
        """Return `mixed` of what was chosen."""
        if candidate.set_id is None or candidate.step or len(candidate.files) < 2:
            return ()
        index = self.indexes[candidate.place]
        return self.mixed(candidate.tag, index, candidate.set_id, candidate.files)

    def has_name(self, pattern: str) -> bool:
        """Tell whether a file here has a name that fits a pattern."""
        query = "SELECT 1 FROM file WHERE state = 'ok' AND (path GLOB ? OR path GLOB ?) LIMIT 1"
        names = (pattern, f"*/{pattern}")
        return any(index.db.execute(query, names).fetchone() for index in self.indexes)

    def with_files(self, candidate: Candidate) -> Candidate:
        """Return the candidate with its files and their identities."""
        if candidate.files or candidate.step or candidate.set_id is None:
            return candidate
        index = self.indexes[candidate.place]
        rows = self.set_rows(index, candidate.set_id)
        return _replaced(
            candidate, tuple(index.full(row["path"]) for row in rows), tuple(row["ident"] for row in rows)
        )

    @cached_property
    def marks(self) -> dict[str, tuple[str, str]]:
        """Verdict and note by identity, of all indexes."""
        found: dict[str, tuple[str, str]] = {}
        for index in reversed(self.indexes):
            found |= {m["ident"]: (m["verdict"], m["note"]) for m in index.db.execute("SELECT * FROM mark")}
        return found

    def votes_for(self, name: str) -> dict[str, tuple[str, int]]:
        """Return (category, certified) that the association file of an exposure gives, by member name."""
        found: dict[str, tuple[str, int]] = {}
        for index in self.indexes:
            query = "SELECT name, category, certified FROM vote WHERE main = ? ORDER BY xml, name"
            found |= {
                v["name"]: (v["category"], v["certified"])
                for v in index.db.execute(query, (normal_name(name),))
            }
        return found

    def row_of(self, path: Path) -> tuple[Row, Index | None]:
        """Return what is known of a file: from an index that has it, else from its header.

        Raises
        ------
        InputError
            where it does not exist or has no readable header
        """
        full = Path(path).absolute()
        if not full.is_file():
            raise InputError(
                shown(path), "file", expected="an existing file", found="none", remedy="Check its name."
            )
        for index in self.indexes:
            row = index.entry(full)
            if row is not None and row["state"] == "ok":
                return _row(row), index
        try:
            header = read_primary(full, self.classifier.wanted)
        except HeaderError as error:
            raise InputError(
                shown(path), "primary header", expected="a FITS file", found=f"a file that {error}"
            ) from None
        return self.classifier.row(full.name, header, full.stat().st_size), None

    def target(self, path: Path, named: Iterable[Path] = (), *, anything: bool = False) -> Target:
        """Return a file as a target: the file itself, then those with the other IFUs of its exposure.

        Parameters
        ----------
        named : other files that the user gave; they are taken before their doubles
        anything : also take a file that no rule can classify
        """
        row, index = self.row_of(path)
        if not anything and (row.state == "foreign" or not row.tag):
            raise InputError(
                shown(path), "classification", expected="a MUSE file with ESO DPR or ESO PRO CATG",
                found="none of them", remedy="Name it in a rules file of yours (--rules).",
            )  # fmt: skip
        files: tuple[str, ...] = (str(Path(path).absolute()),)
        mask = 1 << (row.ifu - 1) if row.ifu else 0
        notes: tuple[Message, ...] = ()
        if index is not None:
            texts = {str(where) for name in named for where in (name.absolute(), name.resolve())}
            others = self.siblings(index, Path(path), row, texts)
            files += tuple(index.full(other["path"]) for other in others)
            mask |= sum(1 << (other["ifu"] - 1) for other in others)
            notes = self.mixed(row.tag, index, row.set_id, files) if others or row.ifu else ()
        if not mask and row.kind == "raw":
            mask, notes = detectors(row, files[0])
        return target_of(row, files, mask, notes)

    def targets(self, paths: Iterable[Path]) -> list[Target]:
        """Return files as targets; files of one exposure that were named together are one target."""
        given = list(paths)
        found: dict[frozenset[str], Target] = {}
        for path in given:
            target = self.target(path, given)
            found.setdefault(frozenset(target.files), target)
        return list(found.values())


def _named_alike(name: str, ifu: int, other: str, number: int) -> bool:
    """Tell whether two names differ in the number of the IFU only.

    >>> _named_alike("FLAT-01_v2.fits", 1, "FLAT-03_v2.fits", 3)
    True
    >>> _named_alike("a-01.fits", 1, "a-03_v2.fits", 3)
    False
    """
    places = re.finditer(f"{ifu:02d}", name)
    return any(f"{name[: m.start()]}{number:02d}{name[m.end() :]}" == other for m in places)


def _data_of(ident: str) -> str:
    """Identity without the size, which differs for a packed copy of the same file."""
    return ident.rpartition(":")[2] if ident.startswith("sha:") else ident


def _packed(path: str | bytes) -> int:
    return 0 if restored(path).lower().endswith(".fits") else 1


def _row(row: sqlite3.Row) -> Row:
    values: Mapping[str, object] = {key: row[key] for key in row.keys() if key != "id"}  # noqa: SIM118 - no dict
    result = Row(**values)  # type: ignore[arg-type]
    result.path, result.folder = restored(result.path), restored(result.folder)
    return result


def _replaced(candidate: Candidate, files: tuple[str, ...], idents: tuple[str, ...]) -> Candidate:
    return replace(candidate, files=files, idents=idents, path=files[0] if files else candidate.path)

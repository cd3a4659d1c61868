# SPDX-License-Identifier: BSD-3-Clause
"""What is to be calibrated (targets), what could do it (candidates), and where both are found."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath

from muse_core.calib.cards import HeaderError, Wanted, read_primary, walk_extensions
from muse_core.calib.classify import Classifier, Row, date_of
from muse_core.calib.rules import Association, Rules
from muse_core.calib.store import Index, restored, shown, stored
from muse_core.calib.votes import normal_name
from muse_core.framework.errors import InputError

ALL_IFUS = (1 << 24) - 1


@dataclass(frozen=True)
class Target:
    """An exposure, or a set of raw frames, that needs calibrations.

    Parameters
    ----------
    name : short name for messages
    files : absolute paths
    ifus : the IFUs it has, bit n for IFU n + 1
    """

    name: str
    tag: str
    files: tuple[str, ...]
    mjd: float | None
    mode: str | None = None
    field: str | None = None
    ao: str | None = None
    range: str | None = None
    readout: str | None = None
    night: str | None = None
    temp: float | None = None
    obs_id: int | None = None
    object: str | None = None
    filter: str | None = None
    lamp: str | None = None
    tpl_start: str | None = None
    tpl_nexp: int | None = None
    ifus: int = ALL_IFUS
    simulated: bool = False
    set_id: int | None = None


@dataclass(frozen=True)
class Candidate:
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
    files: tuple[str, ...] = ()
    idents: tuple[str, ...] = ()
    mode: str | None = None
    field: str | None = None
    ao: str | None = None
    range: str | None = None
    readout: str | None = None
    night: str | None = None
    temp: float | None = None
    obs_id: int | None = None
    tpl_start: str | None = None
    pipe: str | None = None
    recipe: str | None = None
    ifus: int | None = None
    merged: bool = True
    simulated: bool = False
    set_id: int | None = None
    step: str = ""

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
        if not association.is_set and row["n"] > 1 or (row["merged"] and row["ifus"] and association.is_set):
            files = self.set_rows(index, row["id"])
            parts = (
                [[f for f in files if f["ifu"] is None], [f for f in files if f["ifu"] is not None]]
                if association.is_set
                else [[f] for f in files]
            )
            for part in parts:
                if part:
                    yield self._candidate(place, index, row, part)
            return
        yield self._candidate(place, index, row, None)

    def _candidate(
        self, place: int, index: Index, row: sqlite3.Row, files: list[sqlite3.Row] | None
    ) -> Candidate:
        first = files[0] if files else None
        when = row["valid_from"] if row["kind"] in ("long", "static") else row["mjd"]
        if first is not None and row["kind"] == "raw":
            when = first["mjd_mid"]
        ifus = row["ifus"] if files is None else sum(1 << (f["ifu"] - 1) for f in files if f["ifu"])
        return Candidate(
            tag=row["tag"],
            kind=row["kind"],
            path=index.full(first["path"] if first is not None else row["first"]),
            place=place,
            when=when,
            files=tuple(index.full(f["path"]) for f in files) if files else (),
            idents=tuple(f["ident"] for f in files) if files else (),
            temp=first["temp"] if first is not None else row["temp"],
            merged=not ifus,
            ifus=ifus or None,
            simulated=bool(row["simulated"]),
            set_id=row["id"],
            **{key: row[key] for key in _SAME},
        )

    def set_rows(self, index: Index, set_id: int) -> list[sqlite3.Row]:
        """Return the usable files of a set: one per IFU and identity, plain files before compressed ones."""
        rows = index.db.execute("SELECT * FROM file WHERE set_id = ? AND state = 'ok'", (set_id,)).fetchall()
        rows.sort(key=lambda r: (r["ifu"] or 0, r["mjd"] or 0.0, _packed(r["path"]), restored(r["path"])))
        chosen: dict[object, sqlite3.Row] = {}
        for row in rows:
            chosen.setdefault(row["ifu"] if row["ifu"] else row["ident"], row)
        return list(chosen.values())

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
        for index in self.indexes:
            with_root = index.root
            for name in (full, full.resolve() if full.exists() else full):
                if name.is_relative_to(with_root):
                    key = stored(name.relative_to(with_root).as_posix())
                    row = index.db.execute("SELECT * FROM file WHERE path = ?", (key,)).fetchone()
                    if row is not None and row["state"] == "ok":
                        return _row(row), index
        if not full.is_file():
            raise InputError(
                shown(path), "file", expected="an existing file", found="none", remedy="Check its name."
            )
        try:
            header = read_primary(full, self.classifier.wanted)
        except HeaderError as error:
            raise InputError(
                shown(path), "primary header", expected="a FITS file", found=f"a file that {error}"
            ) from None
        return self.classifier.row(full.name, header, full.stat().st_size), None

    def target(self, path: Path) -> Target:
        """Return a file (with the other IFUs of its exposure) as a target."""
        row, index = self.row_of(path)
        if row.state == "foreign" or not row.tag:
            raise InputError(
                shown(path), "classification", expected="a MUSE file with ESO DPR or ESO PRO CATG",
                found="none of them", remedy="Name it in a rules file of yours (--rules).",
            )  # fmt: skip
        files: tuple[str, ...] = (str(Path(path).absolute()),)
        mask = 0
        if index is not None and row.kind in ("chain", "master") and row.set_id is not None:
            members = self.set_rows(index, row.set_id)
            files = tuple(index.full(member["path"]) for member in members)
            mask = sum(1 << (m["ifu"] - 1) for m in members if m["ifu"])
        elif row.ifu:
            mask = 1 << (row.ifu - 1)
        if not mask and row.kind == "raw":
            mask = channels(files[0]) or 0 if json.loads(row.cards or "{}").get("ESO DET CHIPS") != 24 else 0
        return target_of(row, files, mask)


_SAME = (
    "mode", "field", "ao", "range", "readout", "night", "obs_id", "tpl_start", "pipe",
)  # fmt: skip
_CHANNELS = Wanted(["EXTNAME"])


def target_of(row: Row, files: tuple[str, ...], mask: int = 0) -> Target:
    """Return a row of the index as a target."""
    name = normal_name_shown(row, files)
    return Target(
        name=name,
        tag=row.tag,
        files=files,
        mjd=row.mjd_mid,
        ifus=mask or ALL_IFUS,
        simulated=bool(row.simulated),
        **{key: getattr(row, key) for key in _TARGET_SAME},
    )


_TARGET_SAME = (
    "mode", "field", "ao", "range", "readout", "night", "temp", "obs_id", "object", "filter", "lamp",
    "tpl_start", "tpl_nexp", "set_id",
)  # fmt: skip


def normal_name_shown(row: Row, files: tuple[str, ...]) -> str:
    """Name of a target in messages: the archive's name where it has one, else the file's."""
    if row.kind == "raw" and row.arcfile:
        return row.arcfile.removesuffix(".fits")
    return shown(PurePath(files[0] if files else row.path).name)


def channels(path: str) -> int | None:
    """Return the IFUs (bits) that the extensions of a plain file have, or None where it does not tell."""
    if path.endswith((".gz", ".Z")):
        return None
    mask = 0
    try:
        for _, _, values in walk_extensions(path, _CHANNELS):
            name = str(values.get("EXTNAME", ""))
            if name.startswith("CHAN") and name[4:6].isdigit():
                mask |= 1 << (int(name[4:6]) - 1)
    except (HeaderError, OSError, OverflowError):
        return mask or None
    return mask or None


def ifu_list(mask: int) -> list[int]:
    """Return the IFU numbers of a bit mask.

    >>> ifu_list(0b1011)
    [1, 2, 4]
    """
    return [n + 1 for n in range(24) if mask >> n & 1]


def _packed(path: str | bytes) -> int:
    return 0 if restored(path).lower().endswith(".fits") else 1


def _row(row: sqlite3.Row) -> Row:
    values: Mapping[str, object] = {key: row[key] for key in row.keys() if key != "id"}  # noqa: SIM118 - no dict
    result = Row(**values)  # type: ignore[arg-type]
    result.path, result.folder = restored(result.path), restored(result.folder)
    return result


def _replaced(candidate: Candidate, files: tuple[str, ...], idents: tuple[str, ...]) -> Candidate:
    return replace(candidate, files=files, idents=idents, path=files[0] if files else candidate.path)


__all__ = ["ALL_IFUS", "Candidate", "Library", "Target", "channels", "ifu_list", "target_of"]

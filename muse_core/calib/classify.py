# SPDX-License-Identifier: BSD-3-Clause
"""From a primary header to a row of the index: tag, kind, mode, read-out, times, identity."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from dataclasses import field as data_field
from datetime import datetime, timedelta
from pathlib import PurePath

from muse_core.calib.cards import PrimaryHeader, Value, Wanted
from muse_core.calib.rules import Rules

_EPOCH = datetime(1858, 11, 17)
_SUFFIX = re.compile(r"\.fits(\.fz|\.gz|\.Z)?$", re.IGNORECASE)
_CHANNEL = re.compile(r"CHAN(\d\d)(?:\.\w+)?$")
_CUTS = re.compile(r"ESO PRO REC(\d) (RAW|CAL)(\d+) (NAME|CATG|DATAMD5)$")
VERSION = 3  # files are read again when what is read of them has changed
SIMULATED = "SIMULATE"  # primary keyword of everything that no telescope has seen

BASE_KEYS = (
    "INSTRUME", "TELESCOP", "OBJECT", "RA", "DEC", "EXPTIME", "MJD-OBS", "DATE-OBS", "ARCFILE", "ORIGFILE",
    "PIPEFILE", "DATAMD5", "EXTNAME", "FILTER", "FILTER1", "FILTER2",
    "RA_TARG", "DEC_TARG", SIMULATED, "ESO DPR ", "ESO PRO CATG",
    *(f"ESO PRO REC{n} " for n in range(1, 10)),
    "ESO TPL ID", "ESO TPL START", "ESO TPL EXPNO", "ESO TPL NEXP", "ESO OBS ID", "ESO OBS PROG ID",
    "ESO OBS TARG NAME", "ESO INS MODE", "ESO INS DROT POSANG", "ESO DET READ CURNAME", "ESO DET READ CURID",
    "ESO DET BINX", "ESO DET BINY", "ESO DET CHIP ID", "ESO DET CHIPS", "ESO DRS MUSE FILTER NAME",
)  # fmt: skip
_KEPT = (
    "ESO DPR CATG",
    "ESO DPR TYPE",
    "ESO DET READ CURID",
    "ESO DET CHIPS",
    "ESO OBS TARG NAME",
    "DATE-OBS",
)


@dataclass
class Row:
    """One file of the index; the names are the columns of the table ``file``."""

    path: str = ""
    folder: str = ""
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    seen: int = 0
    ident: str = ""
    state: str = "ok"  # ok | bad | foreign | gone
    reason: str = ""
    source: str = ""
    tag: str = ""
    kind: str = ""
    instrume: str | None = None
    mjd: float | None = None
    mjd_mid: float | None = None
    exptime: float | None = None
    night: str | None = None
    valid_from: float | None = None
    valid_to: float | None = None
    mode: str | None = None
    field: str | None = None
    ao: str | None = None
    range: str | None = None
    readout: str | None = None
    binx: int | None = None
    biny: int | None = None
    ifu: int | None = None
    chip: str | None = None
    object: str | None = None
    ra: float | None = None
    dec: float | None = None
    posang: float | None = None
    temp: float | None = None
    lamp: str | None = None
    tpl_id: str | None = None
    tpl_start: str | None = None
    tpl_expno: int | None = None
    tpl_nexp: int | None = None
    obs_id: int | None = None
    prog_id: str | None = None
    arcfile: str | None = None
    origfile: str | None = None
    pipefile: str | None = None
    datamd5: str | None = None
    recipe: str | None = None
    pipe: str | None = None
    filter: str | None = None
    simulated: int = 0
    set_id: int | None = None
    cards: str = ""
    used: list[tuple[int, str, int, str, str, str]] = data_field(default_factory=list, repr=False)


COLUMNS = tuple(f.name for f in fields(Row) if f.name != "used")


class Classifier:
    """Turns headers into rows by the rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        names = list(BASE_KEYS)
        for sources in rules.data["fields"].values():
            for source in sources:  # lists of keywords, or the table lamp = {keyword = name}
                names += [part.split(":")[0] for part in source.split("+")]
        self.wanted = Wanted(names)
        classify = rules.data["classify"]
        self._ignored = {_plain(catg) for catg in classify.get("ignore_catg", ())}
        self._raw = classify["raw"]
        self._codes: Mapping[str, str] = classify["origfile"]
        self._fields = rules.data["fields"]
        tags = {*rules.kinds, *self._codes.values(), *(entry["tag"] for entry in self._raw)}
        self._tags = sorted((tag for tag in tags if "*" not in tag), key=lambda tag: (-len(tag), tag))

    def row(self, path: str, header: PrimaryHeader, size: int, vote: str | None = None) -> Row:
        """Return the row of a readable file; `vote` is the category an association file gives it."""
        values = header.values
        row = Row(path=path, folder=path.rpartition("/")[0], size=size)
        self._facts(row, values)
        row.source, row.tag = self._tag(row, values, vote)
        if row.source == "foreign":
            row.state, row.source = "foreign", ""
            return row
        row.kind = self._kind(row)
        self._times(row)
        row.ident = _identity(row, header)
        row.set_id = set_number(row)
        row.cards = json.dumps({key: values[key] for key in _KEPT if key in values}, separators=(",", ":"))
        if "ESO PRO CATG" in values:
            row.used = _provenance(values)
        return row

    def _facts(self, row: Row, values: Mapping[str, Value]) -> None:
        text, number, whole = _getters(values)
        row.instrume, row.object = text("INSTRUME"), text("OBJECT")
        row.ra, row.dec, row.exptime = number("RA"), number("DEC"), number("EXPTIME")
        if row.ra is None or row.dec is None:  # HST
            row.ra, row.dec = number("RA_TARG"), number("DEC_TARG")
        row.mjd = number("MJD-OBS")
        if row.mjd is None and (date := text("DATE-OBS")):
            row.mjd = mjd_of(date)
        row.arcfile, row.origfile, row.pipefile = text("ARCFILE"), text("ORIGFILE"), text("PIPEFILE")
        row.datamd5 = text("DATAMD5")
        row.tpl_id, row.tpl_start = text("ESO TPL ID"), text("ESO TPL START")
        row.tpl_expno, row.tpl_nexp = whole("ESO TPL EXPNO"), whole("ESO TPL NEXP")
        row.obs_id, row.prog_id = whole("ESO OBS ID"), text("ESO OBS PROG ID")
        row.posang, row.chip = number("ESO INS DROT POSANG"), text("ESO DET CHIP ID")
        row.binx, row.biny = whole("ESO DET BINX"), whole("ESO DET BINY")
        last = max((n for n in range(1, 10) if f"ESO PRO REC{n} ID" in values), default=1)
        row.recipe, row.pipe = text(f"ESO PRO REC{last} ID"), text(f"ESO PRO REC{last} PIPE ID")
        wheels = (text(key) for key in ("ESO DRS MUSE FILTER NAME", "FILTER", "FILTER1", "FILTER2"))
        row.filter = next((name for name in wheels if name and not name.startswith("CLEAR")), None)
        row.simulated = int(values.get(SIMULATED) is True)
        if match := _CHANNEL.match(text("EXTNAME") or ""):
            row.ifu = int(match.group(1))
        row.mode = self._derived("mode", values)
        row.field, row.ao = self._derived("field", values, ("WFM", "NFM")), self._derived("ao", values)
        row.range, row.readout = self._derived("range", values), self._derived("readout", values)
        temp = self._derived("temp", values)
        row.temp = float(temp) if temp is not None and _is_number(temp) else None
        lamps = [name for key, name in self._fields.get("lamp", {}).items() if values.get(key) is True]
        row.lamp = "+".join(lamps) or None

    def _derived(self, name: str, values: Mapping[str, Value], allowed: tuple[str, ...] = ()) -> str | None:
        """Value of a derived column: the first source present, ``A+B`` joined, ``K:partN`` a part of K."""
        for source in self._fields.get(name, ()):
            parts = []
            for key in source.split("+"):
                key, _, part = key.partition(":part")
                value = values.get(key)
                if part and isinstance(value, str):
                    pieces = value.split("-")
                    value = pieces[int(part)] if int(part) < len(pieces) else None
                parts.append(None if value is None else str(value).strip())
            if parts[0] and (not allowed or parts[0] in allowed):
                return "/".join(part or "-" for part in parts)
        return None

    def _tag(self, row: Row, values: Mapping[str, Value], vote: str | None) -> tuple[str, str]:
        text, _, _ = _getters(values)
        if catg := text("ESO PRO CATG"):
            return ("PRO", catg.upper()) if row.instrume in (None, "MUSE") else ("foreign", "")
        if text("TELESCOP") == "HST":
            return "HST", "HST_IMAGE"
        if row.instrume != "MUSE":
            return "foreign", ""
        catg, kind = _plain(text("ESO DPR CATG")), _plain(text("ESO DPR TYPE"))
        if catg in self._ignored:
            return "DPR", "IGNORED"
        if kind:
            for entry in self._raw:
                if entry.get("catg", "CALIB") == catg and any(
                    _fits(kind, pattern) for pattern in entry["type"]
                ):
                    return "DPR", entry["tag"]
        if vote:
            return "XML", vote
        if tag := self._codes.get(_code(row.origfile)[1]):
            return "ORIGFILE", tag
        if catg or kind:  # a raw type the rules do not know: its name must not decide
            return "", ""
        for name in (row.pipefile, PurePath(row.path).name):
            if tag := self.tag_of_name(name or ""):
                return "name", tag
        return "", ""

    def retag(self, row: Row, tag: str, source: str) -> None:
        """Change the tag of a row, and all that follows from it."""
        row.tag, row.source = tag, source
        row.kind = self._kind(row)
        self._times(row)
        row.set_id = set_number(row)

    def tag_of_name(self, name: str) -> str:
        """Tag that a file name begins with (MASTER_BIAS-01.fits, geometry_table_wfm.fits), or "".

        >>> from muse_core.calib.rules import load_rules
        >>> Classifier(load_rules()).tag_of_name("geometry_table_wfm.fits")
        'GEOMETRY_TABLE'
        """
        stem = _SUFFIX.sub("", PurePath(name).name).upper()
        for tag in self._tags:
            if stem.startswith(tag) and (stem == tag or stem[len(tag)] in "-_. "):
                return tag
        return ""

    def _kind(self, row: Row) -> str:
        if row.tag in ("", "IGNORED"):
            return row.tag.lower() or "unclassified"
        if row.source in ("DPR",) or any(entry["tag"] == row.tag for entry in self._raw):
            return "raw"
        letter = _code(row.origfile)[0]
        known = self.rules.kinds.get(row.tag)
        if letter == "G" and known == "master":
            return "long"
        if known == "static" and row.recipe and row.tpl_start:
            return "product"  # sky lines fitted by muse_create_sky, say: of one night only
        if known:
            return known
        patterns = (tag for tag, kind in self.rules.kinds.items() if kind == "diagnostic" and "*" in tag)
        if any(row.tag.endswith(pattern.lstrip("*")) for pattern in patterns):
            return "diagnostic"
        return "other"

    def _times(self, row: Row) -> None:
        if row.mjd is None:
            return
        half = (row.exptime or 0.0) / 172800.0 if row.kind == "raw" else 0.0
        row.mjd_mid = row.mjd + half
        if row.kind in ("long", "static"):
            # DATE-OBS is when the data were taken; validity starts at MJD-OBS, which may be much earlier
            row.valid_from = row.mjd
        else:
            row.night = night_of(row.mjd, self.rules.night_cut_days)


def _provenance(values: Mapping[str, Value]) -> list[tuple[int, str, int, str, str, str]]:
    """Frames that the recipes of a chain read: (number of the recipe, RAW or CAL, number, name, tag, sum)."""
    found: dict[tuple[int, str, int], dict[str, str]] = {}
    for key, value in values.items():
        if key.startswith("ESO PRO REC") and (match := _CUTS.match(key)):
            place = int(match.group(1)), match.group(2), int(match.group(3))
            found.setdefault(place, {})[match.group(4)] = str(value)
    return [
        (rec, role, n, entry.get("NAME", ""), entry.get("CATG", ""), entry.get("DATAMD5", ""))
        for (rec, role, n), entry in sorted(found.items())
    ]


def _identity(row: Row, header: PrimaryHeader) -> str:
    """What makes a file the same file wherever it lies."""
    if row.kind == "raw" and row.arcfile:
        return f"arc:{row.arcfile}"
    if row.datamd5:
        return f"md5:{row.datamd5}"
    return f"sha:{row.size}:{header.sha1}"


def set_number(row: Row) -> int | None:
    """Return the number of the set a file belongs to (a hash, so that it never depends on order)."""
    if not row.tag or row.kind in ("ignored", "unclassified"):
        return None
    start = row.tpl_start or (f"{row.mjd:.5f}" if row.mjd is not None else "")
    key = [row.tag, start, row.mode or "", row.readout or ""]
    if row.kind != "raw":
        key += [row.pipe or "", row.folder]
    if row.kind == "chain":  # one exposure, not one template
        key += [f"{row.mjd:.5f}" if row.mjd is not None else "", row.filter or ""]
    digest = hashlib.blake2b("\0".join(key).encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def alike(have: str, want: str) -> bool:
    """Tell whether two derived values agree; a part that a header lacks is no proof of a difference.

    >>> alike("SCI1.0/1/1", "SCI1.0/-/-"), alike("SCI1.0/1/1", "SCI1.0/2/2")
    (True, False)
    """
    if have == want:
        return True
    parts, others = have.split("/"), want.split("/")
    pairs = zip(parts, others, strict=False)
    return len(parts) == len(others) and all(a == b or "-" in (a, b) for a, b in pairs)


def mjd_of(date: str) -> float | None:
    """MJD of an ISO date, or None where it is none.

    >>> mjd_of("2017-06-16T01:34:56.000")
    57920.06592592593
    """
    try:
        moment = datetime.fromisoformat(date.strip().rstrip("Z"))
    except ValueError:
        return None
    return (moment.replace(tzinfo=None) - _EPOCH) / timedelta(days=1)


def date_of(mjd: float) -> str:
    """ISO date of an MJD, to the second; one that no calendar has stays a number.

    >>> date_of(57920.06592592593), date_of(1e9)
    ('2017-06-16T01:34:56', 'MJD 1e+09')
    """
    try:
        return (_EPOCH + timedelta(seconds=round(mjd * 86400))).isoformat()
    except OverflowError:
        return f"MJD {mjd:g}"


def night_of(mjd: float, cut_days: float) -> str | None:
    """Date of the evening of a night (see [site] of the rules), or None where the date is absurd."""
    try:
        return (_EPOCH + timedelta(days=mjd - cut_days)).date().isoformat()
    except OverflowError:
        return None


def _code(origfile: str | None) -> tuple[str, str]:
    """Letter (M, P dynamic; G general) and four-letter code of an ORIGFILE such as MU_GLSP_170516A.fits."""
    match = re.match(r"^MU_(([GMP])[A-Z]{3})[_.]", origfile or "")
    return (match.group(2), match.group(1)) if match else ("", "")


def _plain(text: str | None) -> str:
    return re.sub(r"\s+", "", text or "").upper()


def _fits(kind: str, pattern: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _getters(
    values: Mapping[str, Value],
) -> tuple[Callable[[str], str | None], Callable[[str], float | None], Callable[[str], int | None]]:
    def text(key: str) -> str | None:
        value = values.get(key)
        return (str(value).strip() or None) if value is not None else None

    def number(key: str) -> float | None:
        value = values.get(key)
        if isinstance(value, bool) or value is None:
            return None
        return float(value) if _is_number(str(value)) else None

    def whole(key: str) -> int | None:
        value = number(key)
        return int(value) if value is not None and value == int(value) and abs(value) < 2**62 else None

    return text, number, whole

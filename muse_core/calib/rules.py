# SPDX-License-Identifier: BSD-3-Clause
"""The rules file: how files are recognised and what belongs together, as data with a hash."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from muse_core.framework.errors import InputError
from muse_core.framework.places import shipped_folder
from muse_core.framework.text_files import read_text

VERSION = 1
_TOP = {"version", "site", "fields", "classify", "kinds", "barrier", "assoc", "recipe"}
_ASSOC = {
    "match", "missing", "prefer", "levels", "fallback", "better", "rank", "temp_tie", "limit", "for", "set",
    "with", "near", "default", "only", "product", "chip", "mention", "single", "sky_arcmin",
    "filter", "all",
}  # fmt: skip
_KEYS = ("mode", "field", "ao", "range", "readout")


@dataclass(frozen=True)
class Association:
    """When a calibration of one tag belongs to an exposure.

    Parameters
    ----------
    match : derived values that must be equal (mode, field, ao, range, readout)
    missing : those of them that may be absent from the calibration
    prefer : values that should be equal; a difference is a doubt
    mention : values whose difference is usual, and only told
    single : a second file of this tag would be applied on top of the first
    sky_arcmin : largest distance on the sky between the pointings
    same_filter : the filters must be the same
    every : all files that fit are taken, not the best one
    levels : (level, days before, days after); the first window that holds gives the level
    """

    tag: str
    match: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    mention: tuple[str, ...] = ()
    single: bool = False
    sky_arcmin: float | None = None
    same_filter: bool = False
    every: bool = False
    levels: tuple[tuple[int, float, float], ...] = ((0, 1e9, 1e9),)
    fallback: Mapping[str, Any] = field(default_factory=dict)
    better: Mapping[str, Any] = field(default_factory=dict)
    rank: tuple[str, ...] = ("level", "time")
    temp_tie: float = 0.1
    limit_temp: float | None = None
    only_for: tuple[str, ...] = ()
    is_set: bool = False
    chip: bool = False
    follows: str = ""
    near: str = ""
    off: bool = False
    only: Mapping[str, Any] = field(default_factory=dict)
    product: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reach(self) -> tuple[float, float]:
        """Widest window: days before and after the exposure."""
        before = max(level[1] for level in self.levels)
        after = max(level[2] for level in self.levels)
        days = float(self.fallback.get("days", 0))
        return max(before, days), max(after, days)


@dataclass(frozen=True)
class RecipeRule:
    """What a recipe takes and makes, in the order of the cascade."""

    name: str
    raw: tuple[str, ...]
    minimum: int
    group: tuple[str, ...]
    cal: tuple[str, ...]
    required: tuple[str, ...]
    makes: tuple[str, ...]
    per_ifu: bool = False
    ask: bool = False
    first: bool = False
    each_lamp: int = 0
    series: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes(self) -> tuple[str, ...]:
        """All tags beside the raw ones: those that are looked for, and those only the user can name."""
        return (*(tag for entry in self.cal for tag in entry.split("|")), *self.also)


class Rules:
    """The parsed rules; `hash` names them in every SOF."""

    def __init__(self, data: Mapping[str, Any], source: str = "") -> None:
        self.data = data
        self.source = source
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        self.hash = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.site: Mapping[str, float] = data["site"]
        self.tie_days = float(self.site["tie_days"])
        self.join_days = float(self.site["join_seconds"]) / 86400.0
        self.night_cut_days = float(self.site["night_cut_utc_hours"]) / 24.0
        self.barriers: list[Mapping[str, Any]] = data.get("barrier", [])

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Kind of each tag named in the rules."""
        return {tag: kind for kind, tags in self.data["kinds"].items() for tag in tags}

    @cached_property
    def associations(self) -> dict[str, Association]:
        """All associations by tag."""
        return {tag: _association(tag, body) for tag, body in self.data["assoc"].items()}

    def association(self, tag: str) -> Association:
        """Return the association of a tag; a tag without one fits everything at any time."""
        return self.associations.get(tag) or Association(tag)

    @cached_property
    def recipes(self) -> dict[str, RecipeRule]:
        """All recipes in the order of the cascade."""
        return {name: _recipe(name, body) for name, body in self.data["recipe"].items()}

    @cached_property
    def maker(self) -> dict[str, str]:
        """Recipe that makes a tag (the first one that does)."""
        makers: dict[str, str] = {}
        for name, recipe in self.recipes.items():
            for tag in recipe.makes:
                makers.setdefault(tag, name)
        return makers


def _association(tag: str, body: Mapping[str, Any]) -> Association:
    return Association(
        tag,
        match=tuple(body.get("match", ())),
        missing=tuple(body.get("missing", ())),
        prefer=tuple(body.get("prefer", ())),
        mention=tuple(body.get("mention", ())),
        single=bool(body.get("single", False)),
        sky_arcmin=body.get("sky_arcmin"),
        same_filter=bool(body.get("filter", False)),
        every=bool(body.get("all", False)),
        levels=tuple((int(n), float(b), float(a)) for n, b, a in body.get("levels", [[0, 1e9, 1e9]])),
        fallback=body.get("fallback", {}),
        better=body.get("better", {}),
        rank=tuple(body.get("rank", ("level", "time"))),
        temp_tie=float(body.get("temp_tie", 0.1)),
        limit_temp=body.get("limit", {}).get("temp"),
        only_for=tuple(body.get("for", ())),
        is_set=bool(body.get("set", False)),
        chip=bool(body.get("chip", False)),
        follows=body.get("with", ""),
        near=body.get("near", ""),
        off=body.get("default", "on") == "off",
        only=body.get("only", {}),
        product=body.get("product", {}),
    )


def _recipe(name: str, body: Mapping[str, Any]) -> RecipeRule:
    cal = [entry.lstrip("!") for entry in body.get("cal", [])]
    return RecipeRule(
        name,
        raw=tuple(body["raw"]),
        minimum=int(body.get("min", 1)),
        group=tuple(body.get("group", ())),
        cal=tuple(cal),
        required=tuple(entry[1:] for entry in body.get("cal", []) if entry.startswith("!")),
        makes=tuple(body.get("makes", ())),
        per_ifu=bool(body.get("per_ifu", False)),
        ask=bool(body.get("ask", False)),
        first=bool(body.get("first", False)),
        each_lamp=int(body.get("each_lamp", 0)),
        series=tuple(body.get("series", ())),
        also=tuple(body.get("also", ())),
        renamed=body.get("as", {}),
    )


def rules_file() -> Path:
    """Return the rules that come with the project."""
    return shipped_folder("calib_db") / "muse_rules.toml"


def load_rules(extra: str | Path | None = None) -> Rules:
    """Read the rules that come with the project, with a file of the user's merged over them.

    Raises
    ------
    InputError
        where a file is missing, is no TOML, or has an entry the rules do not know
    """
    data = _read(rules_file())
    if extra is not None:
        data = _merged(data, _read(Path(extra)))
    _check(data, extra or rules_file())
    return Rules(data, str(extra or ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            path, "rules file", expected="TOML", found=error, remedy="Compare with muse_rules.toml."
        ) from error


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _check(data: Mapping[str, Any], path: object) -> None:
    def fault(item: str, expected: object, found: object) -> InputError:
        return InputError(
            str(path), item, expected=expected, found=found, remedy="See calib_db/muse_rules.toml."
        )

    if data.get("version") != VERSION:
        raise fault("version", VERSION, data.get("version"))
    unknown = sorted(set(data) - _TOP)
    if unknown:
        raise fault("table", f"one of {', '.join(sorted(_TOP))}", ", ".join(unknown))
    for tag, body in data["assoc"].items():
        wrong = sorted(set(body) - _ASSOC) if isinstance(body, Mapping) else ["no table"]
        if wrong:
            raise fault(f"assoc.{tag}", f"keys of {', '.join(sorted(_ASSOC))}", ", ".join(wrong))
        keys = [key for name in ("match", "missing", "prefer", "mention") for key in body.get(name, ())]
        if set(keys) - set(_KEYS):
            raise fault(
                f"assoc.{tag}.match", f"of {', '.join(_KEYS)}", ", ".join(sorted(set(keys) - set(_KEYS)))
            )
        for window in body.get("levels", ()):
            if not (
                isinstance(window, list)
                and len(window) == 3
                and all(isinstance(v, int | float) and not isinstance(v, bool) for v in window)
            ):
                raise fault(f"assoc.{tag}.levels", "[level, days before, days after]", window)
    for name, body in data["recipe"].items():
        if not isinstance(body, Mapping) or not isinstance(body.get("raw"), list):
            raise fault(f"recipe.{name}", "a table with raw = [tags]", body)

# SPDX-License-Identifier: BSD-3-Clause
"""Whether a file may calibrate an exposure: its level, or the first rule that refuses it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from muse_core.calib.candidates import Candidate
from muse_core.calib.classify import alike, date_of
from muse_core.calib.messages import Message
from muse_core.calib.rules import Association, Rules
from muse_core.calib.targets import ALL_IFUS, Target

MODE_KEYS = ("mode", "field", "ao", "range")
KEY_NAMES = {
    "mode": "mode",
    "field": "field",
    "ao": "laser mode",
    "range": "wavelength range",
    "readout": "read-out",
}


@dataclass(frozen=True)
class Judged:
    """A candidate with its level, or with the first rule that refused it."""

    candidate: Candidate
    level: int | None
    refused: str = ""
    by: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """Wishes of the user.

    Parameters
    ----------
    pins : tag -> absolute paths
    exclude : absolute paths, or patterns of names
    use : tags to take though the rules leave them out
    max_level : worst level to accept
    simulated : accept files of the simulated instrument for real data
    """

    pins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    use: frozenset[str] = frozenset()
    max_level: int = 3
    simulated: bool = False


@dataclass
class Choice:
    """What was chosen for one tag."""

    tag: str
    candidate: Candidate | None = None
    level: int | None = None
    messages: list[Message] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)


def judge(
    candidate: Candidate,
    target: Target,
    association: Association,
    rules: Rules,
    options: Options,
    verdict: tuple[str, str] = ("", ""),
) -> Judged:
    """Return the level of a candidate for a target, or the first rule that refuses it.

    Parameters
    ----------
    verdict : (good or bad, note) of the user's mark, or empty texts
    """

    def refuse(by: str, why: str) -> Judged:
        return Judged(candidate, None, why, by)

    if verdict[0] == "bad":
        return refuse("mark", f"marked bad{': ' + verdict[1] if verdict[1] else ''}")
    if excluded(candidate.files or (candidate.path,), options.exclude):
        return refuse("exclude", "excluded by --exclude")
    if candidate.simulated and not target.simulated and not options.simulated:
        return refuse("simulated", "made by the simulator, the data are real (--allow-simulated to use it)")
    notes: list[str] = []
    worst, otherwise = None, ""
    for key in association.match:
        wrong = mismatch(candidate, target, key, association, notes)
        if wrong:
            keys = association.fallback.get("match", ())
            if not keys or any(mismatch(candidate, target, k, association, []) for k in keys):
                return refuse("mode" if key in MODE_KEYS else key, wrong)
            worst, otherwise = int(association.fallback.get("level", 3)), wrong
            notes.append(f"{wrong}, but same {' and '.join(KEY_NAMES[k] for k in keys)}")
            break
    barrier = _barrier(candidate, target, rules)
    if barrier is not None:
        if barrier.get("hard"):
            return refuse("barrier", f"other side of {date_of(barrier['mjd'])[:10]} (detectors changed)")
        notes.append(f"other side of {date_of(barrier['mjd'])[:10]} (detectors warmed up)")
    for key in (*association.prefer, *association.mention):
        if wrong := mismatch(candidate, target, key, association, []):
            notes.append(wrong)
    if wrong := _elsewhere(candidate, target, association, notes):
        return refuse("sky", wrong)
    if (
        association.same_filter
        and candidate.filter
        and target.filter
        and candidate.filter not in target.filter
    ):
        return refuse("filter", f"filter {candidate.filter}, the data have {target.filter}")
    level = _time_level(candidate, target, association)
    if level is None:
        if worst is not None and days_between(candidate, target) <= float(
            association.fallback.get("days", 0)
        ):
            level = worst
        else:
            return refuse("time", f"{distance(candidate, target)}, outside of all windows")
    if worst is not None:
        if days_between(candidate, target) > float(association.fallback.get("days", 1e9)):
            return refuse("mode", otherwise)
        level = max(level, worst)
    if barrier is not None:
        level += 1
    same = association.better.get("same")
    if same and getattr(candidate, same) is not None and getattr(candidate, same) == getattr(target, same):
        level = min(level, int(association.better["level"]))
    limit = association.limit_temp
    if limit is not None and candidate.temp is not None and target.temp is not None:
        change = candidate.temp - target.temp
        if abs(change) > limit:
            warmer = "warmer" if change > 0 else "colder"
            return refuse("temp", f"{abs(change):.1f} degC {warmer} (limit {limit:g} degC)")
    if level > options.max_level:
        return refuse("level", f"level {level} (--max-level {options.max_level})")
    return Judged(candidate, level, notes=tuple(notes))


def mismatch(
    candidate: Candidate, target: Target, key: str, association: Association, notes: list[str]
) -> str:
    """Say what differs, or ""; an absent value is accepted where the rules say so, and then noted."""
    have, want = getattr(candidate, key), getattr(target, key)
    if want is None or (have is not None and alike(have, want)):
        return ""
    if have is None:
        if key in association.missing:
            notes.append(f"no {KEY_NAMES[key]} in its header")
            return ""
        return f"no {KEY_NAMES[key]} in its header, the data have {want}"
    return f"{KEY_NAMES[key]} {have}, the data have {want}"


def _elsewhere(candidate: Candidate, target: Target, association: Association, notes: list[str]) -> str:
    """Say how far away on the sky a candidate is, or "" where it is near enough."""
    limit = association.sky_arcmin
    if limit is None or target.ra is None or target.dec is None:
        return ""
    if candidate.ra is None or candidate.dec is None:
        notes.append("no pointing in its header")
        return ""
    across = math.cos(math.radians(target.dec)) * ((candidate.ra - target.ra + 180.0) % 360.0 - 180.0)
    distance_arcmin = 60.0 * math.hypot(across, candidate.dec - target.dec)
    if distance_arcmin <= limit:
        return ""
    return f"{distance_arcmin:.1f} arcmin away on the sky (limit {limit:g} arcmin)"


def _barrier(candidate: Candidate, target: Target, rules: Rules) -> Mapping | None:
    if candidate.kind != "master" or candidate.when is None or target.mjd is None:
        return None
    for barrier in rules.barriers:
        between = (candidate.when < barrier["mjd"]) != (target.mjd < barrier["mjd"])
        numbers = barrier.get("ifus")
        mask = sum(1 << (n - 1) for n in numbers) if numbers else ALL_IFUS
        if between and (candidate.ifus is None or candidate.ifus & mask):
            return barrier
    return None


def days_between(candidate: Candidate, target: Target) -> float:
    """Return the distance in time [d], 0 where one has no date."""
    return 0.0 if candidate.when is None or target.mjd is None else abs(candidate.when - target.mjd)


def _time_level(candidate: Candidate, target: Target, association: Association) -> int | None:
    if candidate.when is None or target.mjd is None:
        return association.levels[0][0]
    delta = candidate.when - target.mjd
    for level, before, after in association.levels:
        if -before <= delta <= after:
            return level
    return None


def distance(candidate: Candidate, target: Target) -> str:
    """Return the distance in time for a reader."""
    if candidate.when is None or target.mjd is None:
        return "no date"
    delta = candidate.when - target.mjd
    return f"{duration(abs(delta))} {'after' if delta >= 0 else 'before'}"


def duration(days: float) -> str:
    """Return a length of time for a reader.

    >>> duration(0.45), duration(3.31), duration(0.02)
    ('10.8 h', '3.3 d', '29 min')
    """
    if days >= 2:
        return f"{days:.1f} d"
    return f"{24 * days:.1f} h" if days * 24 >= 1 else f"{1440 * days:.0f} min"


def excluded(names: Iterable[str], patterns: Sequence[str]) -> bool:
    """Tell whether paths, folders or patterns of names leave out one of the files."""
    return any(
        name == pattern
        or fnmatchcase(name.rpartition("/")[2], pattern)
        or name.startswith(pattern.rstrip("/") + "/")
        for name in names
        for pattern in patterns
    )

# SPDX-License-Identifier: BSD-3-Clause
"""Choosing the calibration of an exposure, and saying why: the rule that refuses a file, or its rank."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muse_core.calib.candidates import ALL_IFUS, Candidate, Library, Target, channels, ifu_list
from muse_core.calib.classify import date_of
from muse_core.calib.rules import Association, Rules
from muse_core.calib.store import shown
from muse_core.calib.votes import normal_name

MODE_KEYS = ("mode", "field", "ao", "range")
KEY_NAMES = {
    "mode": "mode",
    "field": "field",
    "ao": "laser mode",
    "range": "wavelength range",
    "readout": "read-out",
}


@dataclass(frozen=True)
class Message:
    """One line with a stable code."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


@dataclass(frozen=True)
class Judged:
    """A candidate with its level, or with the first rule that refused it."""

    candidate: Candidate
    level: int | None
    refused: str = ""
    by: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class Choice:
    """What was chosen for one tag."""

    tag: str
    candidate: Candidate | None = None
    level: int | None = None
    messages: list[Message] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """Wishes of the user.

    Parameters
    ----------
    pins : tag -> absolute path
    exclude : absolute paths, or patterns of names
    use : tags to take though the rules leave them out
    max_level : worst level to accept
    simulated : accept files of the simulated instrument for real data
    """

    pins: Mapping[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    use: frozenset[str] = frozenset()
    max_level: int = 3
    simulated: bool = False


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
    if _excluded(candidate, options.exclude):
        return refuse("exclude", "excluded by --exclude")
    if candidate.simulated and not target.simulated and not options.simulated:
        return refuse("simulated", "made by the simulator, the data are real (--allow-simulated to use it)")
    notes: list[str] = []
    worst = None
    for key in association.match:
        wrong = _mismatch(candidate, target, key, association, notes)
        if wrong:
            keys = association.fallback.get("match", ())
            if not keys or any(_mismatch(candidate, target, k, association, []) for k in keys):
                return refuse("mode" if key in MODE_KEYS else key, wrong)
            worst = int(association.fallback.get("level", 3))
            notes.append(f"{wrong}, but same {' and '.join(KEY_NAMES[k] for k in keys)}")
            break
    barrier = _barrier(candidate, target, rules)
    if barrier is not None:
        if barrier.get("hard"):
            return refuse("barrier", f"other side of {date_of(barrier['mjd'])[:10]} (detectors changed)")
        notes.append(f"other side of {date_of(barrier['mjd'])[:10]} (detectors warmed up)")
    for key in association.prefer:
        if wrong := _mismatch(candidate, target, key, association, []):
            notes.append(wrong)
    level = _time_level(candidate, target, association)
    if level is None:
        if worst is not None and _days(candidate, target) <= float(association.fallback.get("days", 0)):
            level = worst
        else:
            return refuse("time", f"{_distance(candidate, target)}, outside of all windows")
    if worst is not None:
        if _days(candidate, target) > float(association.fallback.get("days", 1e9)):
            return refuse("mode", wrong)
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


def _mismatch(
    candidate: Candidate, target: Target, key: str, association: Association, notes: list[str]
) -> str:
    """Say what differs, or ""; an absent value is accepted where the rules say so, and then noted."""
    have, want = getattr(candidate, key), getattr(target, key)
    if want is None or have == want:
        return ""
    if have is None:
        if key in association.missing:
            notes.append(f"no {KEY_NAMES[key]} in its header")
            return ""
        return f"no {KEY_NAMES[key]} in its header, the data have {want}"
    return f"{KEY_NAMES[key]} {have}, the data have {want}"


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


def _days(candidate: Candidate, target: Target) -> float:
    return 0.0 if candidate.when is None or target.mjd is None else abs(candidate.when - target.mjd)


def _time_level(candidate: Candidate, target: Target, association: Association) -> int | None:
    if candidate.when is None or target.mjd is None:
        return association.levels[0][0]
    delta = candidate.when - target.mjd
    for level, before, after in association.levels:
        if -before <= delta <= after:
            return level
    return None


def _distance(candidate: Candidate, target: Target) -> str:
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


def _excluded(candidate: Candidate, patterns: Sequence[str]) -> bool:
    from fnmatch import fnmatchcase

    names = candidate.files or (candidate.path,)
    return any(
        name == pattern
        or fnmatchcase(name.rpartition("/")[2], pattern)
        or name.startswith(pattern.rstrip("/") + "/")
        for name in names
        for pattern in patterns
    )


def version_of(pipe: str | None) -> tuple[int, ...]:
    """Return the version in a pipeline name.

    >>> version_of("muse/2.8.7")
    (2, 8, 7)
    """
    return tuple(int(part) for part in re.findall(r"\d+", pipe or ""))


def choose(
    tag: str,
    target: Target,
    library: Library,
    rules: Rules,
    options: Options,
    *,
    chosen: Mapping[str, Candidate] | None = None,
    planned: Iterable[Candidate] = (),
) -> Choice:
    """Choose the file or set of a tag for a target.

    Parameters
    ----------
    chosen : what was chosen before, for the rules about pairs
    planned : candidates that steps of the same plan will make
    """
    association = rules.association(tag)
    choice = Choice(tag)
    chosen = chosen or {}
    if tag in options.pins:
        return _pinned(choice, options.pins[tag], target, library, association)
    if not applies(choice, association, target, tag, options):
        return choice
    votes = library.votes_for(target.name)
    found = [*library.candidates(tag, association, target.mjd), *planned]
    found = _product_first(found, association, target)
    for candidate in found:
        if library.marks or votes or options.exclude:
            candidate = library.with_files(candidate)
        verdict = next((library.marks[i] for i in candidate.idents if i in library.marks), ("", ""))
        choice.judged.append(judge(candidate, target, association, rules, options, verdict))
    good = [judged for judged in choice.judged if judged.level is not None]
    if not good:
        return choice
    ranker = _Ranker(association, target, rules, library, chosen, votes)
    best = ranker.best(good)
    choice.candidate, choice.level = library.with_files(best.candidate), best.level
    choice.messages += ranker.messages(choice, best, good)
    return choice


def applies(choice: Choice, association: Association, target: Target, tag: str, options: Options) -> bool:
    """Tell whether a tag is of use for a target at all; the reason why not becomes a message."""
    if association.off and tag not in options.use:
        choice.messages.append(Message("C051", f"{tag} left out (not advised; --use {tag} to add)"))
        return False
    if association.only_for and target.tag not in association.only_for:
        return False
    only = association.only
    below = only.get("mjd_below")
    if below is not None and target.mjd is not None and target.mjd >= below:
        choice.messages.append(Message("C050", f"{tag} left out: data after {date_of(below - 1)[:10]}"))
        return False
    for key in ("field", "ao"):
        if key in only and getattr(target, key) not in (None, only[key]):
            choice.messages.append(Message("C052", f"{tag} left out: only for {only[key]} data"))
            return False
    return True


def _product_first(found: list[Candidate], association: Association, target: Target) -> list[Candidate]:
    """Leave out products of an earlier step unless they are of the wanted night."""
    product = association.product
    if not product:
        return found
    return [c for c in found if not (c.step or c.kind == "product") or c.night == target.night]


def _pinned(choice: Choice, path: str, target: Target, library: Library, association: Association) -> Choice:
    from pathlib import Path

    pinned = library.target(Path(path))
    candidate = Candidate(
        tag=choice.tag,
        kind="pinned",
        path=path,
        place=0,
        when=pinned.mjd,
        files=pinned.files,
        ifus=pinned.ifus,
        mode=pinned.mode,
        field=pinned.field,
        readout=pinned.readout,
        tpl_start=pinned.tpl_start,
    )
    choice.candidate, choice.level = candidate, 0
    choice.messages.append(Message("C003", f"{choice.tag}: pinned by you: {shown(path)}"))
    wrong = [_mismatch(candidate, target, key, association, []) for key in association.match]
    if any(wrong):
        text = f"{choice.tag}: the pinned file has {'; '.join(filter(None, wrong))}"
        choice.messages.append(Message("C004", text))
    return choice


class _Ranker:
    """The order of preference among candidates that nothing speaks against."""

    def __init__(
        self, association: Any, target: Any, rules: Any, library: Any, chosen: Any, votes: Any
    ) -> None:
        self.association, self.target, self.rules = association, target, rules
        self.library, self.chosen, self.votes = library, chosen, votes
        leader = chosen.get(association.follows) if association.follows else None
        self.leader: Candidate | None = leader
        majors = [version_of(c.pipe)[:1] for c in chosen.values() if c.pipe]
        self.major = max(set(majors), key=majors.count) if majors else None

    def best(self, good: list[Judged]) -> Judged:
        keyed = [(self.key(judged), judged) for judged in good]
        first = min(key for key, _ in keyed)
        equals = [judged for key, judged in keyed if key == first]
        if "temp" in self.association.rank:
            smallest = min(self._change(judged.candidate) for judged in equals)
            tie = smallest + self.association.temp_tie + 1e-6
            equals = [judged for judged in equals if self._change(judged.candidate) <= tie]
        nearest = min(self._distance(judged.candidate) for judged in equals)
        close = [j for j in equals if self._distance(j.candidate) <= nearest + self._tie]
        return min(close, key=self._last)

    @property
    def _tie(self) -> float:
        # pairs of exposures minutes apart (ILLUM) are told apart by time, sets of a night are not
        return 0.0 if "temp" in self.association.rank else self.rules.tie_days

    def key(self, judged: Judged) -> tuple:
        """Rank before time: pair, level, completeness, marks, votes, preferences, pipeline."""
        candidate = judged.candidate
        missing = _lacking(candidate, self.target)
        files = candidate.files or (candidate.path,)
        verdicts = {self.library.marks.get(ident, ("", ""))[0] for ident in candidate.idents}
        vote = any(normal_name(name) in self.votes for name in files)
        prefer = sum(getattr(candidate, k) != getattr(self.target, k) for k in self.association.prefer)
        other = bool(self.major and candidate.pipe and version_of(candidate.pipe)[:1] != self.major)
        static = candidate.place + 1 if candidate.kind in ("static", "long") else 0
        rank = [
            0 if self._pairs(candidate) else 1, judged.level, bool(missing), "good" not in verdicts, not vote,
            prefer, static, bool(candidate.step), other,
        ]  # fmt: skip
        return tuple(rank)

    def _change(self, candidate: Candidate) -> float:
        """Difference of temperature to the target [degC], 0 where one is unknown."""
        if candidate.temp is None or self.target.temp is None:
            return 0.0
        return abs(candidate.temp - self.target.temp)

    def _distance(self, candidate: Candidate) -> float:
        near = self.chosen.get(self.association.near) if self.association.near else None
        if (
            near is not None
            and near.when is not None
            and candidate.when is not None
            and self.target.mjd is not None
        ):
            # of the same block of day calibrations as the flat, where that is as good
            return abs(candidate.when - self.target.mjd) + (
                0.0 if abs(candidate.when - near.when) < 0.5 else 0.02
            )
        return _days(candidate, self.target)

    def _last(self, judged: Judged) -> tuple:
        candidate = judged.candidate
        version = tuple(-n for n in version_of(candidate.pipe))
        return (not version, version, -(candidate.when or 0.0), candidate.place, candidate.path)

    def _pairs(self, candidate: Candidate) -> bool:
        if self.leader is None:
            return True
        if self.leader.tpl_start and candidate.tpl_start:
            return self.leader.tpl_start == candidate.tpl_start
        if self.leader.when is None or candidate.when is None:
            return True
        return abs(self.leader.when - candidate.when) <= self.rules.join_days

    def messages(self, choice: Choice, best: Judged, good: list[Judged]) -> list[Message]:
        """Lines that say what was taken, and what a reader should know of it."""
        tag, candidate = choice.tag, choice.candidate or best.candidate
        parts = []
        if candidate.when is not None:
            parts.append(_distance(candidate, self.target))
        parts.append(f"level {best.level}")
        if self.association.is_set:
            parts.append(f"{len(ifu_list(candidate.ifus))} IFUs" if candidate.ifus else "merged file")
        parts += [candidate.pipe] if candidate.pipe else []
        parts += list(best.notes)
        source = f"step {candidate.step}" if candidate.step else candidate.label
        lines = [Message("C001", f"{tag} for {self.target.name}: {source} ({', '.join(parts)})")]
        lines += self._rivals(tag, best, good)
        lacking = _lacking(candidate, self.target)
        if lacking:
            numbers = ", ".join(str(n) for n in ifu_list(lacking))
            text = f"incomplete: {tag} set lacks IFU {numbers}; the recipe would stop (nifu=0)"
            text += f" or leave out IFU {numbers} (nifu=-1)"
            lines.append(Message("C040", text))
        if not self._pairs(candidate) and self.leader is not None:
            leader = f"{self.association.follows} of {self.leader.label}"
            text = f"pair broken: {tag} of {candidate.label} with {leader}"
            lines.append(Message("C080", text))
        return lines

    def _rivals(self, tag: str, best: Judged, good: list[Judged]) -> list[Message]:
        taken = best.candidate
        lines = []
        first = self.key(best)
        good = sorted(good, key=self._last)
        rivals = [
            j for j in good
            if j is not best and self.key(j) == first
            and abs(self._distance(j.candidate) - self._distance(taken)) <= self._tie
        ]  # fmt: skip
        same = [
            j for j in rivals if j.candidate.when == taken.when and j.candidate.tpl_start == taken.tpl_start
        ]
        if same and taken.when is not None:
            pipes = sorted({j.candidate.pipe or "?" for j in [best, *same]}, key=version_of)
            why = "newer pipeline" if len(pipes) > 1 else "first in the order of search and name"
            text = (
                f"choice: {len(same) + 1} sets of {tag} of {taken.label} ({', '.join(pipes)}); taken: {why}."
            )
            lines.append(Message("C010", f"{text} Pin with --pin {tag}=..."))
        elif rivals and taken.when is not None:
            other = rivals[0].candidate.label
            text = f"choice: {tag} of {taken.label} and of {other} are equally near; taken: the later"
            lines.append(Message("C011", text))
        return lines


def _lacking(candidate: Candidate, target: Target) -> int:
    """Bits of the IFUs of the target that a set does not have; merged files count as complete."""
    if candidate.ifus is None or candidate.merged:
        return 0
    return target.ifus & ~candidate.ifus


def walked(choice: Choice, target: Target) -> None:
    """Look into a merged file that was chosen, and say which IFUs it lacks."""
    candidate = choice.candidate
    if candidate is None or not candidate.merged or candidate.step or len(candidate.files) != 1:
        return
    have = channels(candidate.files[0])
    lacking = target.ifus & ~have if have else 0
    if lacking:
        numbers = ", ".join(str(n) for n in ifu_list(lacking))
        choice.messages.append(Message("C040", f"incomplete: {choice.tag} file lacks IFU {numbers}"))


def gap(choice: Choice, target: Target, rules: Rules) -> Message:
    """Say why nothing was found, with the nearest file that was refused, and what to do."""
    tag = choice.tag
    association = rules.association(tag)
    maker = rules.maker.get(tag, "")
    days = max(before + after for _, before, after in association.levels) / 2
    within = f" within {days:g} d" if days < 5000 else ""
    what = f" for {target.mode}" if "mode" in association.match and target.mode else ""
    text = f"gap: no {tag}{what}{within}"
    refused = sorted(
        (j for j in choice.judged if j.refused),
        key=lambda j: (j.by == "time", _days(j.candidate, target), j.candidate.path),
    )
    if refused:
        nearest = refused[0]
        mode = f" for {nearest.candidate.mode}" if nearest.candidate.mode else ""
        when = f" ({_distance(nearest.candidate, target)})" if nearest.candidate.when is not None else ""
        text += f"; there is one{mode}{when}: refused by {nearest.by}: {nearest.refused}"
    remedy = f"make it with {maker}, or download it" if maker else "give its folder with --calib"
    return Message("C030", f"{text}. Remedy: {remedy}.")

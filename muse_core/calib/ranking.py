# SPDX-License-Identifier: BSD-3-Clause
"""The order of preference among candidates that nothing speaks against."""

from __future__ import annotations

import re
from collections.abc import Mapping

from muse_core.calib.candidates import Candidate, Library
from muse_core.calib.judging import Choice, Judged, days_between, distance
from muse_core.calib.messages import Message
from muse_core.calib.rules import Association, Rules
from muse_core.calib.targets import Target, ifu_list
from muse_core.calib.votes import normal_name


def version_of(pipe: str | None) -> tuple[int, ...]:
    """Return the version in a pipeline name.

    >>> version_of("muse/2.8.7")
    (2, 8, 7)
    """
    return tuple(int(part) for part in re.findall(r"\d+", pipe or ""))


class Ranker:
    """The order of preference among candidates that nothing speaks against."""

    def __init__(
        self,
        association: Association,
        target: Target,
        rules: Rules,
        library: Library,
        chosen: Mapping[str, Candidate],
        votes: Mapping[str, tuple[str, int]],
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
        """Rank before time: pair, level, completeness, marks, votes, preferences, place, pipeline."""
        candidate = judged.candidate
        missing = lacking_ifus(candidate, self.target)
        files = candidate.files or (candidate.path,)
        verdicts = {self.library.marks.get(ident, ("", ""))[0] for ident in candidate.idents}
        vote = any(normal_name(name) in self.votes for name in files)
        prefer = sum(getattr(candidate, k) != getattr(self.target, k) for k in self.association.prefer)
        other = bool(self.major and candidate.pipe and version_of(candidate.pipe)[:1] != self.major)
        static = candidate.place + 1 if candidate.kind in ("static", "long") else 0
        rank = [
            0 if self._pairs(candidate) else 1, judged.level, bool(missing), "good" not in verdicts, not vote,
            prefer, candidate.simulated != self.target.simulated, static, bool(candidate.step), other,
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
        return days_between(candidate, self.target)

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
            parts.append(distance(candidate, self.target))
        parts.append(f"level {best.level}")
        if self.association.is_set:
            parts.append(f"{len(ifu_list(candidate.ifus))} IFUs" if candidate.ifus else "merged file")
        parts += [candidate.pipe] if candidate.pipe else []
        parts += list(best.notes)
        source = f"step {candidate.step}" if candidate.step else candidate.label
        lines = [Message("C001", f"{tag} for {self.target.name}: {source} ({', '.join(parts)})")]
        lines += self._rivals(tag, best, good)
        lines += incomplete(tag, candidate, self.target)
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


def lacking_ifus(candidate: Candidate, target: Target) -> int:
    """Bits of the IFUs of the target that a set does not have; merged files count as complete."""
    if candidate.ifus is None or candidate.merged:
        return 0
    return target.ifus & ~candidate.ifus


def incomplete(tag: str, candidate: Candidate, target: Target) -> list[Message]:
    """Say which IFUs of the target a set lacks (C040), if any."""
    numbers = ", ".join(str(n) for n in ifu_list(lacking_ifus(candidate, target)))
    if not numbers:
        return []
    text = f"incomplete: {tag} set lacks IFU {numbers}; the recipe would stop (nifu=0)"
    return [Message("C040", f"{text} or leave out IFU {numbers} (nifu=-1)")]

# SPDX-License-Identifier: BSD-3-Clause
"""Choosing the calibration of an exposure, and saying why: the rule that refuses a file, or its rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from muse_core.calib.candidates import Candidate, Library
from muse_core.calib.classify import date_of
from muse_core.calib.judging import Choice, Judged, Options, days_between, distance, judge
from muse_core.calib.messages import Message
from muse_core.calib.pins import pinned
from muse_core.calib.ranking import Ranker
from muse_core.calib.rules import Association, Rules
from muse_core.calib.targets import Target, channels, cut_off, ifu_list
from muse_core.calib.votes import normal_name


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
        pinned(choice, target, library, association, options)
        return choice
    if not applies(choice, association, target, tag, options):
        return choice
    votes = library.votes_for(target.name)
    found = [*library.candidates(tag, association, target.mjd), *planned]
    found = _product_first(found, association, target)
    for candidate in found:
        if library.marks or votes or options.exclude:
            candidate = library.with_files(candidate)
        if association.sky_arcmin is not None or association.same_filter:
            candidate = library.placed(candidate)
        verdict = next((library.marks[i] for i in candidate.idents if i in library.marks), ("", ""))
        choice.judged.append(judge(candidate, target, association, rules, options, verdict))
    choice.messages += refused_votes(choice, votes)
    good = [judged for judged in choice.judged if judged.level is not None]
    if not good:
        return choice
    if association.every:
        _take_all(choice, good, target, library)
        return choice
    ranker = Ranker(association, target, rules, library, chosen, votes)
    best = ranker.best(good)
    choice.candidate, choice.level = library.with_files(best.candidate), best.level
    choice.messages += ranker.messages(choice, best, good)
    choice.messages += library.mixed_candidate(choice.candidate)
    return choice


def _take_all(choice: Choice, good: list[Judged], target: Target, library: Library) -> None:
    found = [library.with_files(judged.candidate) for judged in sorted(good, key=lambda j: j.candidate.path)]
    files = dict.fromkeys(name for candidate in found for name in (candidate.files or (candidate.path,)))
    choice.candidate, choice.level = replace(found[0], files=tuple(files)), max(j.level or 0 for j in good)
    notes = sorted({note for judged in good for note in judged.notes})
    text = "; ".join([f"{choice.tag} for {target.name}: all {len(files)} that fit", *notes])
    choice.messages.append(Message("C001", text))


def refused_votes(choice: Choice, votes: Mapping[str, tuple[str, int]]) -> list[Message]:
    """Say which files the association file names that the rules refuse (C090)."""
    lines = []
    for judged in choice.judged:
        names = judged.candidate.files or (judged.candidate.path,)
        if judged.refused and any(normal_name(name) in votes for name in names):
            text = (
                f"{choice.tag}: the association file names {judged.candidate.label}, refused by {judged.by}"
            )
            lines.append(Message("C090", f"{text}: {judged.refused}"))
    return sorted(lines, key=str)


def applies(choice: Choice, association: Association, target: Target, tag: str, options: Options) -> bool:
    """Tell whether a tag is of use for a target at all; the reason why not becomes a message."""
    if association.off and tag not in options.use:
        choice.messages.append(Message("C051", f"{tag} left out (not advised; --use {tag} to add)"))
        return False
    if association.only_for and target.tag not in association.only_for:
        return False
    only = association.only
    below = only.get("mjd_below")
    if below is not None and target.mjd is not None and target.mjd >= below and tag not in options.use:
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


def walked(choice: Choice, target: Target) -> None:
    """Look into a merged file that was chosen, and say which IFUs it lacks."""
    candidate = choice.candidate
    if candidate is None or not candidate.merged or candidate.step or len(candidate.files) != 1:
        return
    have, fault = channels(candidate.files[0])
    if fault:
        choice.messages.append(cut_off(candidate.files[0], fault))
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
        key=lambda j: (j.by == "time", days_between(j.candidate, target), j.candidate.path),
    )
    if refused:
        nearest = refused[0]
        mode = f" for {nearest.candidate.mode}" if nearest.candidate.mode else ""
        when = f" ({distance(nearest.candidate, target)})" if nearest.candidate.when is not None else ""
        text += f"; there is one{mode}{when}: refused by {nearest.by}: {nearest.refused}"
    remedy = f"make it with {maker}, or download it" if maker else "give its folder with --calib"
    return Message("C030", f"{text}. Remedy: {remedy}.")

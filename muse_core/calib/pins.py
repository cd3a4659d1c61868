# SPDX-License-Identifier: BSD-3-Clause
"""Files that the user names for a tag (--pin): taken as they are, and told where they do not fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from muse_core.calib.candidates import Candidate, Library
from muse_core.calib.judging import Choice, Options, excluded, mismatch
from muse_core.calib.messages import Message
from muse_core.calib.ranking import incomplete
from muse_core.calib.rules import Association, RecipeRule, Rules
from muse_core.calib.store import shown
from muse_core.calib.targets import SETTING, Target
from muse_core.framework import registry
from muse_core.framework.errors import InputError, ParameterError


def pinned(
    choice: Choice, target: Target, library: Library, association: Association, options: Options
) -> None:
    """Put a pinned file, with its siblings of the other IFUs, into a choice.

    Raises
    ------
    InputError
        where it does not exist, is excluded, or is of the simulated instrument and the data are real
    """
    paths = [Path(name) for name in options.pins[choice.tag]]
    found = [_pin(choice, path, paths, target, library, association, options) for path in paths]
    files = dict.fromkeys(name for candidate in found for name in candidate.files)
    mask = sum(1 << n for n in range(24) if any((c.ifus or 0) >> n & 1 for c in found)) or None
    choice.candidate, choice.level = replace(found[0], files=tuple(files), ifus=mask), 0
    choice.messages += incomplete(choice.tag, choice.candidate, target)


def _pin(
    choice: Choice, path: Path, named: list[Path], target: Target, library: Library, association: Association,
    options: Options,
) -> Candidate:  # fmt: skip
    row, _ = library.row_of(path)
    found = library.target(path, named, anything=True)
    candidate = Candidate(
        tag=choice.tag,
        kind=row.kind or "pinned",
        path=str(path),
        place=0,
        when=row.valid_from if row.kind in ("long", "static") else row.mjd_mid,
        files=found.files,
        merged=not row.ifu,
        ifus=found.ifus if row.ifu else None,
        simulated=found.simulated,
        pipe=row.pipe,
        **{key: getattr(row, key) for key in SETTING},
    )
    if excluded(candidate.files, options.exclude):
        raise InputError(
            shown(path), f"--pin {choice.tag}", expected="a file that is not excluded",
            found="one that --exclude names", remedy="Take one of the two wishes back.",
        )  # fmt: skip
    if candidate.simulated and not target.simulated and not options.simulated:
        raise InputError(
            shown(path), f"--pin {choice.tag}", expected="a file of the instrument, the data are real",
            found="one made by the simulator", remedy="Add --allow-simulated if that is what you want.",
        )  # fmt: skip
    choice.messages.append(Message("C003", f"{choice.tag}: pinned by you: {shown(path)}"))
    choice.messages += found.notes
    wrong = [mismatch(candidate, target, key, association, []) for key in association.match]
    if row.tag and row.tag != choice.tag:
        wrong.insert(0, f"the tag {row.tag} by its header")
    if any(wrong):
        text = f"{choice.tag}: the pinned file has {'; '.join(filter(None, wrong))}"
        choice.messages.append(Message("C004", text))
    return candidate


def check_wishes(options: Options, rules: Rules, recipes: Iterable[RecipeRule]) -> None:
    """Refuse wishes that could never come true: tags of --pin and --use that no recipe here takes.

    Parameters
    ----------
    recipes : those that are to be run

    Raises
    ------
    ParameterError
        naming the tags that are possible
    """
    recipes = list(recipes)
    taken = {tag for recipe in recipes for tag in recipe.takes}
    who = recipes[0].name if len(recipes) == 1 else "the cascade"
    for tag in options.pins:
        if tag not in taken:
            raise ParameterError(
                f"--pin {tag}: {who} takes no such frame; it takes {', '.join(sorted(taken))}"
            )
    if options.pins:  # else no recipe needs to be loaded
        for recipe in recipes:
            _check_counts(options, recipe.name)
    leaves_out = {tag for tag, body in rules.associations.items() if body.off or "mjd_below" in body.only}
    asked = {tag for recipe in rules.recipes.values() if recipe.ask for tag in recipe.makes}
    possible = (leaves_out | asked) & taken
    for tag in options.use:
        if tag not in possible:
            names = ", ".join(sorted(possible)) or "none"
            raise ParameterError(
                f"--use {tag}: the rules of {who} do not leave it out; what --use can add: {names}"
            )


def _check_counts(options: Options, recipe: str) -> None:
    """Refuse more files of a tag than one of our recipes takes."""
    if recipe not in registry.names():
        return
    for declared in registry.load(recipe).spec.inputs:
        given = len(options.pins.get(declared.tag, ()))
        if declared.max is not None and given > declared.max:
            raise ParameterError(
                f"--pin {declared.tag}: given {given} times, {recipe} takes {declared.max} of them"
            )


def idle_exclusions(options: Options, library: Library) -> list[Message]:
    """Say which --exclude names nothing that is here."""
    return [
        Message("C130", f"--exclude {shown(text)}: there is no such file in the folders searched")
        for text in options.exclude
        if not (Path(text).exists() if text.startswith("/") and "*" not in text else library.has_name(text))
    ]

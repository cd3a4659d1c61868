# SPDX-License-Identifier: BSD-3-Clause
"""One set of frames for one recipe: raw frames, calibrations, and a line of reasons for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from muse_core.calib.candidates import Candidate, Library
from muse_core.calib.choose import choose, gap, walked
from muse_core.calib.judging import Choice, Options
from muse_core.calib.messages import Message
from muse_core.calib.rules import RecipeRule, Rules
from muse_core.calib.store import shown
from muse_core.calib.targets import Target
from muse_core.framework.errors import InputError, RecipeError

_AMBIGUOUS = re.compile(r"[\s#]")
WITHOUT = {"TWILIGHT_CUBE": "the illumination of the field is not corrected"}
"""What an optional calibration that nothing can take the place of is missed for."""
_LOOKED_AT = 1 << 12
"""Bytes of a file that would be replaced, to see whether it is a text."""


@dataclass
class SetOfFrames:
    """A set of frames with its reasons.

    Parameters
    ----------
    lines : (absolute path, tag)
    missing : required tags that were not found
    """

    recipe: str
    title: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    choices: dict[str, Choice] = field(default_factory=dict)


def compose(
    recipe: RecipeRule,
    targets: list[Target],
    library: Library,
    rules: Rules,
    options: Options,
    planned: dict[str, list[Candidate]] | None = None,
) -> SetOfFrames:
    """Return the set of frames of a recipe for targets that are reduced together.

    The calibrations are those of the first target; where another one would take others, that is said.
    """
    targets = [replace(target, tag=recipe.renamed.get(target.tag, target.tag)) for target in targets]
    first = targets[0]
    more = f" and {len(targets) - 1} more" if len(targets) > 1 else ""
    about = ", ".join(part for part in (first.tag, first.mode, first.object) if part)
    sof = SetOfFrames(recipe.name, f"{recipe.name} for {first.name}{more} ({about})")
    _counts(sof, recipe, targets)
    for target in targets:
        sof.lines += [(path, target.tag) for path in target.files]
    chosen: dict[str, Candidate] = {}
    sof.messages += [note for target in targets for note in target.notes]
    for entry in (*recipe.cal, *(tag for tag in recipe.also if tag in options.pins)):
        tag, choice = _first_of(entry, first, library, rules, options, chosen, planned or {})
        sof.choices[tag] = choice
        required = entry in recipe.required
        if choice.candidate is None:
            sof.messages += choice.messages
            if required:
                sof.missing.append(tag)
                sof.messages.append(gap(choice, first, rules))
            elif choice.judged:
                text = gap(choice, first, rules).text.removeprefix("gap: ").partition(" Remedy")[0]
                sof.messages.append(Message("C020", f"not used (optional): {text}"))
            elif tag in WITHOUT and not choice.messages:
                sof.messages.append(Message("C020", f"no {tag} for {first.name}: {WITHOUT[tag]}"))
            continue
        walked(choice, first)
        sof.messages += choice.messages
        chosen[tag] = choice.candidate
        sof.lines += [(path, tag) for path in choice.candidate.files or (choice.candidate.path,)]
        for other in targets[1:]:
            rival = choose(
                tag, other, library, rules, options, chosen=chosen, planned=(planned or {}).get(tag, ())
            )
            if rival.candidate and rival.candidate.path != choice.candidate.path:
                text = f"{tag}: alone {other.name} would take {rival.candidate.label}"
                text += f", not {choice.candidate.label}"
                sof.messages.append(Message("C012", text))
    return sof


def _first_of(
    entry: Any, target: Any, library: Any, rules: Any, options: Any, chosen: Any, planned: Any
) -> tuple[str, Choice]:
    """Choose one of the tags of an entry ``A|B``: the first that is found."""
    choices = []
    for tag in entry.split("|"):
        choice = choose(tag, target, library, rules, options, chosen=chosen, planned=planned.get(tag, ()))
        if choice.candidate is not None:
            return tag, choice
        choices.append((tag, choice))
    return choices[0]


def _counts(sof: SetOfFrames, recipe: RecipeRule, targets: list[Target]) -> None:
    wrong = sorted({target.tag for target in targets} - set(recipe.raw))
    if wrong:
        raise InputError(
            targets[0].name, "tag", expected=f"{' or '.join(recipe.raw)} for {recipe.name}",
            found=", ".join(wrong), remedy="Choose another recipe or other files.",
        )  # fmt: skip
    if len(targets) < recipe.minimum:
        sof.missing.append(recipe.raw[0])
        text = f"gap: {recipe.name} needs {recipe.minimum} {recipe.raw[0]} frames, found {len(targets)}"
        sof.messages.append(Message("C030", f"{text}. Remedy: give more files, or the folder they are in."))
    expected = targets[0].tpl_nexp
    if expected and recipe.minimum > 1 and len(targets) < expected:
        text = f"broken off: template of {targets[0].tpl_start} has {len(targets)} of {expected} exposures"
        sof.messages.append(Message("C041", text))
    lamps = {lamp for target in targets for lamp in (target.lamp or "").split("+") if lamp}
    if recipe.each_lamp and lamps and (absent := {"Ne", "Xe", "HgCd"} - lamps):
        sof.messages.append(Message("C042", f"no exposure with the lamp {', '.join(sorted(absent))}"))


def sof_text(sof: SetOfFrames, rules: Rules, links: dict[str, str] | None = None) -> str:
    """Return the text of a set of frames: reasons as comments, then absolute paths and tags."""
    text = [f"# {sof.title}", f"# rules {rules.hash}"]
    text += [f"# {shown(str(message))}" for message in sof.messages]
    links = links or {}
    width = max((len(links.get(path, path)) for path, _ in sof.lines), default=0)
    text += [f"{links.get(path, path):<{width}} {tag}" for path, tag in sof.lines]
    return "\n".join(text) + "\n"


def write_sof(sof: SetOfFrames, path: Path, rules: Rules) -> Path:
    """Write a set of frames; one that lacks something required gets the ending ``.incomplete``.

    Names with blanks, which no host can read from such a file, are linked in a folder beside it.

    Raises
    ------
    RecipeError
        where the file cannot be written, or something would be lost that is no set of frames
    """
    target = path.with_name(path.name + ".incomplete") if sof.missing else path
    other = path if sof.missing else path.with_name(path.name + ".incomplete")
    for there in (target, other):
        if there.exists() and not _may_be_replaced(there, sof):
            raise RecipeError(
                f"{shown(there)}: is no set of frames and would be lost; give another name (-o)"
            )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        links = _links(sof, path.absolute().with_suffix(".links"))
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        temporary.write_bytes(sof_text(sof, rules, links).encode("utf-8", "surrogateescape"))
        temporary.replace(target)
        other.unlink(missing_ok=True)
    except OSError as error:
        raise RecipeError(
            f"{shown(target)} could not be written: {error.strerror}; check free space and rights"
        ) from error
    return target


def _may_be_replaced(path: Path, sof: SetOfFrames) -> bool:
    """Whether a file is a text as sets of frames are, and none of those that the set lists."""
    if not path.is_file() or any(path.samefile(name) for name, _ in sof.lines if Path(name).exists()):
        return False
    with path.open("rb") as stream:
        start = stream.read(_LOOKED_AT)
    return b"\0" not in start and not start.startswith(b"SIMPLE  =")


def _links(sof: SetOfFrames, folder: Path) -> dict[str, str]:
    links: dict[str, str] = {}
    odd = [name for name, _ in sof.lines if _AMBIGUOUS.search(name) or not name.isprintable() or "$" in name]
    if not odd:
        return links
    if _AMBIGUOUS.search(str(folder)) or "$" in str(folder):
        raise RecipeError(
            f"{shown(folder.parent)}: has a blank or a $ in its name; write the SOF into another folder (-o)"
        )
    for number, name in enumerate(dict.fromkeys(odd), 1):
        folder.mkdir(exist_ok=True)
        plain = re.sub(r"[^A-Za-z0-9._:+-]", "_", PurePath(name).name)
        link = folder / f"{number:03d}_{plain}"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        links[name] = str(link)
    sof.messages.append(
        Message("C120", f"{len(links)} names with blanks or odd letters are linked in {folder.name}")
    )
    return links


def groups_of(recipe: RecipeRule, targets: Iterable[Target]) -> list[list[Target]]:
    """Sort targets into sets of frames by what the recipe reduces together, in order of time."""
    groups: dict[tuple, list[Target]] = {}
    for target in sorted(targets, key=lambda t: (t.mjd or 0.0, t.name, t.files)):
        groups.setdefault(group_key(recipe, target), []).append(target)
    return list(groups.values())


def group_key(recipe: RecipeRule, target: Target) -> tuple:
    """Return what two targets must share to stand in one set of frames of a recipe."""
    names = {"exposure": "name", "target": "object"}
    return tuple(getattr(target, names.get(key, key)) for key in recipe.group)

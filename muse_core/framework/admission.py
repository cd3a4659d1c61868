# SPDX-License-Identifier: BSD-3-Clause
"""What is checked of the frames and of the places of the products before a recipe starts."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from muse_core.framework.errors import Problems, RecipeError, WriteError
from muse_core.framework.frames import Frame, Frames
from muse_core.framework.log import UNDONE
from muse_core.framework.registry import available
from muse_core.framework.spec import ParamValues, RecipeSpec


def assign_groups(spec: RecipeSpec, frames: Iterable[Frame], log: logging.Logger) -> Frames:
    """Give each frame the group its tag has in this recipe; unknown tags are left out with a warning."""
    known = []
    for frame in frames:
        declared = spec.input_for(frame.tag)
        if declared is None:
            log.warning("%s: %s", frame.source, _unknown_tag(spec, frame.tag), extra=UNDONE)
            continue
        known.append(replace(frame, tag=declared.tag, group=declared.group))
    return Frames(known)


def _unknown_tag(spec: RecipeSpec, tag: str) -> str:
    """Say why a frame is not used: what its tag may have been meant to be, or which recipe takes it."""
    if not tag:
        return "has no tag and is not used; write one behind the file name"
    close = difflib.get_close_matches(tag, [declared.tag for declared in spec.inputs], n=1, cutoff=0.75)
    if close:
        return f"tag {tag} is not an input of {spec.name}, the frame is not used; did you mean {close[0]}?"
    others = [recipe.spec for recipe in available() if recipe.spec.input_for(tag) is not None]
    for other in others:
        made = [p.tag for p in other.products if spec.input_for(p.tag) is not None]
        declared = other.input_for(tag)
        if declared is not None and declared.group == "RAW" and made:
            return (
                f"tag {tag} is that of a raw exposure, which {spec.name} does not take: {other.name} makes "
                f"{made[0]} of it. The frame is not used"
            )
    hint = f" (it is one of {others[0].name})" if others else ""
    return f"tag {tag} is not an input of {spec.name}{hint}, the frame is not used"


def check_counts(
    spec: RecipeSpec, frames: Frames, given: Sequence[Frame], problems: Problems, log: logging.Logger
) -> None:
    """Note missing input tags as faults; for more files than a tag takes warn (the first ones are used)."""
    tags = Counter(frame.tag or "(no tag)" for frame in given)
    for declared in spec.inputs:
        count = len(frames[declared.tag])
        if count < declared.min:
            there = ", ".join(f"{tag} ({number})" for tag, number in sorted(tags.items())) or "no frames"
            problems.add(
                "",
                f"input {declared.tag}",
                expected=f"at least {declared.min} frame{'s' if declared.min > 1 else ''} with this tag",
                found=f"{count} among {len(given)} frames given, whose tags are: {there}",
                remedy="Check the tags in the set-of-frames file.",
            )
        elif declared.max is not None and count > declared.max:
            log.warning(
                "%d frames with tag %s given, only the first %d used",
                count,
                declared.tag,
                declared.max,
                extra=UNDONE,
            )


def told(spec: RecipeSpec, frames: Iterable[Frame], log: logging.Logger) -> Frames:
    """Return the frames of a run, which say what each calibration is for when the recipe takes it."""

    def taken(found: tuple[Frame, ...]) -> None:
        declared = spec.input_for(found[0].tag)
        if declared is None or declared.group != "CALIB":
            return
        names = found[0].name if len(found) == 1 else f"{found[0].name} and {len(found) - 1} more"
        log.info("%s: %s (%s)", declared.tag, names, declared.help or "calibration")

    return Frames(frames, taken)


def tell_unused(frames: Frames, log: logging.Logger) -> None:
    """Say which calibrations were given and not needed with these parameters."""
    for tag, names in _by_tag(frames.never_asked()).items():
        log.info("%s was not needed with these parameters (%s)", tag, ", ".join(names))


def _by_tag(frames: Iterable[Frame]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for frame in frames:
        found.setdefault(frame.tag, []).append(frame.name)
    return found


def check_folder(folder: Path) -> None:
    """Refuse an output folder that is not there or cannot be written."""
    if not folder.is_dir():
        raise RecipeError(f"the output folder {folder} does not exist; create it or choose another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"the output folder {folder} cannot be written; check its permissions")


LEAST_ROOM = 1 << 20
"""Bytes that must be free for a run to begin: any product has more than its headers."""


def check_room(frames: Iterable[Frame], folder: Path, log: logging.Logger) -> None:
    """Refuse a full disk, and warn of one with less room than the exposures take.

    (How large products will be is known later: they reserve their room on the disk before they are computed.)
    """
    state = os.statvfs(folder)
    free = state.f_bavail * state.f_frsize
    if not state.f_blocks:  # a file system that does not tell
        return
    if free < LEAST_ROOM:
        raise WriteError(
            f"products could not be written: the disk of the output folder {folder} is full ({free >> 10} kB "
            "free); make room, or choose another folder"
        )
    taken = 0
    for frame in frames:
        with contextlib.suppress(OSError):
            taken += frame.source.stat().st_size if frame.group == "RAW" else 0
    if free < taken:
        log.warning(
            "the disk of the output folder has %d MB free, the exposures take %d MB: products may not fit",
            free >> 20, taken >> 20,
        )  # fmt: skip


def check_targets(
    spec: RecipeSpec,
    params: ParamValues,
    frames: Iterable[Frame],
    folder: Path,
    prefix: str,
    problems: Problems,
) -> None:
    """Note products that would replace an input of the run (the same file, by whatever name or link).

    Parameters
    ----------
    folder : where the products go in the end
    prefix : of their names, if they are numbered (``prefix_0000.fits``); "" if they have their own
    """
    made = [product for product in spec.products if _is_made(product.save, params)]
    names = "|".join(
        re.escape(product.tag)
        + (r"_\d{4}(?:-\d\d)?" if product.series else r"(?:-\d\d)?" if product.by_ifu else "")
        for product in made
    )
    pattern = re.compile(rf"{re.escape(prefix)}_\d{{4}}\.fits" if prefix else rf"(?:{names})\.fits")
    inputs = {}
    for frame in frames:
        try:
            state = frame.source.stat()
        except OSError:
            continue  # told by the door
        inputs[state.st_dev, state.st_ino] = frame.source
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not pattern.fullmatch(entry.name):
                continue
            if entry.is_dir():
                problems.add(
                    folder / entry.name, "product", expected="a free name", found="a folder of that name",
                    remedy="Move the folder away, or choose another output folder.",
                )  # fmt: skip
                continue
            try:
                state = entry.stat()
            except OSError:
                continue
            source = inputs.get((state.st_dev, state.st_ino))
            if source is not None:
                problems.add(
                    source, "product", expected="a name that no input of this run has",
                    found=f"the product {folder / entry.name} would replace it",
                    remedy="Choose another output folder.",
                )  # fmt: skip


def _is_made(word: str, params: ParamValues) -> bool:
    return not word or word in params.save

# SPDX-License-Identifier: BSD-3-Clause
"""The whole cascade of a night: from the raw frames that are there to the combined cube, as numbered steps.

Every raw set could become a master: it is offered to the choice as a candidate that a step would make. A file
that exists is preferred at equal level. Only steps that a science exposure needs, directly or not, are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from muse_core.calib.candidates import Candidate, Library
from muse_core.calib.classify import Row
from muse_core.calib.compose import SetOfFrames, compose, groups_of
from muse_core.calib.judging import Options, excluded
from muse_core.calib.messages import Message
from muse_core.calib.rules import RecipeRule, Rules
from muse_core.calib.store import Index, restored
from muse_core.calib.targets import (
    ALL_IFUS,
    SETTING,
    Target,
    channels,
    cut_off,
    detectors,
    ifu_list,
    target_of,
)
from muse_core.framework import registry
from muse_core.framework.errors import RecipeError

_PLACE = re.compile(r"@\{([^}]*)\}")
FROM_TABLES = {
    "muse_standard": "PIXTABLE_STD",
    "muse_create_sky": "PIXTABLE_SKY",
    "muse_astrometry": "PIXTABLE_ASTROMETRY",
}
"""Recipes that make a calibration of the pixel tables of one raw exposure, and the tag of these."""


@dataclass
class Step:
    """One run of a recipe.

    Parameters
    ----------
    key : what tells it from others; also the placeholder ``@{key}`` of its folder until steps are numbered
    products : file names by tag
    needs : keys of the steps it waits for
    """

    key: str
    recipe: RecipeRule
    targets: list[Target]
    products: dict[str, list[str]]
    order: tuple
    sof: SetOfFrames | None = None
    options: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    number: int = 0

    @property
    def name(self) -> str:
        """Name of its folder and SOF, for example 03_muse_flat."""
        return f"{self.number:02d}_{self.recipe.name}"

    @property
    def runner(self) -> str:
        """Program that runs it: ours where we have the recipe, else esorex."""
        return "muserun" if self.recipe.name in registry.names() else "esorex"

    @property
    def commands(self) -> list[str]:
        """Commands, to be run in the folder of the step.

        The C recipes take all 24 IFUs for granted and fail for those that are not there: they treat data with
        fewer IFU by IFU. Ours leave out what is not there.
        """
        ends = [*self.options, f"../{self.name}.sof"]
        mask = self.targets[0].ifus
        if not self.by_ifu:
            runs: list[list[str]] = [[]]
        elif mask == ALL_IFUS or self.runner == "muserun":
            runs = [["--nifu=-1"]]
        else:
            runs = [[f"--nifu={n}"] for n in ifu_list(mask)]
        return [" ".join([self.runner, self.recipe.name, *run, *ends]) for run in runs]

    @property
    def by_ifu(self) -> bool:
        """Whether the recipe treats one IFU at a time."""
        return self.recipe.per_ifu or self.recipe.name == "muse_scibasic"


class Planner:
    """Builds the steps of a cascade."""

    def __init__(self, library: Library, rules: Rules, options: Options, data: Index) -> None:
        self.library, self.rules, self.options, self.data = library, rules, options, data
        self.order = {name: n for n, name in enumerate(rules.recipes)}
        self.steps: dict[str, Step] = {}
        self.possible: dict[str, Step] = {}
        self.planned: dict[str, list[Candidate]] = {}
        self.too_small: dict[str, list[str]] = {}
        self.raw = self._raw_targets()
        self._offer_masters()

    def _raw_targets(self) -> list[Target]:
        targets: dict[str, Target] = {}
        masks: dict[object, int] = {}  # of the frames of a set, which have the same detectors
        rows = self.data.rows("state = 'ok' AND kind = 'raw' ORDER BY mjd, path")
        for raw in sorted(
            rows, key=lambda r: (not str(restored(r["path"])).endswith(".fits"), restored(r["path"]))
        ):
            values = {key: raw[key] for key in raw.keys() if key != "id"}  # noqa: SIM118 - no dict
            row = Row(**values)
            if row.ident in targets:
                continue  # the same exposure once more, or packed
            path = self.data.full(raw["path"])
            # the frames that are used are looked into later: an archive may have a hundred thousand
            if '"ESO DET CHIPS":24' not in row.cards and not masks.get(row.set_id):
                masks[row.set_id] = detectors(row, path)[0]
            targets[row.ident] = target_of(row, (path,))
        whole = [replace(t, ifus=masks.get(t.set_id) or t.ifus) for t in targets.values()]
        return sorted(whole, key=lambda t: (t.mjd or 0.0, t.name))

    def of(self, *tags: str) -> list[Target]:
        """Return the raw exposures with one of these tags, in order of time."""
        return [target for target in self.raw if target.tag in tags and not self._left_out(target)]

    def _left_out(self, target: Target) -> bool:
        return excluded(target.files, self.options.exclude)

    def _offer_masters(self) -> None:
        """Offer what every raw set could become."""
        for recipe in self.rules.recipes.values():
            if not recipe.makes or (recipe.ask and not set(recipe.makes) & self.options.use):
                continue
            for group in groups_of(recipe, self._raw_of(recipe)):
                if len(group) >= recipe.minimum:
                    self._offer(recipe, group)
                    continue
                text = (
                    f"{len(group)} x {group[0].tag} of {group[0].name}: {recipe.name} needs {recipe.minimum}"
                )
                for tag in recipe.makes:
                    self.too_small.setdefault(tag, []).append(text)
        for name, through in FROM_TABLES.items():
            maker = self.rules.recipes.get(name)
            if maker is not None and (not maker.ask or set(maker.makes) & self.options.use):
                for target in self.of(through.removeprefix("PIXTABLE_")):
                    self._offer(maker, [target], through=through)

    def _raw_of(self, recipe: RecipeRule) -> list[Target]:
        if not recipe.first:
            return self.of(*recipe.raw)
        return next((found for tag in recipe.raw if (found := self.of(tag))), [])

    def _offer(self, recipe: RecipeRule, group: list[Target], through: str = "") -> None:
        step = self._step(recipe, group)
        if through:
            step.targets = [replace(target, tag=through) for target in group]
        self.possible[step.key] = step
        first = group[0]
        when = sum(target.mjd or 0.0 for target in group) / len(group)
        for tag in recipe.makes:
            self.planned.setdefault(tag, []).append(
                Candidate(
                    tag=tag,
                    kind="master",
                    path=f"@{{{step.key}}}/{step.products[tag][0]}",
                    place=0,
                    when=when,
                    files=tuple(f"@{{{step.key}}}/{name}" for name in step.products[tag]),
                    ifus=first.ifus if recipe.per_ifu else None,
                    merged=not recipe.per_ifu,
                    simulated=first.simulated,
                    step=step.key,
                    **{key: getattr(first, key) for key in SETTING},
                )
            )

    def _step(self, recipe: RecipeRule, group: list[Target]) -> Step:
        first = group[0]
        key = f"{recipe.name} {first.name}"
        products = {}
        for tag in recipe.makes:
            if recipe.per_ifu:
                products[tag] = [f"{tag}-{n:02d}.fits" for n in ifu_list(first.ifus)]
            else:
                products[tag] = [f"{tag}_0001.fits" if tag in recipe.series else f"{tag}.fits"]
        return Step(
            key,
            recipe,
            group,
            products,
            (self.order[recipe.name], first.mjd or 0.0, first.name),
        )

    def need(self, step: Step) -> Step:
        """Keep a step, with all it waits for."""
        if step.key in self.steps:
            return self.steps[step.key]
        self.steps[step.key] = step
        if step.targets[0].tag in FROM_TABLES.values():
            raw = [replace(t, tag=t.tag.removeprefix("PIXTABLE_")) for t in step.targets]
            step.targets = [self.pixel_table(target) for target in raw]
        step.targets = [self._looked_into(target) for target in step.targets]
        planned = {tag: self._without_circle(step, found) for tag, found in self.planned.items()}
        options = self.options
        if step.recipe.name == "muse_scipost" and "OFFSET_LIST" in options.pins:
            # it moves the exposures when they are combined; moved here, too, they would be moved twice
            options = replace(options, pins={t: f for t, f in options.pins.items() if t != "OFFSET_LIST"})
        step.sof = compose(step.recipe, step.targets, self.library, self.rules, options, planned)
        for tag, choice in step.sof.choices.items():
            if choice.candidate is None:
                step.sof.messages += [
                    Message("C021", f"no {tag}: only {text}") for text in self.too_small.get(tag, ())
                ]
        for path, _ in step.sof.lines:
            if (match := _PLACE.match(path)) and match.group(1) not in step.needs:
                step.needs.append(match.group(1))
        for key in list(step.needs):
            if key in self.possible:
                self.need(self.possible[key])
        return step

    def _looked_into(self, target: Target) -> Target:
        """Note what is wrong with a raw frame that is used."""
        path = target.files[0]
        if _PLACE.match(path) or target.notes:
            return target
        have, fault = channels(path)
        if not fault and have not in (None, target.ifus):
            fault = f"has the IFUs {ifu_list(have or 0)}, the frames of its set have {ifu_list(target.ifus)}"
        return replace(target, notes=(cut_off(path, fault),)) if fault else target

    def _without_circle(self, step: Step, found: list[Candidate]) -> list[Candidate]:
        """Leave out what a step of the same or a later place in the cascade would make."""
        return [c for c in found if self.possible[c.step].order[0] < step.order[0]]

    def pixel_table(self, target: Target) -> Target:
        """Plan the basic reduction of an exposure; returns its pixel tables as a target."""
        step = self.need(self._step(self.rules.recipes["muse_scibasic"], [target]))
        tag = f"PIXTABLE_{target.tag}"
        names = [f"{tag}_0001-{n:02d}.fits" for n in ifu_list(target.ifus)]
        step.products[tag] = names
        return replace(target, tag=tag, files=tuple(f"@{{{step.key}}}/{name}" for name in names))

    def science(self, exposures: list[Target]) -> None:
        """Plan everything for science exposures: cubes, and where a target has several, their combination."""
        recipes = self.rules.recipes
        scenes: dict[tuple[str | None, ...], list[tuple[Target, Step]]] = {}
        for target in exposures:
            step = self.need(self._step(recipes["muse_scipost"], [self.pixel_table(target)]))
            scenes.setdefault((target.object, target.field, target.range), []).append((target, step))
        for members in scenes.values():
            for _, step in members:
                self._scipost_options(step, combined=len(members) > 1)
            if len(members) > 1:
                self._combination(members)

    def _scipost_options(self, step: Step, *, combined: bool) -> None:
        choices = step.sof.choices if step.sof else {}

        def has(tag: str) -> bool:
            return tag in choices and choices[tag].candidate is not None

        if not (has("SKY_LINES") and has("LSF_PROFILE")):
            step.options.append("--skymethod=simple")
        elif has("SKY_CONTINUUM"):
            step.options.append("--skymethod=subtract-model")
        if combined:
            step.options.append("--save=cube,individual,skymodel")

    def _combination(self, members: list[tuple[Target, Step]]) -> None:
        recipes = self.rules.recipes
        images = [self._product(target, step, "IMAGE_FOV", filter="white") for target, step in members]
        align = self.need(self._step(recipes["muse_exp_align"], images))
        tables = [self._product(target, step, "PIXTABLE_REDUCED") for target, step in members]
        combine = self.need(self._step(recipes["muse_exp_combine"], tables))
        if combine.sof is not None and (modes := sorted({t.mode for t, _ in members if t.mode}))[1:]:
            combine.sof.messages.append(Message("C015", f"mixed modes in one cube: {', '.join(modes)}"))
        if combine.sof is not None and "OFFSET_LIST" not in self.options.pins:
            combine.sof.lines.append((f"@{{{align.key}}}/OFFSET_LIST.fits", "OFFSET_LIST"))
            combine.sof.messages.append(Message("C001", f"OFFSET_LIST: step @{{{align.key}}}"))
            combine.needs.append(align.key)

    def _product(self, target: Target, step: Step, tag: str, **changes: Any) -> Target:
        return replace(target, tag=tag, files=(f"@{{{step.key}}}/{step.products[tag][0]}",), **changes)

    def calibrations(self) -> None:
        """Plan every step that raw sets allow (for folders without science exposures)."""
        for step in list(self.possible.values()):
            self.need(step)

    def numbered(self, folder: str) -> list[Step]:
        """Number the steps in an order in which each can run, and put the real folders into their SOFs."""
        steps = sorted(self.steps.values(), key=lambda step: step.order)
        for number, step in enumerate(steps, 1):
            step.number = number
        names = {step.key: step.name for step in steps}
        for step in steps:
            if step.sof is None:
                continue
            step.sof.lines = [
                (_PLACE.sub(lambda m: f"{folder}/{names[m.group(1)]}", path), tag)
                for path, tag in step.sof.lines
            ]
            step.sof.messages = [self._named(message, names) for message in step.sof.messages]
        return steps

    @staticmethod
    def _named(message: Message, names: dict[str, str]) -> Message:
        text = _PLACE.sub(lambda m: names[m.group(1)], message.text)
        for key, name in names.items():
            text = text.replace(f"step {key} (", f"step {name} (")
        return Message(message.code, text)


def plan_night(
    library: Library, rules: Rules, options: Options, data: Index, folder: str, nights: Iterable[str] = ()
) -> list[Step]:
    """Return the numbered steps of the cascade for the science exposures of a tree.

    Parameters
    ----------
    folder : absolute path under which the steps will run
    nights : only exposures of these nights (dates of their evenings); empty = all

    Raises
    ------
    RecipeError
        where the tree has nothing to plan for
    """
    # what an earlier run of the plan made does not change the plan
    options = replace(options, exclude=(*options.exclude, folder))
    planner = Planner(library, rules, options, data)
    wanted = set(nights)
    exposures = [t for t in planner.of("OBJECT") if not wanted or t.night in wanted]
    if exposures:
        planner.science(exposures)
    elif wanted:
        found = sorted({t.night or "?" for t in planner.of("OBJECT")}) or ["none"]
        raise RecipeError(
            f"no OBJECT exposure of the night {', '.join(sorted(wanted))}; found nights: {', '.join(found)}"
        )
    else:
        planner.calibrations()
    if not planner.steps:
        raise RecipeError(
            f"{data.root}: no raw frames of MUSE that a cascade could begin with, in it or below; "
            "is it the right folder?"
        )
    return planner.numbered(folder)

# SPDX-License-Identifier: BSD-3-Clause
"""Open and check everything that muse_scibasic needs, before the first pixel is processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muse_core.basic.adaptive_optics import Strehl, read_strehl
from muse_core.basic.twilight_cube import TwilightCube, check_twilight_cube, read_twilight_cube
from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import check
from muse_core.detector.calibration_rules import check_calibrations, check_geometry
from muse_core.detector.calibrations import (
    REQUIRED,
    CalibrationFiles,
    IfuCalibration,
    attempt,
    calibration_of,
    matching_illum,
    open_calibrations,
)
from muse_core.detector.lacosmic import check_installed
from muse_core.detector.plan import combine_plan, exposures_needed
from muse_core.detector.raw_levels import check_levels
from muse_core.detector.raw_sets import check_date, choose_ifus, usable_raws
from muse_core.detector.rawframe import RawFile, open_raw
from muse_core.framework.errors import InputError, ParameterError, Problems
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frame, Frames
from muse_core.framework.spec import ParamValues

LEAST_STEP = 0.01  # Angstrom
RAW_TAGS = ("OBJECT", "STD", "SKY", "ASTROMETRY")


@dataclass(frozen=True)
class Exposure:
    """What becomes one set of products: a raw exposure, or several that are combined.

    Attributes
    ----------
    tag : str
    number : int
        Within the tag, from 1.
    paths : tuple of Path
    raws : tuple of RawFile
        Empty for images that were reduced before.
    """

    tag: str
    number: int
    paths: tuple[Path, ...]
    raws: tuple[RawFile, ...] = ()

    @property
    def name(self) -> str:
        """How the log calls it."""
        return f"{self.tag} {self.number} ({', '.join(path.name for path in self.paths)})"


@dataclass
class BasicInputs:
    """Checked inputs.

    Attributes
    ----------
    exposures : tuple of Exposure
    illum : RawFile or None
    cubes : tuple of TwilightCube
    files : CalibrationFiles
    ifus : list of int
        That are asked for and are in the data.
    failed : dict of int to str
        IFUs without products and why, as far as known.
    warnings : list of str
    strehl : dict of Path to (Strehl or None, str)
        Strehl ratio of each narrow-field exposure, or a warning.
    """

    exposures: tuple[Exposure, ...]
    illum: RawFile | None
    cubes: tuple[TwilightCube, ...]
    files: CalibrationFiles
    ifus: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    strehl: dict[Path, tuple[Strehl | None, str]] = field(default_factory=dict)


def used_frames(frames: Frames, exposure: Exposure, raws: Sequence[RawFile]) -> list[Frame]:
    """Frames that the headers of an exposure name.

    Measured against 2.8.7: its own raw files and those of other tags, the ILLUM after them, all calibrations.
    Of combined exposures those are named that are in the product (C names the first one alone).
    """
    own = {raw.path for raw in raws}
    chosen = [
        frame
        for frame in frames
        if frame.path in own or (frame.tag != exposure.tag and (frame.tag != "REDUCED"))
    ]
    return [frame for frame in chosen if frame.tag != "ILLUM"] + list(frames["ILLUM"])


def _numbered(tag: str, raws: list[RawFile], combined: bool) -> list[Exposure]:
    if combined and raws:
        return [Exposure(tag, 1, tuple(raw.path for raw in raws), tuple(raws))]
    return [Exposure(tag, number, (raw.path,), (raw,)) for number, raw in enumerate(raws, 1)]


def _raw_groups(frames: Frames, all_together: bool) -> list[tuple[str, list[Frame]]]:
    """Raw frames by tag; or all, and the ILLUM, under the tag of the first one."""
    if not all_together:
        return [(tag, list(frames[tag])) for tag in RAW_TAGS]
    members = [frame for frame in frames if frame.tag in (*RAW_TAGS, "ILLUM")]
    science = [frame.tag for frame in members if frame.tag != "ILLUM"]
    return [(science[0], members)] if science else []


def _check_counts(frames: Frames, problems: Problems) -> None:
    if not any(frames[tag] for tag in RAW_TAGS):
        problems.add(
            "",
            "raw frames",
            expected=f"at least one frame with the tag {', '.join(RAW_TAGS)} or REDUCED",
            found="none",
            remedy="Check the tags in the set-of-frames file.",
        )
    for tag in REQUIRED:
        if not frames[tag]:
            problems.add("", f"input {tag}", expected="at least one frame with this tag", found="none")
    for tag in ("ILLUM", "GEOMETRY_TABLE"):
        if len(frames[tag]) > 1:
            problems.add(
                frames[tag][1].path, f"input {tag}", expected="at most one frame", found=len(frames[tag])
            )


def check_parameters(p: ParamValues) -> None:
    """Refuse values that no detector has room for, and what is not installed.

    Raises
    ------
    ParameterError
    """
    if p.resample and 0 < p.dlambda < LEAST_STEP:
        raise ParameterError(
            f"parameter dlambda={p.dlambda:g}: expected 0 or at least {LEAST_STEP} Angstrom; an image of "
            "such steps would not fit in the memory"
        )
    if p.lacosmic:
        check_installed()


def open_inputs(frames: Frames, p: ParamValues, ctx: RunContext) -> BasicInputs:
    """Open all files, read all headers and tables.

    Raises
    ------
    InputError
        With all faults that concern the whole run.
    """
    problems = ctx.problems
    check_parameters(p)
    _check_counts(frames, problems)
    exposures: list[Exposure] = []
    all_together = p.combine != "none" and ctx.defects.combines_all_tags
    for tag, members in _raw_groups(frames, all_together):
        opened = []
        for frame in members:
            raw = attempt(problems, open_raw, frame.path, default=None)
            if raw is not None:
                check_date(raw, problems)
                check(raw.path, INPUT_RULES.get(frame.tag, ()), raw.primary, ctx)
                opened.append(raw)
        exposures += _numbered(tag, opened, p.combine != "none")
        _check_combination(tag, len(members), p, problems)
    illum = None
    if frames["ILLUM"] and not all_together:
        illum = attempt(problems, open_raw, frames["ILLUM"][0].path, default=None)
    if illum is not None:
        check(illum.path, INPUT_RULES["ILLUM"], illum.primary, ctx)
    paths: dict[str, list[Path]] = {tag.tag: [f.path for f in frames[tag.tag]] for tag in ctx.spec.inputs}
    files = open_calibrations(paths, problems)
    check_calibrations(paths, files, ctx)
    for path in paths["GEOMETRY_TABLE"]:
        check_geometry(path, files.found["GEOMETRY_TABLE"], ctx)
    cubes = [attempt(problems, read_twilight_cube, path, default=None) for path in paths["TWILIGHT_CUBE"]]
    for cube in (cube for cube in cubes if cube is not None):
        check_twilight_cube(cube, ctx)
    problems.raise_if_any()
    inputs = BasicInputs(tuple(exposures), illum, tuple(cube for cube in cubes if cube is not None), files)
    raws = [raw for exposure in exposures for raw in exposure.raws]
    there, absent = choose_ifus(raws, p.nifu, problems)
    inputs.ifus.extend(there)
    inputs.failed.update(absent)
    for tag in (*RAW_TAGS, "ILLUM"):
        alike = [raw for exposure in exposures if exposure.tag == tag for raw in exposure.raws]
        check_levels([illum] if tag == "ILLUM" and illum else alike, tag, there, ctx)
    for raw in raws:
        if str(raw.primary.get("ESO INS MODE", "")).startswith("NFM"):
            unknown: tuple[Strehl | None, str] = None, ""
            inputs.strehl[raw.path] = attempt(problems, read_strehl, raw.path, default=unknown)
    problems.raise_if_any()
    return inputs


def _check_combination(tag: str, count: int, p: ParamValues, problems: Problems) -> None:
    if p.combine == "none" or not count:
        return
    needed = exposures_needed(combine_plan(p))
    if count < needed:
        problems.add(
            "", f"input {tag}", expected=f"at least {needed} exposures for combine={p.combine}", found=count
        )


@dataclass(frozen=True)
class IfuJob:
    """One IFU of one exposure: the raw files that have it, and its calibrations."""

    raws: tuple[RawFile, ...]
    own: IfuCalibration
    illum: RawFile | None


def job_of(exposure: Exposure, ifu: int, inputs: BasicInputs, p: ParamValues, warnings: list[str]) -> IfuJob:
    """Collect what one IFU of an exposure needs.

    Raises
    ------
    InputError
        With the reason why it cannot be made.
    """
    usable, reasons = usable_raws(ifu, exposure.raws)
    needed = 1 if p.combine == "none" else exposures_needed(combine_plan(p))
    if len(usable) < needed:
        raise InputError("", "; ".join(reasons) or f"{len(usable)} exposures, {needed} are needed")
    warnings += [f"IFU {ifu}: exposure skipped: {reason}" for reason in reasons]
    if p.combine != "none" and p.scale:
        for raw in usable:
            if not raw.exptime > 0:
                raise InputError(
                    raw.path,
                    "EXPTIME",
                    expected="a positive time",
                    found=raw.exptime,
                    remedy="Use scale=false.",
                )
    own = calibration_of(ifu, inputs.files, usable[0], p, warnings)
    return IfuJob(tuple(usable), own, matching_illum(inputs.illum, usable[0], ifu, warnings))

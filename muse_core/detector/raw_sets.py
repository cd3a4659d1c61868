# SPDX-License-Identifier: BSD-3-Clause
"""The raw frames that become one calibration, opened and checked before the first pixel is processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import check
from muse_core.detector.calibration_rules import check_calibrations
from muse_core.detector.calibrations import (
    CalibrationFiles,
    CcdCalibration,
    attempt,
    ccd_calibration_of,
    open_calibrations,
    setup_difference,
)
from muse_core.detector.headers import IfuHeader, raw_header
from muse_core.detector.rawframe import RawFile, open_raw
from muse_core.detector.tables import IFUS
from muse_core.framework.errors import InputError, Problems
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.spec import ParamValues


@dataclass
class RawSet:
    """Raw exposures and calibrations of a run.

    Attributes
    ----------
    tags : tuple of str
        Tags of the raw frames.
    raws : tuple of RawFile
        All of them, in the order of the set of frames.
    files : CalibrationFiles
    required : tuple of str
        Calibrations without which an IFU cannot be made.
    ifus : list of int
        That are asked for and are in the data.
    absent : dict of int to str
        Those that are asked for and are not.
    """

    tags: tuple[str, ...]
    raws: tuple[RawFile, ...]
    files: CalibrationFiles
    required: tuple[str, ...]
    ifus: list[int] = field(default_factory=list)
    absent: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RawJob:
    """One IFU: the raw files that have it and belong together, and what calibrates them.

    Attributes
    ----------
    ifu : int
    raws : tuple of RawFile
    own : CcdCalibration
    notes : tuple of str
        Warnings.
    """

    ifu: int
    raws: tuple[RawFile, ...]
    own: CcdCalibration
    notes: tuple[str, ...] = ()

    def header(self, frames: Frames, tags: Sequence[str]) -> IfuHeader:
        """Start the headers of its products: the first raw frame, the frames that went into them.

        Parameters
        ----------
        frames : Frames
            Of the run.
        tags : sequence of str
            Tags of raw frames; of those only the ones used are named.
        """
        paths = {raw.path for raw in self.raws}
        used = [frame for frame in frames if frame.path in paths or frame.tag not in tags]
        base = raw_header(self.raws[0].primary, self.raws[0].headers[self.ifu])
        return IfuHeader(self.ifu, base, used)


def open_raw_set(
    frames: Frames, tags: Sequence[str], required: Sequence[str], p: ParamValues, ctx: RunContext
) -> RawSet:
    """Open all files, read all headers and tables, and find the IFUs to process (``nifu``).

    Parameters
    ----------
    frames : Frames
    tags : sequence of str
        Of the raw frames.
    required : sequence of str
        Calibrations without which an IFU cannot be made.
    p : ParamValues
    ctx : RunContext

    Raises
    ------
    InputError
        With all faults that concern the whole run.
    """
    problems = ctx.problems
    raws: list[RawFile] = []
    given = {frame for tag in tags for frame in frames[tag]}
    for frame in filter(given.__contains__, frames):
        raw = attempt(problems, open_raw, frame.path, default=None)
        if raw is not None:
            raws.append(raw)
            check_date(raw, problems)
            check(raw.path, INPUT_RULES.get(frame.tag, ()), raw.primary, ctx)
    calibrations = [declared.tag for declared in ctx.spec.inputs if declared.tag not in tags]
    paths = {tag: [frame.path for frame in frames[tag]] for tag in calibrations}
    files = open_calibrations(paths, problems)
    check_calibrations(paths, files, ctx)
    problems.raise_if_any()
    found = RawSet(tuple(tags), tuple(raws), files, tuple(required))
    there, absent = choose_ifus(raws, p.nifu, problems)
    found.ifus.extend(there)
    found.absent.update(absent)
    problems.raise_if_any()
    return found


def check_date(raw: RawFile, problems: Problems) -> None:
    """Without it the C recipes reduce everything and then write no product."""
    if not isinstance(raw.primary.get("DATE-OBS"), str):
        problems.add(
            raw.path,
            "DATE-OBS",
            expected="the date of the exposure",
            found=repr(raw.primary.get("DATE-OBS")),
            remedy="Use raw data as delivered by ESO.",
        )


def choose_ifus(raws: Sequence[RawFile], nifu: int, problems: Problems) -> tuple[list[int], dict[int, str]]:
    """Sort IFUs that are asked for into those of the data, and others with the reason."""
    there: list[int] = []
    absent: dict[int, str] = {}
    for ifu in IFUS if nifu in (0, -1) else [nifu]:
        if any(ifu in raw.headers or ifu in raw.faults for raw in raws):
            there.append(ifu)
        else:
            absent[ifu] = f"no CHAN{ifu:02d} in any raw exposure"
    if raws and not there:
        problems.add(
            raws[0].path,
            "extensions",
            expected=f"CHAN{nifu:02d} (nifu={nifu})" if nifu > 0 else "CHAN01 to CHAN24",
            found=", ".join(f"CHAN{i:02d}" for i in sorted(raws[0].headers)) or "none",
        )
    return there, absent


def usable_raws(ifu: int, raws: Sequence[RawFile]) -> tuple[list[RawFile], list[str]]:
    """Choose the exposures that have a channel and belong to the first one that has it; why others do not.

    Those that another detector, read-out mode or binning made are left out (measured against 2.8.7).
    """
    usable: list[RawFile] = []
    reasons: list[str] = []
    for raw in raws:
        reason = setup_difference(usable[0] if usable else raw, raw, ifu)
        if reason:
            reasons.append(reason)
        else:
            usable.append(raw)
    return usable, reasons


def job_of(
    ifu: int, found: RawSet, p: ParamValues, least: int, raws: Sequence[RawFile] | None = None
) -> RawJob:
    """Collect what one IFU needs.

    Frames left out by `usable_raws` are noted.

    Parameters
    ----------
    ifu : int
    found : RawSet
    p : ParamValues
    least : int
        Exposures that are needed.
    raws : sequence of RawFile, optional
        Some of the exposures (those with one lamp, say) in place of all.

    Raises
    ------
    InputError
        With the reason why it cannot be made.
    """
    usable, reasons = usable_raws(ifu, found.raws if raws is None else raws)
    if len(usable) < least:
        tags = ", ".join(found.tags)
        text = f"{len(usable)} usable exposures {tags}, {least} are needed"
        raise InputError("", "; ".join([text, *reasons]))
    notes = [f"IFU {ifu}: exposure skipped: {reason}" for reason in reasons]
    own = ccd_calibration_of(ifu, found.files, usable[0], p, notes, found.required)
    return RawJob(ifu, tuple(usable), own, tuple(notes))

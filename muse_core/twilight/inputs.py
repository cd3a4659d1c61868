# SPDX-License-Identifier: BSD-3-Clause
"""Open and check everything a sky-flat run needs, before the first pixel is processed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import check
from muse_core.detector.calibration_rules import check_calibrations, check_geometry
from muse_core.detector.calibrations import (
    CalibrationFiles,
    IfuCalibration,
    attempt,
    calibration_of,
    matching_illum,
    open_calibrations,
)
from muse_core.detector.fitsfile import opened
from muse_core.detector.plan import combine_plan, exposures_needed
from muse_core.detector.raw_levels import check_levels
from muse_core.detector.raw_sets import usable_raws
from muse_core.detector.rawframe import RawFile, open_raw
from muse_core.detector.tables import IFUS
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError, Problems
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frame, Frames
from muse_core.framework.spec import ParamValues


@dataclass(frozen=True)
class IfuInputs:
    """All that is needed to process one IFU: exposures with their numbers, and calibrations."""

    ifu: int
    exposures: tuple[RawFile, ...]
    numbers: tuple[int, ...]
    illum: RawFile | None
    calibration: IfuCalibration


@dataclass
class TwilightInputs:
    """Checked inputs: usable IFUs, failed IFUs with reasons, and warnings."""

    exposures: tuple[RawFile, ...]
    illum: RawFile | None
    ifus: list[IfuInputs]
    failed: dict[int, str]
    vignetting_mask: npt.NDArray[np.bool_] | None
    mode: str
    warnings: list[str] = field(default_factory=list)

    @property
    def narrow_field(self) -> bool:
        """Narrow-field mode."""
        return self.mode.startswith("NFM")

    def used_frames(self, frames: Frames) -> list[Frame]:
        """Frames that are in the cube: raw frames that an IFU used, all calibrations."""
        used = {exposure.path for job in self.ifus for exposure in job.exposures}
        used |= {job.illum.path for job in self.ifus if job.illum is not None}
        raw = [frame for tag in ("SKYFLAT", "ILLUM") for frame in frames[tag] if frame.path in used]
        return [*raw, *(f for f in frames if f.tag not in ("SKYFLAT", "ILLUM", "VIGNETTING_MASK"))]


def _read_mask(path: Path) -> npt.NDArray[np.bool_]:
    try:
        with opened(path, memmap=False) as hdus:
            for hdu in hdus:
                if hdu.is_image and hdu.data is not None:
                    if hdu.data.ndim != 2 or hdu.data.dtype.kind not in "iub":
                        break
                    return np.asarray(hdu.data) != 0
    except (OSError, TypeError) as error:
        raise InputError(path, "VIGNETTING_MASK", expected="a readable image", found=error) from None
    raise InputError(
        path, "VIGNETTING_MASK", expected="a two-dimensional integer image", found="none in this file"
    )


def _inputs_of(
    ifu: int,
    exposures: tuple[RawFile, ...],
    illum: RawFile | None,
    files: CalibrationFiles,
    p: ParamValues,
    defects: Defects,
    warnings: list[str],
) -> IfuInputs:
    """Collect the inputs of one IFU, or raise `InputError` with the reason why it cannot be used."""
    usable, reasons = usable_raws(ifu, exposures)
    needed = exposures_needed(combine_plan(p))
    if len(usable) < needed:
        raise InputError(
            "",
            "; ".join(reasons)
            or f"{len(usable)} SKYFLAT frames have CHAN{ifu:02d}, combine={p.combine} needs {needed}",
        )
    warnings += [f"IFU {ifu}: exposure skipped: {reason}" for reason in reasons]
    calibration = calibration_of(ifu, files, usable[0], p, warnings)
    if p.scale and min(e.exptime for e in usable) <= 0:
        raise InputError("", "scale=true", expected="a positive EXPTIME in all SKYFLAT frames")
    counted = usable if defects.used_exposures_numbered else exposures
    numbers = [n for n, raw in enumerate(counted, 1) if any(raw is one for one in usable)]
    matching = matching_illum(illum, usable[0], ifu, warnings)
    return IfuInputs(ifu, tuple(usable), tuple(numbers), matching, calibration)


def open_inputs(frames: Frames, p: ParamValues, ctx: RunContext) -> TwilightInputs:
    """Open all files and sort the IFUs into usable and failed ones.

    Raises
    ------
    InputError
        With all faults that concern the whole run.
    """
    problems = ctx.problems
    paths = {declared.tag: [f.path for f in frames[declared.tag]] for declared in ctx.spec.inputs}
    if not p.lambdamin < p.lambdamax:
        problems.add(
            "",
            "parameters lambdamin, lambdamax",
            expected="lambdamin below lambdamax",
            found=f"{p.lambdamin:g}, {p.lambdamax:g}",
        )
    for tag in ("ILLUM", "GEOMETRY_TABLE", "VIGNETTING_MASK"):
        if len(paths[tag]) > 1:
            problems.add(
                paths[tag][1], f"input {tag}", expected="at most one frame", found=str(len(paths[tag]))
            )
    opened_raws = [attempt(problems, open_raw, path, default=None) for path in paths["SKYFLAT"]]
    exposures = tuple(raw for raw in opened_raws if raw is not None)
    for raw in exposures:
        check(raw.path, INPUT_RULES["SKYFLAT"], raw.primary, ctx)
    illum = attempt(problems, open_raw, paths["ILLUM"][0], default=None) if paths["ILLUM"] else None
    if illum is not None:
        check(illum.path, INPUT_RULES["ILLUM"], illum.primary, ctx)
    files = open_calibrations(paths, problems)
    check_calibrations(paths, files, ctx)
    for path in paths["GEOMETRY_TABLE"]:
        check_geometry(path, files.found["GEOMETRY_TABLE"], ctx)
    masks = paths["VIGNETTING_MASK"]
    mask = attempt(problems, _read_mask, masks[0], default=None) if masks else None
    if mask is not None and not mask.any():
        ctx.log.warning("%s: pixels: expected some that are vignetted (not 0), found none", masks[0])
    modes = sorted({str(e.primary.get("ESO INS MODE")) for e in exposures})
    if len(modes) > 1:
        problems.add(
            exposures[-1].path,
            "ESO INS MODE",
            expected="one mode in all SKYFLAT frames",
            found=", ".join(modes),
        )
    problems.raise_if_any()
    inputs = TwilightInputs(exposures, illum, [], {}, mask, modes[0])
    for ifu in IFUS:
        if not any(ifu in e.headers or ifu in e.faults for e in exposures):
            continue
        try:
            inputs.ifus.append(_inputs_of(ifu, exposures, illum, files, p, ctx.defects, inputs.warnings))
        except InputError as error:
            inputs.failed[ifu] = str(error)
    _refuse_if_nothing_is_left(inputs, problems)
    ifus = [own.ifu for own in inputs.ifus]
    check_levels(exposures, "SKYFLAT", ifus, ctx)
    check_levels([illum] if illum else [], "ILLUM", ifus, ctx)
    for warning in dict.fromkeys(inputs.warnings):
        ctx.log.warning("%s", warning)
    return inputs


def _refuse_if_nothing_is_left(inputs: TwilightInputs, problems: Problems) -> None:
    if inputs.ifus:
        return
    for ifu, reason in inputs.failed.items():
        problems.add("", f"IFU {ifu}", found=reason)
    if not inputs.failed:
        problems.add("", "input SKYFLAT", expected="channels CHAN01 to CHAN24", found="none in common")
    problems.raise_if_any()

# SPDX-License-Identifier: BSD-3-Clause
"""Calibrations of the autocalibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.data.calibration import read_columns
from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import check
from muse_core.framework import InputError
from muse_core.postproc.autocalibration.factors import AutocalModel, load_factors
from muse_core.postproc.inputs.calibration_frames import read_header
from muse_core.postproc.white_light import calibrations as white_light

if TYPE_CHECKING:
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


@dataclass(frozen=True)
class AutocalCalibrations:
    """Factors given by the user (autocalib=user), and a mask of the sky (autocalib=deepfield)."""

    factors: AutocalModel | None
    mask: white_light.MaskCalibrations


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> AutocalCalibrations:
    """Read AUTOCAL_FACTORS (autocalib=user) or SKY_MASK."""
    factors = None
    if p.autocalib == "user":
        frames.require(
            "AUTOCAL_FACTORS", "autocalib=user",
            "Add it to the set of frames, or choose autocalib=deepfield or none.",
        )  # fmt: skip
        factors = frames.read("AUTOCAL_FACTORS", lambda frame: _factors(frame, ctx))
    elif frames["AUTOCAL_FACTORS"]:
        ctx.log.warning("AUTOCAL_FACTORS is not used with autocalib=%s", p.autocalib)
    return AutocalCalibrations(factors, white_light.load(frames, p, ctx))


def _factors(frame: Frame, ctx: RunContext) -> AutocalModel | None:
    names = ("ifu", "sli", "quad", "npts", "corr")
    found = read_columns(frame, names, sorted_by=None)
    columns = {name: column for name, column in zip(names, found, strict=True) if column is not None}
    check(frame.path, INPUT_RULES["AUTOCAL_FACTORS"], columns, ctx)
    try:
        return load_factors(
            read_header(frame),
            columns,
            ctx.log,
            factors_by_row_number=ctx.defects.factors_by_row_number,
        )
    except ValueError as error:
        raise InputError(
            frame.path, "keywords ESO DRS MUSE LAMBDA<k> MIN, MAX", expected="adjoining ranges", found=error
        ) from error

# SPDX-License-Identifier: BSD-3-Clause
"""Calibrations of the Raman correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.calibration import read_columns
from muse_core.postproc.lsf.calibrations import checked_profiles
from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.tables import LsfTable

if TYPE_CHECKING:
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
    from muse_core.postproc.white_light.calibrations import MaskCalibrations

Lines = tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]
"""Columns lambda, flux, group, dq of RAMAN_LINES."""


@dataclass(frozen=True)
class RamanCalibrations:
    """Lines of the molecules, and profiles (None without LSF_PROFILE, or where they are of no use)."""

    lines: Lines
    lsf: LsfImage | LsfTable | None
    mask: MaskCalibrations | None = None
    """SKY_MASK, outside of which no row is taken (not in muse_scipost)."""


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> RamanCalibrations | None:
    """Read RAMAN_LINES, and with them LSF_PROFILE."""
    lines = frames.read("RAMAN_LINES", _lines)
    if lines is None:
        return None
    frames.check("RAMAN_LINES", dict(zip(("lambda", "flux", "group"), lines[:3], strict=True)))
    lsf = checked_profiles(frames, None)
    if isinstance(lsf, LsfTable) and ctx.defects.raman_needs_lsf_images:
        return RamanCalibrations(lines, None)
    if lsf is not None:
        frames.use("LSF_PROFILE")
    return RamanCalibrations(lines, lsf)


def _lines(frame: Frame) -> Lines:
    columns = read_columns(frame, ("lambda", "flux", "group", "dq"), extname="LINES", sorted_by=None)
    lam, flux, group, dq = (np.asarray(column, dtype=np.float64) for column in columns)
    return lam, flux, np.rint(group), np.rint(dq)

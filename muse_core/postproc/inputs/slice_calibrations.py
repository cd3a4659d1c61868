# SPDX-License-Identifier: BSD-3-Clause
"""Calibrations of the slice autocalibration and of the Raman step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.calibration import read_columns
from muse_core.data.header_values import uses_laser_guide_stars
from muse_core.framework import Frame, Frames, InputError
from muse_core.postproc.autocalibration.factors import AutocalModel, load_factors
from muse_core.postproc.inputs.calibrations import Calibrations, load_header
from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.load import load_lsf
from muse_core.postproc.lsf.tables import LsfTable

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.raman.step import Lines


@dataclass(frozen=True)
class SliceCalibrations:
    """What these steps need; None where it was not given."""

    factors: AutocalModel | None = None
    raman_lines: Lines | None = None
    lsf: LsfImage | LsfTable | None = None


def load_slice_calibrations(
    frames: Frames, p: ParamValues, calib: Calibrations, ctx: RunContext
) -> SliceCalibrations:
    """Load AUTOCAL_FACTORS (autocalib=user), RAMAN_LINES and with them LSF_PROFILE."""
    factors = _factors(frames, calib, ctx) if p.autocalib == "user" else None
    if p.autocalib != "user" and frames["AUTOCAL_FACTORS"]:
        ctx.log.warning("AUTOCAL_FACTORS is not used with autocalib=%s", p.autocalib)
    lines = _raman_lines(frames, calib, ctx)
    lsf = calib.lsf
    if lines is not None and lsf is None and frames["LSF_PROFILE"]:
        try:
            lsf = load_lsf([frame.path for frame in frames["LSF_PROFILE"]])
            if not (ctx.compat and isinstance(lsf, LsfTable)):  # of no use for the C recipe
                calib.used.extend(frames["LSF_PROFILE"])
        except InputError as error:
            ctx.problems.extend(error)
    return SliceCalibrations(factors, lines, lsf)


def warn_without_lasers(extra: SliceCalibrations, exposures: list[Reduction], ctx: RunContext) -> None:
    """Warn once about exposures that RAMAN_LINES have no effect on."""
    dark = [f"{e.number}" for e in exposures if not uses_laser_guide_stars(e.header)]
    if extra.raman_lines is not None and dark:
        ctx.log.warning("RAMAN_LINES has no effect without lasers (exposures %s)", ", ".join(dark))


def _factors(frames: Frames, calib: Calibrations, ctx: RunContext) -> AutocalModel | None:
    frame = frames.first("AUTOCAL_FACTORS")
    if frame is None:
        ctx.problems.add(
            "", "input AUTOCAL_FACTORS", expected="a frame with this tag for autocalib=user", found="none",
            remedy="Add it to the set of frames, or choose autocalib=deepfield or none.",
        )  # fmt: skip
        return None
    names = ("ifu", "sli", "quad", "npts", "corr")
    try:
        columns = dict(zip(names, read_columns(frame, names, sorted_by=None), strict=True))
        model = load_factors(load_header(frame) or {}, columns, ctx.log, compat=ctx.compat)  # type: ignore[arg-type]
    except InputError as error:
        ctx.problems.extend(error)
        return None
    except ValueError as error:
        ctx.problems.add(
            frame.path,
            "keywords ESO DRS MUSE LAMBDA<k> MIN, MAX",
            expected="adjoining ranges",
            found=str(error),
        )
        return None
    calib.used.append(frame)
    return model


def _raman_lines(frames: Frames, calib: Calibrations, ctx: RunContext) -> Lines | None:
    frame: Frame | None = frames.first("RAMAN_LINES")
    if frame is None:
        return None
    try:
        lam, flux, group, dq = read_columns(
            frame, ("lambda", "flux", "group", "dq"), extname="LINES", sorted_by=None
        )
    except InputError as error:
        ctx.problems.extend(error)
        return None
    calib.used.append(frame)
    assert lam is not None and flux is not None and group is not None and dq is not None  # noqa: S101, PT018
    return lam, flux, np.rint(group).astype(np.int64), np.rint(dq).astype(np.int64)

# SPDX-License-Identifier: BSD-3-Clause
"""Calibrations of the sky subtraction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muse_core.framework import InputError
from muse_core.postproc.lsf.calibrations import checked_profiles
from muse_core.postproc.sky.line_list import SkyLines, load_sky_continuum, load_sky_lines
from muse_core.postproc.white_light import calibrations as white_light

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
    from muse_core.postproc.lsf.images import LsfImage
    from muse_core.postproc.lsf.tables import LsfTable


@dataclass(frozen=True)
class SkyCalibrations:
    """What the method asked for needs; None where it was not given."""

    lines: SkyLines | None
    continuum: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None
    lsf: LsfImage | LsfTable | None
    lsf_files: tuple[Path, ...]
    """Where the profiles come from, for messages."""
    mask: white_light.MaskCalibrations


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> SkyCalibrations:
    """Read SKY_LINES, SKY_CONTINUUM and LSF_PROFILE (for a model of the sky), and SKY_MASK."""
    mask = white_light.load(frames, p, ctx)
    if p.skymethod not in ("model", "subtract-model"):
        return SkyCalibrations(None, None, None, (), mask)
    needed = ["LSF_PROFILE", "SKY_LINES"]
    if p.skymethod == "subtract-model" and not ctx.defects.subtract_model_without_continuum:
        needed.append("SKY_CONTINUUM")
    for tag in needed:
        frames.require(
            tag,
            f"skymethod={p.skymethod}",
            "Add it to the set of frames, or choose skymethod=simple or none.",
        )
    return SkyCalibrations(
        *read_sky(frames, ctx),
        checked_profiles(frames),
        tuple(frame.path for frame in frames["LSF_PROFILE"]),
        mask,
    )


Continuum = tuple["npt.NDArray[np.float64]", "npt.NDArray[np.float64]"]


def read_sky(frames: CalibrationFrames, ctx: RunContext) -> tuple[SkyLines | None, Continuum | None]:
    """Read SKY_LINES and SKY_CONTINUUM, None for what is not there, and check what they say."""
    lines = frames.read("SKY_LINES", _lines)
    frames.check("SKY_LINES", None if lines is None else {"lambda": lines.lam, "flux": lines.flux})
    continuum = frames.read("SKY_CONTINUUM", lambda frame: _continuum(frame, ctx))
    frames.check("SKY_CONTINUUM", continuum and {"lambda": continuum[0], "flux": continuum[1]})
    return lines, continuum


def _lines(frame: Frame) -> SkyLines:
    return load_sky_lines(frame.path)


def _continuum(frame: Frame, ctx: RunContext) -> Continuum | None:
    continuum = load_sky_continuum(frame.path)
    if continuum is None:
        if not ctx.defects.continuum_extension_optional:
            raise InputError(
                frame.path,
                "extension CONTINUUM",
                expected="a table with columns lambda and flux",
                found="none",
                remedy="Give a SKY_CONTINUUM made by muse_create_sky or muse_scipost.",
            )
        ctx.log.warning("Could not load sky continuum from %s", frame.path)
    return continuum

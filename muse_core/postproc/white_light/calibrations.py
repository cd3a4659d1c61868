# SPDX-License-Identifier: BSD-3-Clause
"""A SKY_MASK of the user, and what is needed to find the rows that lie on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from muse_core.postproc.astrometry import step as astrometry
from muse_core.postproc.white_light.sky_mask import SkyMask, load_sky_mask

if TYPE_CHECKING:
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames


@dataclass(frozen=True)
class MaskCalibrations:
    """The mask, or None; masks with celestial coordinates are looked up through the astrometry."""

    mask: SkyMask | None
    astrometry: astrometry.AstrometryCalibrations


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> MaskCalibrations:
    """Read SKY_MASK, if it is of use for this run, with ASTROMETRY_WCS and OFFSET_LIST."""
    wanted = p.skymethod in ("model", "simple") or p.autocalib == "deepfield"
    mask = frames.read("SKY_MASK", _mask) if wanted else None
    frames.check("SKY_MASK", None if mask is None else mask.values())
    return MaskCalibrations(mask, astrometry.load(frames, p, ctx))


def _mask(frame: Frame) -> SkyMask:
    return load_sky_mask(frame.path)

# SPDX-License-Identifier: BSD-3-Clause
"""The LSF_PROFILE frames of a run as one set of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.load import load_lsf
from muse_core.postproc.lsf.tables import LsfTable

if TYPE_CHECKING:
    from muse_core.framework import Frame
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames, Products


def read_profiles(frames: tuple[Frame, ...]) -> LsfImage | LsfTable:
    """Read the profiles of all frames."""
    return load_lsf([frame.path for frame in frames])


def checked_profiles(
    frames: CalibrationFrames, products: Products | None = "all"
) -> LsfImage | LsfTable | None:
    """Return the profiles of a run, None without LSF_PROFILE; what they cannot be is noted.

    Parameters
    ----------
    products : which products name the frames; None leaves that to the caller
    """
    profiles = frames.read_all("LSF_PROFILE", read_profiles, products)
    frames.check("LSF_PROFILE", None if profiles is None else profiles.values())
    return profiles

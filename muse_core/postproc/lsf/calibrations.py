# SPDX-License-Identifier: BSD-3-Clause
"""The LSF_PROFILE frames of a run as one set of profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.load import load_lsf
from muse_core.postproc.lsf.tables import LsfTable

if TYPE_CHECKING:
    from muse_core.framework import Frame


def read_profiles(frames: tuple[Frame, ...]) -> LsfImage | LsfTable:
    """Read the profiles of all frames."""
    return load_lsf([frame.path for frame in frames])

# SPDX-License-Identifier: BSD-3-Clause
"""Calibration files: what is there (index), what belongs to what (rules), and why (choice).

``cards`` reads headers, ``classify`` makes rows of them, ``scan`` and ``store`` keep the index, ``choose``
finds the calibration of an exposure, ``compose`` and ``plan`` write sets of frames, ``check`` holds the same
table against the frames of a run.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muse_core.calib.shipped import (
        CalibrationNotFoundError,
        calibration_folder,
        find_calibration,
        scipost_calibrations,
    )

__all__ = ["CalibrationNotFoundError", "calibration_folder", "find_calibration", "scipost_calibrations"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from muse_core.calib import shipped

        return getattr(shipped, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

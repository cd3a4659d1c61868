# SPDX-License-Identifier: BSD-3-Clause
"""What the calibrations are for that recipes for raw frames share."""

from __future__ import annotations

CALIBRATIONS = {
    "ILLUM": "Evens out the slices of an IFU; without it their relative levels are those of the flat.",
    "MASTER_BIAS": "Required for raw frames, from muse_bias.",
    "MASTER_DARK": "Subtracted if given; rarely needed.",
    "MASTER_FLAT": "Required for raw frames, from muse_flat.",
    "BADPIX_TABLE": "Pixels to leave out besides those that the masters flag; needed for no others.",
    "TRACE_TABLE": "Required, from muse_flat.",
    "WAVECAL_TABLE": "Required, from muse_wavecal.",
    "GEOMETRY_TABLE": "Required, from muse_geometry or the static calibrations.",
}

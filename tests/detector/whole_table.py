# SPDX-License-Identifier: BSD-3-Clause
"""All rows of an image at once."""

import numpy as np

from muse_core.detector.rows import row_wavelengths, slice_rows

NAMES = ("xpos", "ypos", "lam", "data", "stat", "dq", "origin")


def image_to_rows(data, stat, dq, pixels, low=-np.inf, high=np.inf):
    """Columns of the table of an image, as a dictionary."""
    lam = row_wavelengths(pixels)
    parts = [slice_rows((data, stat, dq), pixels, s, lam.of_slice(s), (low, high)) for s in range(48)]
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in NAMES}

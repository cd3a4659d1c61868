# SPDX-License-Identifier: BSD-3-Clause
"""Directions and angles on the sphere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from muse_core.alignment.arrays import Floats


def unit_vectors(ra: npt.ArrayLike, dec: npt.ArrayLike) -> Floats:
    """Directions of positions in degrees, float64[3, ...]."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def separation(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Angle between two positions, all in degrees.

    >>> round(separation(359.5, 0.0, 0.5, 0.0), 9)
    1.0
    """
    a, b = unit_vectors(ra1, dec1), unit_vectors(ra2, dec2)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))

# SPDX-License-Identifier: BSD-3-Clause
"""Kernel of the projection onto the sphere."""

from __future__ import annotations

import math

import numpy as np

from muse_core.data.elementary_functions import HALF_PI, HALF_PI_REST, SMALL, small_arctangent, turn_angle
from muse_core.framework.kernels import njit

_RAD = math.pi / 180.0
_FAST_DEG = 0.9 * math.degrees(SMALL)
_ROWS = 1024


@njit(cache=True, nogil=True, error_model="numpy")
def project_rows(xpos, ypos, cd11, cd12, cd21, cd22, x0, y0):
    """Kernel of `apply_astrometry`: float32[n] arrays in place, the rest float64.

    Near the pole, but not on it nor on the line where the angle jumps, there is a formula without branches,
    so that the loop is vectorised.
    """
    for start in range(0, xpos.size, _ROWS):
        stop = min(start + _ROWS, xpos.size)
        special = 0
        a, b = xpos[start:stop], ypos[start:stop]
        for i in range(a.size):
            x, y = _plane(a[i], b[i], cd11, cd12, cd21, cd22, x0, y0)
            special += not _is_near(x, y)
        while start < stop:
            end = stop
            if special:  # up to the next special row
                end = start
                x, y = _plane(xpos[end], ypos[end], cd11, cd12, cd21, cd22, x0, y0)
                while end < stop and _is_near(x, y):
                    end += 1
                    if end < stop:
                        x, y = _plane(xpos[end], ypos[end], cd11, cd12, cd21, cd22, x0, y0)
            a, b = xpos[start:end], ypos[start:end]
            for i in range(a.size):
                x, y = _plane(a[i], b[i], cd11, cd12, cd21, cd22, x0, y0)
                a[i], b[i] = _native_near(x, y)
            if end < stop:
                x, y = _plane(xpos[end], ypos[end], cd11, cd12, cd21, cd22, x0, y0)
                xpos[end], ypos[end] = _native(x, y)
            start = end + 1


@njit(nogil=True, error_model="numpy")
def _is_near(x, y):
    """Say whether `_native_near` is made for a point."""
    return (x != 0.0) & (x * x + y * y < _FAST_DEG * _FAST_DEG)


@njit(nogil=True, error_model="numpy")
def _plane(xpos, ypos, cd11, cd12, cd21, cd22, x0, y0):
    """Return the coordinates of a row in the tangent plane [deg]."""
    dx, dy = np.float64(xpos) - x0, np.float64(ypos) - y0
    return cd11 * dx + cd12 * dy, cd21 * dx + cd22 * dy


@njit(nogil=True, error_model="numpy")
def _native_near(x, y):
    """Return phi and theta - pi/2 for x != 0 and a distance from the pole below `_FAST_DEG`."""
    distance = small_arctangent(math.sqrt(x * x + y * y) * _RAD)
    theta = HALF_PI + (HALF_PI_REST - distance)  # rounded as theta is when it is computed first
    return turn_angle(x, -y), theta - HALF_PI


@njit(nogil=True, error_model="numpy")
def _native(x, y):
    """Return phi and theta - pi/2 for any point."""
    phi = math.atan2(x, -y)
    if phi < 0.0:
        phi += 2.0 * math.pi
    radius = math.sqrt(x * x + y * y)
    theta = math.atan(1.0 / _RAD / radius) if radius > 0.0 else math.pi / 2
    return phi, theta - math.pi / 2

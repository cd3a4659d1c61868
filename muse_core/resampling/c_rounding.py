# SPDX-License-Identifier: BSD-3-Clause
"""Spaxels of rows with the rounding of the C pipeline (`Defects.arc_sine_rounding`).

The C pipeline goes through the native angles of the tangent-plane projection.  The arc sine of a number
near 1 costs half of the digits, so near the tangent point positions are off by 1e-4 pixel in the wide and by
1e-2 in the narrow field, and a row at the edge of two spaxels may be counted in the other one.  With the same
expressions and the mathematical library of the system every row ends where C has it (measured with 2.8.7).
"""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit

_DEGREE = 180.0 / math.pi


@njit(cache=True, nogil=True)
def locate_through_angles(xpos, ypos, ra_ref, dec_ref, ra0, dec0, inverse, crpix1, crpix2, nx, ny, spaxel):  # type: ignore[no-untyped-def]
    """Find the spaxel of each row; the parameters are those of `voxels.locate_celestial`."""
    sin0, cos0 = math.sin(dec0 / _DEGREE), math.cos(dec0 / _DEGREE)
    for i in range(xpos.size):
        d = (np.float64(ypos[i]) + dec_ref) / _DEGREE
        da = (np.float64(xpos[i]) + ra_ref) / _DEGREE - ra0 / _DEGREE
        sind, cosd, cosa = math.sin(d), math.cos(d), math.cos(da)
        theta = math.asin(sind * sin0 + cosd * cos0 * cosa)
        phi = math.pi + math.atan2(-cosd * math.sin(da), sind * cos0 - cosd * sin0 * cosa)
        radius = _DEGREE / math.tan(theta)
        xi, eta = radius * math.sin(phi), -radius * math.cos(phi)
        px = inverse[0, 0] * xi + inverse[0, 1] * eta + crpix1 - 0.5
        py = inverse[1, 0] * xi + inverse[1, 1] * eta + crpix2 - 0.5
        # not a number ends in the first spaxel, what is outside at the border
        ix = int(min(px, nx - 1.0)) if px > 0.0 else 0
        iy = int(min(py, ny - 1.0)) if py > 0.0 else 0
        spaxel[i] = iy * nx + ix

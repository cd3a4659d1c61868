# SPDX-License-Identifier: BSD-3-Clause
"""The TAN projection of a single position by way of native angles, with the rounding errors of 2.8.7.

The native latitude of a field is close to 90 degrees, where its arc sine has few digits left: positions are
noisy by 1e-4 pixels in the narrow field. The reference pixel of the preview comes from such positions and
decides which pixel a value goes to, so equal pictures need equal formulas, down to the functions of the C
library. Everything else takes the methods of `TanWcs`.
"""

from __future__ import annotations

from math import asin, atan, atan2, cos, hypot, inf, pi, sin, tan

from .tan import TanWcs

DEGREES = 180.0 / pi


def native_sky(wcs: TanWcs, x: float, y: float, *, radians: bool = False) -> tuple[float, float]:
    """Longitude and latitude in degrees of a FITS pixel position.

    With ``radians`` the longitude is added up before it is converted, which gives the corners of the preview
    their last digit; otherwise positions are those of the source lists, bit by bit.
    """
    dx, dy = x - wcs.crpix[0], y - wcs.crpix[1]
    (a, b), (c, d) = wcs.cd
    px, py = a * dx + b * dy, c * dx + d * dy
    phi = atan2(px, -py)
    radius = hypot(px, py)
    theta = atan(DEGREES / radius if radius > 0 else inf)
    dec0 = wcs.crval[1] / DEGREES
    dra = atan2(cos(theta) * sin(phi), sin(theta) * cos(dec0) + cos(theta) * sin(dec0) * cos(phi))
    sine = sin(theta) * sin(dec0) - cos(theta) * cos(dec0) * cos(phi)
    ra = (wcs.crval[0] / DEGREES + dra) * DEGREES if radians else wcs.crval[0] + dra * DEGREES
    return ra, asin(min(1.0, max(-1.0, sine))) * DEGREES


def native_pixel(wcs: TanWcs, ra: float, dec: float) -> tuple[float, float]:
    """FITS pixel position of a sky position in degrees.

    Raises
    ------
    ValueError
        If the projection does not reach it.
    """
    dra = ra / DEGREES - wcs.crval[0] / DEGREES
    dec, dec0 = dec / DEGREES, wcs.crval[1] / DEGREES
    phi = pi + atan2(-cos(dec) * sin(dra), sin(dec) * cos(dec0) - cos(dec) * sin(dec0) * cos(dra))
    sine = sin(dec) * sin(dec0) + cos(dec) * cos(dec0) * cos(dra)
    if sine <= 0:
        raise ValueError("the exposures do not lie on one tangent plane")
    radius = DEGREES / tan(asin(min(1.0, sine)))
    px, py = radius * sin(phi), -radius * cos(phi)
    (a, b), (c, d) = wcs.cd
    det = a * d - b * c
    return (d * px - b * py) / det + wcs.crpix[0], (a * py - c * px) / det + wcs.crpix[1]

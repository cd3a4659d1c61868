# SPDX-License-Identifier: BSD-3-Clause
"""The gnomonic (TAN) projection of a field image, without the start-up cost of a full WCS library."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class TanWcs:
    """A two-dimensional TAN world coordinate system (Calabretta & Greisen 2002, section 5.1.3).

    Pixels are FITS pixels: the centre of the first one is 1. Longitudes stay continuous around ``crval[0]``;
    they may be negative or exceed 360.

    Examples
    --------
    >>> wcs = TanWcs(crpix=(10.0, 20.0), crval=(150.0, -30.0), cd=((-5.5e-5, 0.0), (0.0, 5.5e-5)))
    >>> ra, dec = wcs.sky(10.0, 20.0)
    >>> round(float(ra), 9), round(float(dec), 9)
    (150.0, -30.0)
    """

    crpix: tuple[float, float]
    crval: tuple[float, float]
    cd: tuple[tuple[float, float], tuple[float, float]]

    def sky(self, x, y):
        """Longitude and latitude in degrees of FITS pixel positions."""
        dx = np.asarray(x, dtype=np.float64) - self.crpix[0]
        dy = np.asarray(y, dtype=np.float64) - self.crpix[1]
        (a, b), (c, d) = self.cd
        xi = np.radians(a * dx + b * dy)
        eta = np.radians(c * dx + d * dy)
        dec0 = np.radians(self.crval[1])
        sin0, cos0 = np.sin(dec0), np.cos(dec0)
        base = cos0 - eta * sin0
        ra = self.crval[0] + np.degrees(np.arctan2(xi, base))
        dec = np.degrees(np.arctan2(sin0 + eta * cos0, np.hypot(xi, base)))
        return ra, dec

    def plane(self, ra, dec):
        """Tangent-plane coordinates (xi, eta) in degrees of sky positions, measured from ``crval``."""
        dra = np.radians(np.asarray(ra, dtype=np.float64) - self.crval[0])
        dec = np.radians(np.asarray(dec, dtype=np.float64))
        return self._plane(np.sin(dra), np.cos(dra), np.sin(dec), np.cos(dec))

    def _plane(self, sin_ra, cos_ra, sin_dec, cos_dec):
        dec0 = np.radians(self.crval[1])
        sin0, cos0 = np.sin(dec0), np.cos(dec0)
        down = sin_dec * sin0 + cos_dec * cos0 * cos_ra
        with np.errstate(divide="ignore", invalid="ignore"):
            xi = cos_dec * sin_ra / down
            eta = (sin_dec * cos0 - cos_dec * sin0 * cos_ra) / down
        behind = down <= 0  # on the far side of the sphere: no image there
        if np.any(behind):
            xi = np.where(behind, np.nan, xi)
            eta = np.where(behind, np.nan, eta)
        return np.degrees(xi), np.degrees(eta)

    def pixel(self, ra, dec):
        """FITS pixel positions of sky positions in degrees; NaN where the projection does not reach."""
        xi, eta = self.plane(ra, dec)
        return self._pixel_of_plane(xi, eta)

    def _pixel_of_plane(self, xi, eta):
        (a, b), (c, d) = self.cd
        det = a * d - b * c
        return (d * xi - b * eta) / det + self.crpix[0], (a * eta - c * xi) / det + self.crpix[1]

    def _frame(self):
        """Directions east, north and towards the reference point, as rows; float64[3, 3]."""
        ra0, dec0 = np.radians(self.crval[0]), np.radians(self.crval[1])
        sin_ra, cos_ra, sin0, cos0 = np.sin(ra0), np.cos(ra0), np.sin(dec0), np.cos(dec0)
        return np.array(
            [
                [-sin_ra, cos_ra, 0.0],
                [-sin0 * cos_ra, -sin0 * sin_ra, cos0],
                [cos0 * cos_ra, cos0 * sin_ra, sin0],
            ]
        )

    def directions(self, x, y):
        """Unnormalised direction vectors of FITS pixel positions, float64[3, ...]."""
        dx = np.asarray(x, dtype=np.float64) - self.crpix[0]
        dy = np.asarray(y, dtype=np.float64) - self.crpix[1]
        (a, b), (c, d) = self.cd
        xi = np.radians(a * dx + b * dy)
        eta = np.radians(c * dx + d * dy)
        east, north, towards = self._frame()
        return np.stack([east[k] * xi + north[k] * eta + towards[k] for k in range(3)])

    def pixel_of_directions(self, vectors):
        """FITS pixel positions of direction vectors float64[3, ...]; quick for many pixels."""
        east, north, towards = self._frame()
        u, v, w = vectors
        down = towards[0] * u + towards[1] * v + towards[2] * w
        if np.any(down <= 0):
            down = np.where(down > 0, down, np.nan)
        scale = np.degrees(1.0) / down
        xi = (east[0] * u + east[1] * v + east[2] * w) * scale
        eta = (north[0] * u + north[1] * v + north[2] * w) * scale
        return self._pixel_of_plane(xi, eta)

    def moved(self, dra: float, ddec: float) -> TanWcs:
        """Return the projection with its reference point moved by degrees of coordinate."""
        return replace(self, crval=(self.crval[0] + dra, self.crval[1] + ddec))

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in square degrees."""
        (a, b), (c, d) = self.cd
        return abs(a * d - b * c)

    @property
    def position_angle(self) -> float:
        """Angle of the image's y axis from north towards east, in degrees."""
        (_, b), (_, d) = self.cd
        return float(np.degrees(np.arctan2(b, d)))

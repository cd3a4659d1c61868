# SPDX-License-Identifier: BSD-3-Clause
"""The linear solution from pixels to the tangent plane."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.data.tangent_plane import deproject, project

Vector = npt.NDArray[np.float64]
MAD = 1.48
"""Standard deviation over the median of the absolute deviations, with the digits of the C recipe."""


@dataclass(frozen=True)
class Solution:
    """A plate solution.

    Parameters
    ----------
    cd : float64[2, 2]
        degrees per pixel
    crpix, crval : (float, float)
        reference pixel, and its place on the sky [deg]
    residuals : float64[n, 2]
        of all stars: tangent plane of the catalogue minus solution [deg]
    kept : bool[n]
        stars that took part in the last fit
    scale_errors, angle_errors : (float, float)
        of `scales` [arcsec] and `angles` [deg], from the scatter of the stars; NaN for three, or on a line
    """

    cd: Vector
    crpix: tuple[float, float]
    crval: tuple[float, float]
    residuals: Vector
    kept: npt.NDArray[np.bool_]
    scale_errors: tuple[float, float] = (math.nan, math.nan)
    angle_errors: tuple[float, float] = (math.nan, math.nan)

    @property
    def scales(self) -> tuple[float, float]:
        """Sizes of the rows of the matrix [arcsec]."""
        x, y = np.hypot(self.cd[:, 0], self.cd[:, 1]) * 3600.0
        return float(x), float(y)

    @property
    def angles(self) -> tuple[float, float]:
        """Directions of the rows of the matrix [deg]."""
        cd = self.cd
        x = math.atan2(-cd[0, 1], -cd[0, 0])
        y = math.atan2(-cd[1, 0], cd[1, 1])
        return math.degrees(x), math.degrees(y)

    @property
    def spread(self) -> tuple[float, float]:
        """Robust scatter of the residuals of the stars that took part [arcsec]."""
        x, y = MAD * 3600.0 * np.median(np.abs(self.residuals[self.kept]), axis=0)
        return float(x), float(y)

    def turned(self, angle_deg: float) -> Solution:
        """Return the solution of a field whose position angle was this, for one of 0."""
        p = math.radians(angle_deg)
        back = np.array([[math.cos(p), math.sin(p)], [-math.sin(p), math.cos(p)]])
        return replace(self, cd=back @ self.cd)


def fit_solution(
    x: Vector, y: Vector, ra: Vector, dec: Vector, pointing: tuple[float, float],
    centre: tuple[float, float], iterations: int, sigma: float,
) -> Solution:  # fmt: skip
    """Fit a solution by least squares; after each fit but the last stars far off it are left out.

    Parameters
    ----------
    x, y : float64[n]
        FITS pixels
    ra, dec : float64[n]
        degrees
    pointing : (float, float)
        tangent point [deg]
    centre : (float, float)
        reference pixel of the solution
    sigma : float
        limit in units of 1.48 times the median of all absolute residuals, x and y alike
    """
    xi, eta = project(ra, dec, *pointing)
    targets = np.column_stack([xi, eta])
    design = np.column_stack([np.ones(x.size), x, y])
    kept = np.ones(x.size, np.bool_)
    for number in range(max(iterations, 1)):
        terms = np.linalg.lstsq(design[kept], targets[kept], rcond=None)[0]
        residuals = targets - design @ terms
        if number == max(iterations, 1) - 1:
            break
        limit = sigma * MAD * float(np.median(np.abs(residuals[kept])))
        still = kept & (np.abs(residuals) <= limit).all(axis=1)
        if still.sum() < 3 or still.sum() == kept.sum():
            break
        kept = still
    cd = terms[1:].T
    at = terms[0] + cd @ np.array(centre)
    place = deproject(at[0], at[1], *pointing)
    crval = float(place[0]), float(place[1])
    errors = _errors(cd, design[kept], residuals[kept])
    return Solution(np.asarray(cd, np.float64), centre, crval, residuals, kept, *errors)


def _errors(
    cd: npt.NDArray[Any], design: npt.NDArray[Any], residuals: npt.NDArray[Any]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the errors of the scales [arcsec] and of the angles [deg] of a fit.

    Each row of the matrix is a regression of its own; its scale changes along the row, its angle across.
    """
    free = len(design) - 3
    if free < 1 or np.linalg.matrix_rank(design) < 3:  # stars in a line tell nothing across it
        return (math.nan, math.nan), (math.nan, math.nan)
    covariance = np.linalg.inv(design.T @ design)[1:, 1:]
    variances = (residuals**2).sum(axis=0) / free
    scales, angles = [], []
    for row, variance in zip(cd, variances, strict=True):
        size = math.hypot(*row)
        along = row / size
        across = np.array([-along[1], along[0]])
        scales.append(3600.0 * math.sqrt(variance * (along @ covariance @ along)))
        angles.append(math.degrees(math.sqrt(variance * (across @ covariance @ across)) / size))
    return (scales[0], scales[1]), (angles[0], angles[1])

# SPDX-License-Identifier: BSD-3-Clause
"""Centroid of a source: elliptical Gaussian on a constant background, weighted with the variances."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_MAX_ITERATIONS = 60
_TOLERANCE = 1e-7


def fit_gaussian(data: npt.NDArray, stat: npt.NDArray, x_start: float, y_start: float) -> tuple[float, float]:
    """Fit a small image; returns the centre in 0-based pixels, NaN if the fit fails.

    Parameters
    ----------
    data, stat : float[ny, nx]
        Values and variances; pixels that are not finite or have no positive variance are left out.
    x_start, y_start : float
        First guess of the centre.

    Examples
    --------
    >>> iy, ix = np.indices((13, 13))
    >>> image = 5 + 100 * np.exp(-((ix - 6.3) ** 2 + (iy - 5.8) ** 2) / 8)
    >>> [round(v, 5) for v in fit_gaussian(image, np.ones_like(image), 6.0, 6.0)]
    [6.3, 5.8]
    """
    failed = math.nan, math.nan
    iy, ix = np.nonzero(np.isfinite(data) & np.isfinite(stat) & (stat > 0))
    if ix.size < 8:
        return failed
    z = data[iy, ix].astype(np.float64)
    weight = 1.0 / np.sqrt(stat[iy, ix].astype(np.float64))
    background = float(np.median(z))
    p = np.array([background, float(z.max()) - background, x_start, y_start, 2.0, 2.0, 0.0])
    if p[1] <= 0.0:
        return failed
    model, jacobian = _gaussian(p, ix, iy)
    chi2 = float((((z - model) * weight) ** 2).sum())
    damping = 1e-3
    for _ in range(_MAX_ITERATIONS):
        scaled = jacobian * weight[:, np.newaxis]
        normal = scaled.T @ scaled
        gradient = scaled.T @ ((z - model) * weight)
        diagonal = np.diag(normal).copy()
        diagonal[diagonal == 0.0] = 1.0
        step = np.linalg.lstsq(normal + damping * np.diag(diagonal), gradient, rcond=None)[0]
        trial = p + step
        with np.errstate(over="ignore", invalid="ignore"):
            trial_model, trial_jacobian = _gaussian(trial, ix, iy)
            trial_chi2 = float((((z - trial_model) * weight) ** 2).sum())
        if not (trial_chi2 < chi2):
            damping *= 10.0
            if damping > 1e10:
                break
            continue
        done = chi2 - trial_chi2 <= _TOLERANCE * chi2 and np.abs(step[2:4]).max() < 1e-6
        p, model, jacobian, chi2 = trial, trial_model, trial_jacobian, trial_chi2
        damping = max(damping / 10.0, 1e-12)
        if done:
            break
    ny, nx = data.shape
    inside = -1.0 < p[2] < nx and -1.0 < p[3] < ny
    if not inside or p[1] <= 0.0 or not np.isfinite(p).all() or abs(p[6]) >= 1.0:
        return failed
    return float(p[2]), float(p[3])


def _gaussian(
    p: npt.NDArray[np.float64], ix: npt.NDArray, iy: npt.NDArray
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Model and derivatives for (background, peak, x, y, sigma x, sigma y, correlation)."""
    _, peak, x, y, sx, sy, rho = p
    u, v = (ix - x) / sx, (iy - y) / sy
    one = 1.0 - rho * rho
    q = (u * u - 2.0 * rho * u * v + v * v) / one
    shape = np.exp(-0.5 * q)
    value = peak * shape
    du, dv = (u - rho * v) / one, (v - rho * u) / one
    jacobian = np.stack(
        [
            np.ones_like(shape),
            shape,
            value * du / sx,
            value * dv / sy,
            value * du * u / sx,
            value * dv * v / sy,
            value * (u * v / one - rho * q / one),
        ],
        axis=1,
    )
    return p[0] + value, jacobian

# SPDX-License-Identifier: BSD-3-Clause
"""A Gaussian on a constant, fitted to a spectrum with errors (Levenberg 1944, Marquardt 1963)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
PARAMETERS = 4  # centre, sigma, area, background
GAIN = 0.01  # a step that lowers chi square by less than this counts as the end ...
STEPS_WITHOUT_GAIN = 5  # ... when so many come one after the other (the rule of CPL's own fit)
MOST_STEPS = 200
DAMPING, FACTOR, MOST_DAMPING = 1e-3, 10.0, 1e12


def gaussian(x: Floats, p: Sequence[float] | Floats) -> Floats:
    """Value at ``x`` of a Gaussian with centre, sigma, area, background."""
    centre, sigma, area, background = p
    z = (x - centre) / sigma
    value: Floats = area / np.sqrt(2 * np.pi) / sigma * np.exp(-0.5 * z * z) + background
    return value


def _derivatives(x: Floats, p: Floats) -> Floats:
    centre, sigma, area, _ = p
    z = (x - centre) / sigma
    g = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) / sigma
    return np.stack([area * g * z / sigma, area * g * (z * z - 1) / sigma, g, np.ones_like(x)], axis=1)


def first_guess(x: Floats, y: Floats) -> Floats:
    """Background from the minimum, centre at the maximum, area from the sum, width from both.

    (From here 2.8.7 ends at the same places where a flat minimum stops it early: shifts within 1e-6.)
    """
    background = float(y.min())
    peak = int(np.argmax(y))
    height = float(y[peak]) - background
    area = float(np.sum(y - background)) * abs(float(x[1] - x[0]))
    if not height > 0:
        return np.array([x[peak], 0.25 * abs(float(x[-1] - x[0])), 0.0, background])
    return np.array([x[peak], area / height / np.sqrt(2 * np.pi), area, background])


def fit_gaussian(x: Floats, y: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Least squares with weights ``1 / error**2``.

    Parameters
    ----------
    x, y, error : float64[n]

    Returns
    -------
    parameters, errors : float64[4]
        Centre, sigma, area, background; errors from the covariance, not scaled with chi square. NaN where
        the fit does not settle.
    """
    failed = np.full(PARAMETERS, np.nan), np.full(PARAMETERS, np.nan)
    if x.size < PARAMETERS or not np.isfinite(y).all() or not (error > 0).all():
        return failed
    with np.errstate(all="ignore"):
        p = first_guess(x, y)
        chi = float(np.sum(((y - gaussian(x, p)) / error) ** 2))
        damping, without_gain = DAMPING, 0
        normal = np.zeros((PARAMETERS, PARAMETERS))
        for _ in range(MOST_STEPS):
            rows = _derivatives(x, p) / error[:, None]
            normal = rows.T @ rows
            slope = rows.T @ ((y - gaussian(x, p)) / error)
            if not np.isfinite(normal).all() or not np.isfinite(slope).all():
                return failed
            try:
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slope)
            except np.linalg.LinAlgError:
                return failed
            new = float(np.sum(((y - gaussian(x, p + step)) / error) ** 2))
            if new <= chi:
                damping /= FACTOR
                without_gain = without_gain + 1 if chi == 0 or (chi - new) / chi < GAIN else 0
                p, chi = p + step, new
            else:
                damping *= FACTOR
                without_gain = without_gain if damping < MOST_DAMPING else STEPS_WITHOUT_GAIN
            if without_gain >= STEPS_WITHOUT_GAIN:
                break
        try:
            variances = np.diag(np.linalg.inv(normal))
        except np.linalg.LinAlgError:
            return p, failed[1]
        return p, np.sqrt(np.where(variances > 0, variances, np.nan))

# SPDX-License-Identifier: BSD-3-Clause
"""Edges of a slice in bands of rows: where the light falls below a limit, then where it falls fastest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit
from muse_core.masters.slice_search import HALF, FirstGuess, mean_of_rows

NARROW = 71.2  # pixels below which dark pixels lie in a slice (measured against 2.8.7)
STEPPED_OVER = 4  # dark pixels in a row that do not end a slice
REACH = 5  # pixels on both sides of an edge that its fit sees
LARGEST_SHIFT = 0.25  # of the middle by the refinement, pixels
ITERATIONS = 200
TOLERANCE = 1e-13


class TraceSamples(NamedTuple):
    """Edges of all slices (arrays of one length): 1-based columns; ``y`` is the mean row."""

    number: npt.NDArray[np.int32]
    y: npt.NDArray[np.float64]
    left: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]


@njit(cache=True, nogil=True)
def _crossing(profile: np.ndarray, limit: float, start: int, step: int, most: int) -> float:
    """Where a profile falls to a limit, going outwards; ``most`` dark pixels in a row are stepped over.

    Returns NaN if it does not, in the cut-out.
    """
    i = start
    n = profile.size
    while 0 <= i < n and profile[i] > limit:
        i += step
    while most > 0 and 0 <= i < n:
        dark = 0
        while 0 <= i + step * dark < n and profile[i + step * dark] <= limit and dark <= most:
            dark += 1
        j = i + step * dark
        if dark > most or not 0 <= j < n:
            break
        i = j
        while 0 <= i < n and profile[i] > limit:
            i += step
    if not 0 <= i < n or i == start:
        return np.nan
    inner, outer = np.float64(profile[i - step]), np.float64(profile[i])
    return i - step * (limit - outer) / (inner - outer)


@njit(cache=True, nogil=True)
def _fall_of(profile: np.ndarray, edge: float, sign: float) -> float:
    """Centre of a Gaussian through the positive part of the derivative about an edge; NaN if it does not fit.

    The derivative j is that between pixels j - 1 and j. Least squares by Levenberg and Marquardt, without
    weights and without a constant.
    """
    n = profile.size
    e = int(np.floor(edge + 0.5))
    if e - REACH < 1 or e + REACH >= n:
        return np.nan
    count = 2 * REACH + 1
    values = np.empty(count)
    best = 0
    for k in range(count):
        j = e - REACH + k
        values[k] = max(sign * (np.float64(profile[j]) - np.float64(profile[j - 1])), 0.0)
        if values[k] > values[best]:
            best = k
    if values[best] <= 0:
        return np.nan
    height, centre, sigma = values[best], float(best), 1.0
    damping = 1e-3
    normal = np.zeros((3, 3))
    gradient = np.zeros(3)
    chi = _normal_equations(values, height, centre, sigma, normal, gradient)
    for _ in range(ITERATIONS):
        trial = normal.copy()
        for i in range(3):
            trial[i, i] *= 1.0 + damping
        step = _solve(trial, gradient)
        new = np.array([height + step[0], centre + step[1], sigma + step[2]])
        after = _normal_equations(values, new[0], new[1], new[2], trial, step)
        if after <= chi:
            done = chi - after <= TOLERANCE * chi
            height, centre, sigma, chi = new[0], new[1], new[2], after
            normal, gradient = trial, step.copy()
            damping *= 0.2
            if done:
                break
        else:
            damping *= 5.0
            if damping > 1e12:
                break
    width = abs(sigma)
    if not (height > 0 and 0.0 < width < count and -0.5 <= centre <= count - 0.5):
        return np.nan
    return e - REACH + centre - 0.5


@njit(cache=True, nogil=True)
def _normal_equations(
    values: np.ndarray, height: float, centre: float, sigma: float, normal: np.ndarray, gradient: np.ndarray
) -> float:
    """Fill the normal equations of a Gaussian; returns the sum of squared residuals."""
    normal[:] = 0.0
    gradient[:] = 0.0
    chi = 0.0
    if sigma == 0.0:
        return np.inf
    row = np.empty(3)
    for k in range(values.size):
        u = (k - centre) / sigma
        shape = np.exp(-0.5 * u * u)
        residual = values[k] - height * shape
        row[0] = shape
        row[1] = height * shape * u / sigma
        row[2] = height * shape * u * u / sigma
        chi += residual * residual
        for i in range(3):
            gradient[i] += row[i] * residual
            for j in range(3):
                normal[i, j] += row[i] * row[j]
    return chi


@njit(cache=True, nogil=True)
def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve three linear equations (Cramer's rule)."""
    a, b, c = matrix[0], matrix[1], matrix[2]
    determinant = (
        a[0] * (b[1] * c[2] - b[2] * c[1])
        - a[1] * (b[0] * c[2] - b[2] * c[0])
        + a[2] * (b[0] * c[1] - b[1] * c[0])
    )
    out = np.zeros(3)
    if determinant == 0.0:
        return out
    for k in range(3):
        m = matrix.copy()
        m[:, k] = right
        out[k] = (
            m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1])
            - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
            + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0])
        ) / determinant
    return out


@njit(cache=True, nogil=True)
def edges_of_profile(profile: np.ndarray, limit: float, start: int) -> tuple[float, float]:
    """Left and right edge of a slice in its cut-out (float32[n]), from 0; NaN if there are none.

    Measured against 2.8.7: from the middle outwards to the first pixel at or below the limit, linear between
    it and its neighbour. A narrow slice has dark pixels inside: the nearer side steps over up to four in a
    row. Then both edges move to the centre of the derivative; if the middle moves much, the sample is lost.
    """
    left = _crossing(profile, limit, start, -1, 0)
    right = _crossing(profile, limit, start, 1, 0)
    for _ in range(2):
        if not right - left < NARROW:
            break
        if start - left < right - start:
            left = _crossing(profile, limit, start, -1, STEPPED_OVER)
        else:
            right = _crossing(profile, limit, start, 1, STEPPED_OVER)
    if not right - left >= NARROW:
        return np.nan, np.nan
    fine_left = _fall_of(profile, left, 1.0)
    fine_right = _fall_of(profile, right, -1.0)
    fine_left = left if np.isnan(fine_left) else fine_left
    fine_right = right if np.isnan(fine_right) else fine_right
    if abs(0.5 * (fine_left + fine_right) - 0.5 * (left + right)) > LARGEST_SHIFT:
        return np.nan, np.nan
    return fine_left, fine_right


def trace_samples(
    image: npt.NDArray[np.float32],
    guess: FirstGuess,
    nsum: int,
    edgefrac: float,
    *,
    border_lost: bool = False,
) -> TraceSamples:
    """Find the edges of all slices in bands of ``nsum`` rows; rows that fill no band are left out.

    Parameters
    ----------
    image : float32[ny, nx]
        Combined flat, flagged pixels interpolated.
    guess : FirstGuess
    nsum : int
    edgefrac : float
        Fraction of the median of a cut-out that is the limit of the light.
    border_lost : bool
        A slice whose cut-out leaves the detector has no samples (C); else the cut-out is shorter.
    """
    ny, nx = image.shape
    middles = [int(middle) for middle in guess.middle]
    found: list[tuple[int, float, float, float]] = []
    for k in range((ny - 1) // nsum):  # measured against 2.8.7: one fewer where they fill the detector
        profile = mean_of_rows(image[k * nsum : (k + 1) * nsum])
        y = k * nsum + 0.5 * (nsum + 1)
        for number, middle in enumerate(middles, 1):
            x0, x1 = max(middle - HALF, 0), min(middle + HALF + 1, nx)
            if border_lost and x1 - x0 < 2 * HALF + 1:
                continue
            part = profile[x0:x1]
            left, right = edges_of_profile(part, edgefrac * float(np.median(part)), middle - x0)
            if left == left and right == right:
                found.append((number, y, x0 + left + 1, x0 + right + 1))
    found.sort()
    columns = np.array(found, dtype=np.float64).reshape(-1, 4).T
    return TraceSamples(columns[0].astype(np.int32), columns[1], columns[2], columns[3])

# SPDX-License-Identifier: BSD-3-Clause
"""Values of one exposure that the other exposures do not confirm: satellites, reflections, bad pixels.

Each exposure is resampled on its own to a plane of the cube. In each voxel the median of the exposures is the
reference; an exposure is left out there if it differs from it by more than a limit. The limit is made of the
variances of both (scaled by what the residuals of the exposure really show in the plane), and of the range
of the reference in 5 x 5 spaxels, so that the seeing and small errors of position, which change sources by a
part of their gradients, reject no source (the idea of the derivative image of drizzle's cosmic-ray mask,
Fruchter & Hook 2002, PASP 114, 144). Neighbours of a rejected value are judged with half the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

LEAST_EXPOSURES = 3
"""Exposures with data in a voxel, below which nobody can say who is wrong."""
_LEAST_WEIGHT = 1e-3  # of the largest weight in the voxel: a value at the rim of an exposure is no witness
_RANGE_OF_NOISE = 4.0  # range of 25 normal deviates in standard deviations (3.93)
_EVERY = 4  # spaxels of which one is taken for the statistics of a plane
_MEDIAN_VARIANCE = math.pi / 2.0  # of a median over that of the mean


@dataclass(frozen=True)
class ExposureRejection:
    """Settings of the rejection across exposures.

    Parameters
    ----------
    sigma : float
        limit in standard deviations
    structure : float
        part of the range of the reference in 5 x 5 spaxels that is added to the limit
    """

    sigma: float
    structure: float = 1.0


def rejected_exposures(
    sums: npt.NDArray[np.float64], rejection: ExposureRejection, before: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.bool_]:
    """Return which exposures are to be left out in each voxel of a plane.

    Parameters
    ----------
    sums : float64[n_exposures, ny, nx, 3]
        sum of w d, of w, of w^2 s of each exposure
    before : float64[ny, nx, 3] or None
        the same of what was combined before: one more witness, which is not judged

    Returns
    -------
    bool[n_exposures, ny, nx]
    """
    if before is not None:
        return rejected_exposures(np.concatenate([sums, before[None]]), rejection)[:-1]
    count, ny, nx, _ = sums.shape
    rejected = np.zeros((count, ny, nx), np.bool_)
    if count < LEAST_EXPOSURES:
        return rejected
    value = np.empty((count, ny, nx), np.float32)
    variance = np.empty_like(value)
    reference = np.empty((ny, nx), np.float32)
    reference_variance = np.empty_like(reference)
    values_and_reference(sums, value, variance, reference, reference_variance)
    structure = np.empty_like(reference)
    structure_of(reference, reference_variance, structure)
    for number in range(count):
        offset, scale = _residuals(value[number], variance[number], reference, reference_variance, structure)
        judge(
            value[number],
            variance[number],
            reference,
            reference_variance,
            structure,
            offset,
            rejection.sigma * scale,
            rejection.structure,
            rejected[number],
        )
    keep_the_majority(value, rejected)
    return rejected


def _residuals(
    value: npt.NDArray[np.float32],
    variance: npt.NDArray[np.float32],
    reference: npt.NDArray[np.float32],
    reference_variance: npt.NDArray[np.float32],
    structure: npt.NDArray[np.float32],
) -> tuple[float, float]:
    """Offset of an exposure from the reference, and its scatter in units of the one expected (at least 1)."""
    places = np.s_[::2, :: _EVERY // 2]
    residual = value[places] - reference[places]
    expected = np.sqrt(variance[places] + reference_variance[places])
    usable = np.isfinite(residual) & (expected > 0.0) & (structure[places] <= expected)
    if np.count_nonzero(usable) < 16:
        return 0.0, 1.0
    residual, expected = residual[usable], expected[usable]
    offset = float(np.median(residual))
    deviation = np.abs(residual - np.float32(offset)) / expected
    return offset, max(1.0, 1.4826 * float(np.median(deviation)))


@njit(cache=True, nogil=True)
def values_and_reference(
    sums: np.ndarray,
    value: np.ndarray,
    variance: np.ndarray,
    reference: np.ndarray,
    reference_variance: np.ndarray,
) -> None:
    """Turn sums into values and variances of each exposure, NaN where it is no witness, and their median.

    Parameters
    ----------
    sums : float64[n_exposures, ny, nx, 3]
    value, variance : float32[n_exposures, ny, nx]
        filled
    reference, reference_variance : float32[ny, nx]
        filled; NaN where fewer than `LEAST_EXPOSURES` have values
    """
    count, ny, nx = value.shape
    ordered = np.empty(count, np.float32)
    for y in range(ny):
        for x in range(nx):
            largest = 0.0
            for number in range(count):
                weight = sums[number, y, x, 1]
                if weight > largest and abs(sums[number, y, x, 0]) < np.inf:
                    largest = weight
            found = 0
            inverse = 0.0
            for number in range(count):
                weight = sums[number, y, x, 1]
                total = sums[number, y, x, 0]
                square = sums[number, y, x, 2]
                good = weight > _LEAST_WEIGHT * largest and abs(total) < np.inf and 0.0 < square < np.inf
                if not good:
                    value[number, y, x] = np.nan
                    variance[number, y, x] = np.nan
                    continue
                own = np.float32(total / weight)
                value[number, y, x] = own
                variance[number, y, x] = square / weight / weight
                inverse += weight * weight / square
                place = found
                while place > 0 and ordered[place - 1] > own:
                    ordered[place] = ordered[place - 1]
                    place -= 1
                ordered[place] = own
                found += 1
            if found >= LEAST_EXPOSURES:
                reference[y, x] = 0.5 * (ordered[(found - 1) // 2] + ordered[found // 2])
                reference_variance[y, x] = _MEDIAN_VARIANCE / inverse
            else:
                reference[y, x] = np.nan
                reference_variance[y, x] = np.nan


@njit(cache=True, nogil=True)
def structure_of(reference: np.ndarray, variance: np.ndarray, structure: np.ndarray) -> None:
    """Compute the range of an image in 5 x 5 pixels beyond what its noise explains.

    Parameters
    ----------
    reference, variance : float32[ny, nx]
        NaN where there is nothing
    structure : float32[ny, nx]
        filled; not below 0
    """
    ny, nx = reference.shape
    for y in range(ny):
        for x in range(nx):
            low, high = np.inf, -np.inf
            for near_y in range(max(y - 2, 0), min(y + 3, ny)):
                for near_x in range(max(x - 2, 0), min(x + 3, nx)):
                    near = reference[near_y, near_x]
                    if near == near:
                        low = min(low, near)
                        high = max(high, near)
            noise = _RANGE_OF_NOISE * math.sqrt(variance[y, x]) if variance[y, x] > 0.0 else 0.0
            structure[y, x] = max(high - low - noise, 0.0) if high >= low else 0.0


@njit(cache=True, nogil=True)
def judge(
    value: np.ndarray,
    variance: np.ndarray,
    reference: np.ndarray,
    reference_variance: np.ndarray,
    structure: np.ndarray,
    offset: float,
    sigma: float,
    share: float,
    rejected: np.ndarray,
) -> None:
    """Mark the values of one exposure that lie off the reference, then their neighbours with half the limit.

    Parameters
    ----------
    value, variance, reference, reference_variance, structure : float32[ny, nx]
    offset : float
        of the exposure from the reference
    sigma, share : float
        the limit is sigma standard deviations plus `share` of the structure
    rejected : bool[ny, nx]
        filled
    """
    ny, nx = value.shape
    sign = np.zeros((ny, nx), np.int8)  # of the values beyond half the limit; doubled beyond the limit
    for y in range(ny):
        for x in range(nx):
            residual = value[y, x] - reference[y, x] - offset
            expected = math.sqrt(variance[y, x] + reference_variance[y, x])
            excess = abs(residual) - share * structure[y, x]
            if excess > 0.5 * sigma * expected:
                way = 1 if residual > 0.0 else -1
                sign[y, x] = 2 * way if excess > sigma * expected else way
    for y in range(ny):
        for x in range(nx):
            own = sign[y, x]
            if abs(own) == 2:
                rejected[y, x] = True
            elif own:
                for near_y in range(max(y - 1, 0), min(y + 2, ny)):
                    for near_x in range(max(x - 1, 0), min(x + 2, nx)):
                        if sign[near_y, near_x] == 2 * own:
                            rejected[y, x] = True


@njit(cache=True, nogil=True)
def keep_the_majority(value: np.ndarray, rejected: np.ndarray) -> None:
    """Take rejections back where half of the exposures or more are rejected: nobody knows who is right.

    Parameters
    ----------
    value : float32[n_exposures, ny, nx]
        NaN where an exposure is no witness
    rejected : bool[n_exposures, ny, nx]
        updated in place
    """
    count, ny, nx = value.shape
    for y in range(ny):
        for x in range(nx):
            witnesses = 0
            hits = 0
            for number in range(count):
                witnesses += value[number, y, x] == value[number, y, x]
                hits += rejected[number, y, x]
            if 2 * hits >= witnesses:
                for number in range(count):
                    rejected[number, y, x] = False

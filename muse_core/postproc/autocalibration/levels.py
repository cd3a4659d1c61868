# SPDX-License-Identifier: BSD-3-Clause
"""Sky level of every slice in one wavelength range, and the factors that make them equal.

The rules (limits, numbers of iterations, order of the replacements) are those measured with the C pipeline
2.8.7, see docs/differences for what is different.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MIN_ROWS = 50
"""A detector column counts if it has more rows than this."""
MIN_COLUMNS = 20
"""A slice counts if more columns than this are left after clipping."""
MIN_SLICES = 16
"""A half IFU with fewer measured slices takes the mean of the other half if that has more."""
SLICES_KEPT = 20
"""Clipping of slices never leaves fewer than this."""
CLIP = 3.0
MAX_ITERATIONS = 15
OUTLIER = 15.0
"""Factors further from the mean of their half than this many sigma are replaced."""
_MAD_TO_SIGMA = 1.4826

_log = logging.getLogger(__name__)


def clipped_mean(values: Floats, minimum: int = 0) -> tuple[float, float, int]:
    """Mean after iterative clipping at three robust standard deviations about the median.

    Parameters
    ----------
    values : float64[n]
        Finite values.
    minimum : int
        A clipping that would leave fewer values is not made.

    Returns
    -------
    mean, sigma, number
        NaN, NaN, 0 for no values; sigma = 1.4826 times the median absolute deviation.
    """
    z = values
    if z.size == 0:
        return float("nan"), float("nan"), 0
    sigma = 0.0
    for _ in range(MAX_ITERATIONS):
        deviation = np.abs(z - np.median(z))
        sigma = _MAD_TO_SIGMA * float(np.median(deviation))
        if sigma == 0.0:
            break
        keep = deviation <= CLIP * sigma
        n_kept = int(keep.sum())
        if n_kept == z.size or n_kept < minimum:
            break
        z = z[keep]
    return float(z.mean()), sigma, z.size


def clipped_total(values: Floats) -> float:
    """Mean after iterative clipping at three standard deviations about the median; NaN for no values."""
    z = values
    if z.size == 0:
        return float("nan")
    for _ in range(MAX_ITERATIONS):
        keep = np.abs(z - np.median(z)) <= CLIP * z.std()
        if keep.all() or keep.sum() < SLICES_KEPT:
            break
        z = z[keep]
    return float(z.mean())


@dataclass(frozen=True)
class SliceLevels:
    """Sky levels in one wavelength range."""

    levels: Floats
    """float64[24, 48], NaN where a slice could not be measured."""
    halves: Floats
    """float64[24, 2] mean level of slices 1-24 and 25-48, NaN if there is none."""
    total: float
    """Level of the whole field, NaN if there is none."""
    present: npt.NDArray[np.bool_]
    """bool[24, 48] slices with rows on sky, measured or not."""

    @property
    def valid(self) -> npt.NDArray[np.bool_]:
        """Slices that could be measured."""
        return np.isfinite(self.levels)

    @classmethod
    def measure(cls, means: Floats, counts: npt.NDArray[np.int32], log: logging.Logger = _log) -> SliceLevels:
        """Measure the levels from means and numbers of rows per detector column, [24, 48, 128] each."""
        n_ifu, n_slice = means.shape[:2]
        levels = np.full((n_ifu, n_slice), np.nan)
        usable = counts > MIN_ROWS
        for ifu, sli in zip(*np.nonzero(usable.sum(axis=2) > MIN_COLUMNS), strict=True):
            mean, _, number = clipped_mean(means[ifu, sli][usable[ifu, sli]])
            if number > MIN_COLUMNS:
                levels[ifu, sli] = mean
        total = clipped_total(levels[np.isfinite(levels)])
        return cls(levels, _half_means(levels, log), total, np.asarray(counts.any(axis=2)))


def _half_means(levels: Floats, log: logging.Logger) -> Floats:
    n_ifu, n_slice = levels.shape
    halves = np.full((n_ifu, 2), np.nan)
    for ifu in range(n_ifu):
        parts = levels[ifu].reshape(2, n_slice // 2)
        good = [part[np.isfinite(part)] for part in parts]
        for side in (0, 1):
            halves[ifu, side] = clipped_mean(good[side], SLICES_KEPT)[0]
        for poor, rich in ((0, 1), (1, 0)):
            if good[poor].size < MIN_SLICES < good[rich].size:
                names = ("left", "right")
                log.info("Use %s-half flux value of IFU %d for %s-half", names[rich], ifu + 1, names[poor])
                halves[ifu, poor] = halves[ifu, rich]
    return halves


def correct_slices(levels: SliceLevels, log: logging.Logger = _log) -> Floats:
    """Factors float64[24, 48] that bring every slice to the level of the field."""
    n_ifu, n_slice = levels.levels.shape
    half = np.repeat(levels.halves, n_slice // 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fallback = levels.total / half
        factors = levels.total / levels.levels
    fallback[~np.isfinite(fallback)] = 1.0
    factors = np.where(np.isfinite(factors), factors, fallback)
    for ifu in range(n_ifu):
        for side in (0, 1):
            part = slice(side * n_slice // 2, (side + 1) * n_slice // 2)
            if not np.isfinite(levels.halves[ifu, side]):
                continue
            present = np.flatnonzero(levels.present[ifu, part]) + part.start
            mean, sigma, _ = clipped_mean(factors[ifu, present], SLICES_KEPT)
            for sli in present[np.abs(factors[ifu, present] - mean) > OUTLIER * sigma]:
                log.info(
                    "IFU %d slice %d : %f -> using IFU mean : %f",
                    ifu + 1,
                    sli + 1,
                    factors[ifu, sli],
                    fallback[ifu, sli],
                )
                factors[ifu, sli] = fallback[ifu, sli]
    return factors

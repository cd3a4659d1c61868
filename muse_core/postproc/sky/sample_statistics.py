# SPDX-License-Identifier: BSD-3-Clause
"""Robust statistics of a white-light image: most frequent value, width, means of neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32] | npt.NDArray[np.float64]
_NORMAL = 1.4826  # standard deviation over median absolute deviation


def near_mode(image: Image, widths: float) -> npt.NDArray[np.bool_]:
    """Say which values are within some widths of the most frequent one.

    The width is that of the values below it, which objects do not change.
    """
    mode, width = mode_and_width(image)
    with np.errstate(invalid="ignore"):
        return np.abs(image - mode) <= widths * width


def mode_and_width(image: Image) -> tuple[float, float]:
    """Return the most frequent value, and the width of the distribution below it; NaN for no values."""
    values = np.sort(image[np.isfinite(image)], axis=None).astype(np.float64)
    if values.size == 0:
        return float("nan"), float("nan")
    mode = half_sample_mode(values)
    return mode, _NORMAL * float(np.median(mode - values[values <= mode]))


def half_sample_mode(values: npt.NDArray[np.float64], smallest: int = 20) -> float:
    """Return the most frequent of sorted values: half of them within the shortest interval, and so on.

    >>> half_sample_mode(np.sort(np.r_[np.linspace(0.9, 1.1, 80), np.linspace(1.1, 9, 60)]))
    1.0...
    """
    while values.size > smallest:
        half = (values.size + 1) // 2
        lengths = values[half - 1 :] - values[: values.size - half + 1]
        first = int(np.argmin(lengths))
        values = values[first : first + half]
    return float(np.median(values))


def smoothed(image: Image) -> npt.NDArray[np.float64]:
    """Return the mean of the 3 x 3 spaxels around each one that has a value; the others stay NaN."""
    finite = np.isfinite(image)
    total = _sum_3x3(np.where(finite, image, 0.0).astype(np.float64))
    count = _sum_3x3(finite.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(finite, total / count, np.nan)


def _sum_3x3(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    padded = np.pad(image, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]

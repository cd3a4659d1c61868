# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of a whole image in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

SAMPLE = 1 << 16
MARGIN = 0.02  # quantiles of the sample between which the median of the image is looked for


@njit(cache=True, nogil=True)
def _one_pass(values: np.ndarray, origin: float, lower: float, upper: float, near: np.ndarray) -> Any:
    """Sums and extremes of float32[n], and what the median needs.

    Returns
    -------
    total, square : float
        Sums of the differences from ``origin`` and of their squares.
    low, high : float
        Extremes.
    below, count : int
        Values below ``lower``; values from ``lower`` to ``upper``, which are copied to ``near``.
    """
    low, high = values[0], values[0]
    below, count = 0, 0
    sums = np.zeros(8)
    squares = np.zeros(8)
    whole = values.size - values.size % 8
    for start in range(0, whole, 8):
        for j in range(8):
            d = np.float64(values[start + j]) - origin
            sums[j] += d
            squares[j] += d * d
    for i in range(whole, values.size):
        d = np.float64(values[i]) - origin
        sums[0] += d
        squares[0] += d * d
    for v in values:
        low = min(low, v)
        high = max(high, v)
        below += v < lower
        near[count] = v
        count += (v >= lower) & (v <= upper) & (count < near.size - 1)
    return sums.sum(), squares.sum(), low, high, below, count


def image_statistics(image: npt.NDArray[np.float32]) -> dict[str, float]:
    """Median, mean, standard deviation (n-1), minimum, maximum and sum of all pixels (float32).

    The median is exact: a sample only tells where to look for it.
    """
    values = image.reshape(-1)
    n = values.size
    sample = np.sort(values[:: max(n // SAMPLE, 1)])
    lower = sample[int((0.5 - MARGIN) * (sample.size - 1))]
    upper = sample[int(np.ceil((0.5 + MARGIN) * (sample.size - 1)))]
    near = np.empty(n // 8 + 2, np.float32)
    origin = float(sample[sample.size // 2])
    total, square, low, high, below, count = _one_pass(values, origin, lower, upper, near)
    first, second = (n - 1) // 2 - below, n // 2 - below
    if first >= 0 and second < count < near.size - 1:
        part = np.partition(near[:count], (first, second))
        median = 0.5 * (float(part[first]) + float(part[second]))
    else:
        median = float(np.median(values.astype(np.float64)))
    return {
        "MEDIAN": median,
        "MEAN": origin + total / n,
        "STDEV": float(np.sqrt(max(square - total * total / n, 0.0) / max(n - 1, 1))),
        "MIN": float(low),
        "MAX": float(high),
        "SUM": n * origin + total,
    }

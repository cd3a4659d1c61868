# SPDX-License-Identifier: BSD-3-Clause
"""Statistics of a whole image in one pass, also of one that is never there as a whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

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


class StreamedStatistics:
    """`image_statistics` of an image that comes in pieces.

    Parameters
    ----------
    sample : float32[m]
        Values spread over the image; between two quantiles of them the median is looked for.
    size : int
        Pixels of the image.
    margin : float
        Distance of the quantiles from the middle.
    """

    def __init__(self, sample: npt.NDArray[np.float32], size: int, margin: float = 2 * MARGIN) -> None:
        ordered = np.sort(sample.reshape(-1))
        self._lower = ordered[int((0.5 - margin) * (ordered.size - 1))]
        self._upper = ordered[int(np.ceil((0.5 + margin) * (ordered.size - 1)))]
        self._origin = float(ordered[ordered.size // 2])
        self._size = size
        self._near: list[npt.NDArray[np.float32]] = []
        self._sums = np.zeros(2)
        self._limits = [np.inf, -np.inf]
        self._below = 0

    def add(self, part: npt.NDArray[np.float32]) -> None:
        """Take some pixels (float32, C-contiguous)."""
        values = part.reshape(-1)
        near = np.empty(values.size + 1, np.float32)
        total, square, low, high, below, count = _one_pass(
            values, self._origin, self._lower, self._upper, near
        )
        self._sums += total, square
        self._limits = [min(self._limits[0], low), max(self._limits[1], high)]
        self._below += below
        self._near.append(near[:count].copy())

    def finish(self) -> dict[str, float] | None:
        """Return the statistics; None if the median does not lie between the quantiles of the sample."""
        n = self._size
        near = np.concatenate(self._near) if self._near else np.zeros(0, np.float32)
        first, second = (n - 1) // 2 - self._below, n // 2 - self._below
        if not (first >= 0 and second < near.size):
            return None
        part = np.partition(near, (first, second))
        total, square = (float(v) for v in self._sums)
        return _named(
            0.5 * (float(part[first]) + float(part[second])), total, square, self._limits, self._origin, n
        )


def _named(
    median: float, total: float, square: float, limits: list[float], origin: float, n: int
) -> dict[str, float]:
    return {
        "MEDIAN": median,
        "MEAN": origin + total / n,
        "STDEV": float(np.sqrt(max(square - total * total / n, 0.0) / max(n - 1, 1))),
        "MIN": float(limits[0]),
        "MAX": float(limits[1]),
        "SUM": n * origin + total,
    }


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
    return _named(median, total, square, [low, high], origin, n)

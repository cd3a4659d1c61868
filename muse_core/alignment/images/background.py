# SPDX-License-Identifier: BSD-3-Clause
"""Level and scatter of the sky of a field image, from its faint pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Background:
    """Median and plain median absolute deviation of the sky pixels between ``low`` and ``high``."""

    median: float
    mad: float
    low: float
    high: float
    npixels: int


def fit_background(values: npt.ArrayLike, ignore: float, fraction: float) -> Background:
    """Measure the sky level from a slice of the sorted pixel values.

    The faintest ``ignore`` of all pixels is left out and the next ``fraction`` of the remaining ones is
    taken. Measured against 2.8.7: the limits themselves do not belong to the sky pixels, the median is one of
    float32, and the deviation is not scaled to a standard deviation.

    Parameters
    ----------
    values : float[n]
        The good pixels, in any order.
    ignore, fraction : float
        Fractions of the pixels, 0 to 1.
    """
    values = np.asarray(values).ravel()
    n = values.size
    if n == 0:
        return Background(0.0, 0.0, float("nan"), float("nan"), 0)
    upper = ignore + (1.0 - ignore) * fraction
    first = min(n - 1, max(0, int(np.floor(ignore * n + 0.5)) - 1))
    last = min(n - 1, max(0, int(np.floor(upper * n + 0.5)) - 1))
    ordered = np.partition(values, (first, last))
    low, high = ordered[first], ordered[last]
    sky = values[(values > low) & (values < high)].astype(np.float64)
    if sky.size == 0:
        return Background(0.0, 0.0, float(low), float(high), 0)
    median = float(np.float32(np.median(sky)))
    mad = float(np.median(np.abs(sky - median)))
    return Background(median, mad, float(low), float(high), int(sky.size))

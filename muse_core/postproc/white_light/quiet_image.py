# SPDX-License-Identifier: BSD-3-Clause
"""A white-light image in which the sky is as faint as it can be.

Between its lines the sky is several times fainter than in the mean over all wavelengths, objects are not.
What hides faint objects in a white-light image, besides noise, are the throughputs of the slices, which err
by per cents of the sky: where the sky is faint so are they.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from muse_core.resampling.collapse import add_weighted_planes

SPAXELS = 4000
"""Spaxels of a plane that tell how bright its sky is."""


class QuietImage:
    """The image in the making: planes count with the inverse of the squared level plus variance of the sky.

    Parameters
    ----------
    shape : of the image, (ny, nx)

    Examples
    --------
    >>> dark, line = np.full((2, 3), 40.0, np.float32), np.full((2, 3), 4000.0, np.float32)
    >>> for plane in (dark, line):
    ...     plane[0, 0] += 10.0
    >>> total = QuietImage((2, 3))
    >>> total.add_planes(np.stack([dark, line]), np.full((2, 2, 3), 9.0, np.float32))
    >>> print(total.image().round(1))
    [[50.4 40.4 40.4]
     [40.4 40.4 40.4]]
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        size = shape[0] * shape[1]
        self._step = max(size // SPAXELS, 1) | 1  # odd: not the same column of all rows
        self._sums, self._weights = np.zeros(size), np.zeros(size)

    def add_planes(self, data: npt.NDArray[np.float32], stat: npt.NDArray[np.float32]) -> None:
        """Add planes, each float32[n, ny, nx]."""
        planes = np.ascontiguousarray(data, dtype=np.float32).reshape(len(data), -1)
        some = planes[:, :: self._step]
        variances = np.asarray(stat).reshape(planes.shape)[:, :: self._step]
        weight = np.array([_weight(*pair) for pair in zip(some, variances, strict=True)])
        add_weighted_planes(planes, weight, self._sums, self._weights)

    def image(self) -> npt.NDArray[np.float32]:
        """Return the image, float32[ny, nx]; NaN where there is no data."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return (self._sums / self._weights).astype(np.float32).reshape(self._shape)


def _weight(values: npt.NDArray[np.float32], variances: npt.NDArray[np.float32]) -> float:
    """Return the weight of a plane by some of its spaxels; 0 for an empty one."""
    good = np.isfinite(values) & np.isfinite(variances) & (variances > 0.0)
    if not good.any():
        return 0.0
    level, variance = float(np.median(values[good])), float(np.median(variances[good]))
    return 1.0 / (level**2 + variance)

# SPDX-License-Identifier: BSD-3-Clause
"""Stars in an image: pixels far above the median, opened with a 3 x 3 box, in connected groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.resampling.quality import connected_pixels, opened_mask
from muse_core.stars.plane_kernels import mean_width

Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Star:
    """A star of an image.

    Parameters
    ----------
    x, y : float
        centre of its light, FITS pixels (the centre of the first one is 1)
    pixels : int
        number of pixels above the limit
    light : float
        sum of those pixels
    """

    x: float
    y: float
    pixels: int
    light: float

    @property
    def pixel(self) -> tuple[int, int]:
        """Column and row (from 0) of its pixel."""
        return int(np.floor(self.x + 0.5)) - 1, int(np.floor(self.y + 0.5)) - 1


def threshold_of(image: Image, sigma: float) -> float:
    """Median of an image (of what is not NaN) plus `sigma` times the mean absolute deviation from it."""
    values = image[np.isfinite(image)]
    if not values.size:
        return float("inf")
    median = float(np.median(values))
    return median + sigma * float(np.mean(np.abs(values - median)))


def find_stars(image: Image, sigma: float) -> list[Star]:
    """Return the stars above a threshold, in the order of their first pixels (lowest row first).

    Parameters
    ----------
    image : float64[ny, nx]
        NaN where empty
    sigma : float
        threshold, see `threshold_of`
    """
    values = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    mask = opened_mask(np.nan_to_num(image, nan=-np.inf) > threshold_of(image, sigma))
    stars = []
    for pixels in connected_pixels(mask):
        iy, ix = np.divmod(pixels, image.shape[1])
        light = values[iy, ix]
        total = float(light.sum())
        if total > 0.0:
            x, y = float(np.sum(ix * light) / total), float(np.sum(iy * light) / total)
            stars.append(Star(x + 1.0, y + 1.0, pixels.size, total))
    return stars


def width_of(image: Image, star: Star) -> float:
    """Mean of the full widths at half maximum along x and y [pixel]; -1 if they cannot be measured."""
    return float(mean_width(np.nan_to_num(np.asarray(image, np.float64)), *star.pixel))

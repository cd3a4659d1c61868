# SPDX-License-Identifier: BSD-3-Clause
"""Whether there is empty sky in a field at all, by its white-light image.

Where a nebula or a galaxy fills the field, the darkest spaxels hold its light, too, and no method can tell
it from the sky by its shape. But the level of the darkest parts is then not the one of a large part of the
field, as it is of empty sky, whatever there is beside it. Boxes of spaxels are compared: smooth ones, in
which nothing varies but noise, and rough ones with stars in them. Differences of slices, which average out in
a box, and a flat field that is off by a few per cent over the field are no alarm. A nebula that is the same
everywhere cannot be noticed in this way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BOX = 10
"""Side of a box [spaxels]; a tenth of the field of the instrument in slices."""
FEWEST_BOXES = 20
"""Smaller fields are not judged."""
ROUGH = 1.6
"""Times the width of the values in the quietest fifth of the boxes, from which a box is rough."""
MOSTLY_SMOOTH = 0.5
"""Share of smooth boxes in a field that is not crowded."""
THIRD_OF_FIELD = 0.035
HALF_OF_FIELD = 0.06
CROWDED = 0.10
"""By how much a part of the smooth boxes may be brighter than the darkest ones: the third and the half of a
field that is not crowded (more is diffuse light), the third of a crowded one (no place is free of stars)."""
DARKEST, THIRD, HALF = 0.05, 0.3, 0.5  # quantiles
_LOW, _HIGH = 0.15, 0.85  # quantiles in a box, 2.07 standard deviations apart
_WIDTHS = 2.07
_MEDIAN_ERROR = 1.25


@dataclass(frozen=True)
class EmptySky:
    """How much of the field is as dark as its darkest part.

    Parameters
    ----------
    third, half : by how much the third and the half of the smooth part of the field is brighter than its
        darkest part, beyond what noise explains; NaN if the field is too small
    smooth : share of the boxes without structure
    """

    third: float
    half: float
    smooth: float

    @property
    def known(self) -> bool:
        """Tell whether the field could be judged."""
        return bool(np.isfinite(self.third))

    @property
    def found(self) -> bool:
        """Tell whether there is empty sky, or nothing is known."""
        if not self.known:
            return True
        if self.smooth < MOSTLY_SMOOTH:
            return self.third <= CROWDED
        return self.third <= THIRD_OF_FIELD and self.half <= HALF_OF_FIELD


def fit_empty_sky(image: npt.NDArray[np.float32]) -> EmptySky:
    """Judge a field.

    Parameters
    ----------
    image : float32[ny, nx]
        white-light image with its sky, NaN where empty

    Examples
    --------
    >>> y, x = np.mgrid[:60, :100]
    >>> noise = np.random.default_rng(1).normal(0.0, 1.0, x.shape)
    >>> fit_empty_sky((100.0 + noise).astype(np.float32)).found
    True
    >>> fit_empty_sky((100.0 + 0.3 * x + noise).astype(np.float32)).found
    False
    """
    boxes = _boxes(image)
    if len(boxes) < FEWEST_BOXES:
        return EmptySky(float("nan"), float("nan"), 0.0)
    low, middle, high = np.nanquantile(boxes, [_LOW, 0.5, _HIGH], axis=1)
    width = high - low
    quiet = float(np.quantile(width, 0.2))
    level = float(np.median(middle))
    smooth = width < ROUGH * quiet + 0.01 * abs(level)
    darkest, third, half = np.quantile(middle[smooth], [DARKEST, THIRD, HALF])
    if not darkest > 0.0:  # a sky that was subtracted before
        return EmptySky(float("nan"), float("nan"), 0.0)
    error = _MEDIAN_ERROR * quiet / _WIDTHS / BOX / darkest
    return EmptySky(
        _beyond(third / darkest - 1.0, 1.12 * error),  # distances of the quantiles of a normal distribution
        _beyond(half / darkest - 1.0, 1.64 * error),
        float(smooth.mean()),
    )


def _beyond(value: float, by_noise: float) -> float:
    return float(np.sqrt(max(value**2 - by_noise**2, 0.0)))


def _boxes(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the spaxels of boxes that are mostly filled, float64[n, BOX * BOX]."""
    ny, nx = (size // BOX for size in image.shape)
    cut = image[: ny * BOX, : nx * BOX].astype(np.float64).reshape(ny, BOX, nx, BOX)
    boxes = cut.transpose(0, 2, 1, 3).reshape(ny * nx, BOX * BOX)
    return boxes[np.isfinite(boxes).mean(axis=1) > 0.7]

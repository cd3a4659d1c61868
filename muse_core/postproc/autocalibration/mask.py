# SPDX-License-Identifier: BSD-3-Clause
"""Sky pixels for the slice autocalibration, from the white-light image of the exposure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.postproc.sky.object_light import fit_object_light

if TYPE_CHECKING:
    from muse_core.postproc.exposure.correction import Card

OBJECT_SIGMA = 5.0
"""Pixels further from the median than this many median absolute deviations are objects."""
_N_DILATIONS = 3
FREE_OF_LIGHT = 0.003
"""Of the sky level; pixels with more light of objects do not count, if there are enough others."""
ENOUGH = 0.4
"""Part of the field."""
N_STACK = 4
ROW_QUANTILE = 0.4
ROWS_TOGETHER = 13
LARGEST_PATTERN = 0.05
"""Of the level; more is no error of a throughput."""


@dataclass(frozen=True)
class AutocalMask:
    """Sky pixels and the limits outside of which pixels belong to objects."""

    mask: npt.NDArray[np.uint8]
    """uint8[ny, nx], 1 = sky, 0 = object or empty."""
    low: float
    high: float

    def qc(self) -> list[Card]:
        """Quality parameters of the product AUTOCAL_MASK."""
        return [
            ("ESO QC SCIPOST LOWLIMIT", self.low, "Low limit in the white light image"),
            ("ESO QC SCIPOST THRESHOLD", self.high, "Threshold in the white light image"),
        ]


def fit_autocal_mask(image: npt.ArrayLike, good: npt.ArrayLike) -> AutocalMask:
    """Find the pixels without objects.

    Parameters
    ----------
    image : float[ny, nx]
        White-light image in pixel coordinates.
    good : bool[ny, nx]
        Pixels that received data.

    Examples
    --------
    >>> flat = np.arange(100.0).reshape(10, 10) % 7
    >>> flat[4:7, 4:7] = 1000.0
    >>> mask = fit_autocal_mask(flat, np.ones((10, 10), bool)).mask
    >>> int(mask[5, 5]), int(mask[0, 0])
    (0, 1)
    """
    values = np.asarray(image, dtype=np.float64)
    filled = np.asarray(good, dtype=bool) & np.isfinite(values)
    if not filled.any():
        return AutocalMask(np.zeros(values.shape, np.uint8), float("nan"), float("nan"))
    median = float(np.median(values[filled]))
    deviation = np.abs(values - median)
    limit = OBJECT_SIGMA * float(np.median(deviation[filled]))
    objects = ~filled | (deviation > limit)
    objects = _inner_filter(objects, all_of=True)
    for _ in range(_N_DILATIONS):
        objects = _inner_filter(objects, all_of=False)
    return AutocalMask((~objects).astype(np.uint8), median - limit, median + limit)


def fit_object_free_mask(image: npt.NDArray[np.float32]) -> AutocalMask:
    """Find the pixels without objects and without their wings.

    Brightness itself is no criterion but for objects: of a slice with a higher throughput all pixels stay.

    Parameters
    ----------
    image : float32[ny, nx]
        White-light image in pixel coordinates, NaN where empty.
    """
    objects = fit_object_light((image - slice_pattern(image)).astype(np.float32))
    finite = np.isfinite(image)
    free = objects.faint & (objects.light <= FREE_OF_LIGHT * abs(objects.sky))
    enough = ENOUGH * np.count_nonzero(finite)
    if np.count_nonzero(free) < enough and objects.faint.any():
        share = min(enough / np.count_nonzero(objects.faint), 1.0)
        free = objects.faint & (objects.light <= np.quantile(objects.light[objects.faint], share))
    values = image[free]
    low, high = (float(values.min()), float(values.max())) if values.size else (float("nan"),) * 2
    return AutocalMask(free.astype(np.uint8), low, high)


def slice_pattern(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return by how much the rows of each stack differ from their neighbours, float64[ny, nx].

    A slice is one row of the image in one of four stacks. Compact objects do not change the lower quantile of
    a row.
    """
    from scipy.ndimage import median_filter

    pattern = np.zeros(image.shape)
    edges = np.linspace(0, image.shape[1], N_STACK + 1).round().astype(int)
    for first, last in zip(edges, edges[1:]):
        part = image[:, first:last].astype(np.float64)
        filled = np.isfinite(part).any(axis=1)
        if not filled.any():
            continue
        rows = np.nanquantile(part[filled], ROW_QUANTILE, axis=1)
        largest = LARGEST_PATTERN * abs(float(np.median(rows)))
        step = np.clip(rows - median_filter(rows, ROWS_TOGETHER, mode="nearest"), -largest, largest)
        pattern[filled, first:last] = step[:, np.newaxis]
    return pattern


def _inner_filter(flags: npt.NDArray[np.bool_], *, all_of: bool) -> npt.NDArray[np.bool_]:
    """Erode (all of 3 x 3) or dilate (any of 3 x 3); the border stays as it is (measured against 2.8.7)."""
    ny, nx = flags.shape
    if ny < 3 or nx < 3:
        return flags.copy()
    inner = flags[1:-1, 1:-1].copy()
    for dy in range(3):
        for dx in range(3):
            neighbour = flags[dy : dy + ny - 2, dx : dx + nx - 2]
            inner = inner & neighbour if all_of else inner | neighbour
    result = flags.copy()
    result[1:-1, 1:-1] = inner
    return result

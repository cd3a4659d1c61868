# SPDX-License-Identifier: BSD-3-Clause
"""Which spaxels give the sky continuum: all that look like sky, not the darkest ones.

The sky mask takes the darkest part of the white-light image. In a field without objects those are the
spaxels that noise has made dark: their mean spectrum is too low, by an amount that grows with the variance
and is largest in the lines. With slices of different throughput they are the slices that see less of the
sky. Here every spaxel counts whose brightness is that of most spaxels, within what noise explains, upwards as
much as downwards; so noise takes no part in the choice, and many more rows share in the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

NEAR_MODE = 3.0  # widths of the distribution of the spaxels
NEAR_MODE_SMOOTHED = 2.5  # the same in the image smoothed with 3 x 3 spaxels: faint wings of objects
MIN_PART_OF_MASK = 0.5
THROUGHPUT_ERROR = 0.03  # of the sky level; more than this only objects raise most spaxels above the mask
_NORMAL = 1.4826  # standard deviation over median absolute deviation


def fit_sky_sample(
    image: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8], noise: float
) -> npt.NDArray[np.uint8]:
    """Return the spaxels (1) that look like sky; the sky mask itself where most of the field is object.

    Parameters
    ----------
    image : float32[ny, nx]
        white-light image, NaN where empty
    mask : uint8[ny, nx]
        sky mask, from the darkest spaxels
    noise : float
        expected standard deviation of a spaxel

    Examples
    --------
    >>> image = np.random.default_rng(1).normal(50, 1, (60, 60)).astype(np.float32)
    >>> image[20:30, 20:30] += 20
    >>> darkest = (image < 48.5).astype(np.uint8)
    >>> sample = fit_sky_sample(image, darkest, 1.0)
    >>> int(100 * sample.mean()), int(sample[20:30, 20:30].sum()), abs(image[sample > 0].mean() - 50) < 0.1
    (94, 0, np.True_)
    """
    wide = near_mode(image, NEAR_MODE) & near_mode(smoothed(image), NEAR_MODE_SMOOTHED)
    on_mask = mask != 0
    if np.count_nonzero(wide) < MIN_PART_OF_MASK * np.count_nonzero(on_mask):
        return mask
    dark, level = (float(image[part].mean(dtype=np.float64)) for part in (on_mask, wide))
    if level - dark > THROUGHPUT_ERROR * abs(dark) + 2.0 * noise:
        return mask
    return wide.astype(np.uint8)


def near_mode(image: npt.NDArray, widths: float) -> npt.NDArray[np.bool_]:
    """Say which values are within some widths of the most frequent one.

    The width is that of the values below it, which objects do not change.
    """
    values = np.sort(image[np.isfinite(image)], axis=None).astype(np.float64)
    if values.size == 0:
        return np.zeros(image.shape, np.bool_)
    mode = half_sample_mode(values)
    width = _NORMAL * float(np.median(mode - values[values <= mode]))
    with np.errstate(invalid="ignore"):
        return np.abs(image - mode) <= widths * width


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


def smoothed(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
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

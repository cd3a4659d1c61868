# SPDX-License-Identifier: BSD-3-Clause
"""The MUSE pixels that a fit of the `image` engine looks at."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError
from imphot.images.masks import excluded_by_regions
from imphot.images.sky_image import SkyImage, pixel_steps
from imphot.options import FitOptions

__all__ = ["Field", "bounding_box", "check_enough", "read_field"]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
LEAST_LEFT = 0.1
"""Share of the pixels of an image that are left without a warning."""
LEAST_COVERED = 0.5
"""Share of those that the HST image has, without a warning."""

_log = logging.getLogger("imphot")


@dataclass(frozen=True)
class Field:
    """A MUSE image cut to the rows and columns with usable pixels.

    Parameters
    ----------
    muse : SkyImage
        the whole image
    crop : (slice, slice)
        rows and columns of it that the arrays hold
    steps : (float, float)
        pixel sizes along y and x [arcsec]
    data, sigma : float64[ny, nx]
        values (zero where not used) and their standard deviations (one where not known)
    used : bool[ny, nx]
        true where a pixel may be fitted
    """

    muse: SkyImage
    crop: tuple[slice, slice]
    steps: tuple[float, float]
    data: Array
    sigma: Array
    used: Mask


def read_field(muse: SkyImage, extra: Mask, options: FitOptions) -> Field:
    """The pixels of an image that masks, variances and regions leave, without those of `extra`."""
    used = ~(muse.mask | extra | excluded_by_regions(options.regions, options.star, muse.wcs, muse.shape))
    if muse.var is not None:
        used &= np.isfinite(muse.var) & (muse.var > 0)
    crop = bounding_box(used)
    left, there = np.count_nonzero(used), np.count_nonzero(~muse.mask)
    if left < LEAST_LEFT * there:
        text = "masks, regions and variances leave %d of %d pixels of %s to fit (mask %s)"
        _log.warning(text, left, there, muse.filename, options.extramask)
    data = np.where(used, muse.values, 0.0).astype(float)[crop]
    used = used[crop]
    sigma = np.ones(data.shape)
    if muse.var is not None:
        sigma[used] = np.sqrt(muse.var[crop][used].astype(float))
    return Field(muse, crop, pixel_steps(muse.wcs), data, sigma, used)


def bounding_box(used: Mask) -> tuple[slice, slice]:
    """Rows and columns from the first to the last one with a usable pixel."""
    rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    if rows.size == 0:
        raise UserError(
            "No pixel is left to fit: all are masked, without variance or excluded by the regions. "
            "Check the region file, the extra mask and the STAT extension"
        )
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def check_enough(usable: Mask, used: Mask) -> None:
    """Refuse to fit a handful of pixels; `used` is what was there before the HST mask."""
    n = int(usable.sum())
    if n == 0:
        raise UserError(
            "The HST image has no data where the MUSE pixels to be fitted are: check the coordinates "
            "of both images and the regions"
        )
    if n < 25:
        raise UserError(
            f"Only {n} pixels are left to fit (of {int(used.sum())} before the HST mask): loosen masks "
            "and regions"
        )
    if n < LEAST_COVERED * np.count_nonzero(used):
        _log.warning(
            "the HST image has data for only %d of the %d pixels to be fitted: do both images show the same "
            "field?", n, np.count_nonzero(used),
        )  # fmt: skip

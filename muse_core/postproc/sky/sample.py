# SPDX-License-Identifier: BSD-3-Clause
"""Which spaxels are taken for the sky: all that look like sky, not the darkest ones.

The sky mask takes the darkest part of the white-light image. In a field without objects those are the
spaxels that noise has made dark: their mean spectrum is too low, by an amount that grows with the variance
and is largest in the lines. With slices of different throughput they are the slices that see less of the
sky. Here every spaxel counts whose brightness is that of most spaxels, within what noise explains, upwards as
much as downwards; so noise takes no part in the choice, and many more rows share in the mean. The light of
objects on these spaxels is estimated, so that it can be taken out of their mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.postproc.sky.object_light import fit_object_light
from muse_core.postproc.sky.point_light import refine_object_light
from muse_core.postproc.sky.sample_statistics import mode_and_width, near_mode, smoothed

NEAR_MODE = 3.0
"""Widths of the distribution of the spaxels, without the light of objects, within which they are sky."""
NEAR_MODE_SMOOTHED = 2.5
"""The same in the image smoothed with 3 x 3 spaxels: objects too faint to be seen in one."""
FREE_OF_LIGHT = 0.003
"""Of the sky level; spaxels with less light of objects are all taken, if there are enough of them."""
ENOUGH = 0.1
"""Part of the field; with fewer free spaxels those with the least light make up for the rest."""
BESIDE = 0.25
"""Part of the field, by its light of objects, up to which spaxels are beside the sample."""
MIN_PART_OF_MASK = 0.5
THROUGHPUT_ERROR = 0.03
"""Of the sky level; more than this only objects raise most spaxels above the mask."""
CHANCE = 2.5
"""Widths of the distribution by which the darkest spaxels may be below it by noise."""


@dataclass(frozen=True)
class SkySample:
    """Spaxels of the sky.

    Parameters
    ----------
    mask : uint8[ny, nx]   1 = sky
    light : float64[ny, nx]   light of objects on them, and on those beside, by the white-light image
    excess : how much brighter than the darkest part most of the field is, in parts of the sky level, where
        that is too much for the spaxels to be taken; then the sky mask itself stands in `mask`
    beside : bool[ny, nx] or None
        in crowded fields spaxels with more light of objects than any of these, but not much more: they show
        its spectrum better than the sample itself
    """

    mask: npt.NDArray[np.uint8]
    light: npt.NDArray[np.float64]
    excess: float = 0.0
    beside: npt.NDArray[np.bool_] | None = None


def fit_sky_sample(image: npt.NDArray[np.float32], dark: npt.NDArray[np.uint8]) -> SkySample:
    """Choose the spaxels that look like sky; those of the sky mask where most of the field is object.

    Parameters
    ----------
    image : float32[ny, nx]
        white-light image, NaN where empty
    dark : uint8[ny, nx]
        sky mask, from the darkest spaxels

    Examples
    --------
    >>> image = np.random.default_rng(1).normal(50, 1, (60, 60)).astype(np.float32)
    >>> image[20:30, 20:30] += 20
    >>> darkest = (image < 48.5).astype(np.uint8)
    >>> sample = fit_sky_sample(image, darkest).mask
    >>> int(100 * sample.mean()), int(sample[20:30, 20:30].sum()), abs(image[sample > 0].mean() - 50) < 0.1
    (94, 0, np.True_)
    """
    first = fit_object_light(image)
    objects = refine_object_light(image, first)
    rest = image - objects.light
    wide = objects.faint & near_mode(rest, NEAR_MODE) & near_mode(smoothed(rest), NEAR_MODE_SMOOTHED)
    on_mask = dark != 0
    nothing = np.zeros(image.shape)
    if not wide.any() or np.count_nonzero(wide) < MIN_PART_OF_MASK * np.count_nonzero(on_mask):
        return SkySample(dark, nothing)
    excess = _excess(image, wide, on_mask, objects.light)
    if excess > 0.0:
        return SkySample(dark, nothing, excess)
    limit = FREE_OF_LIGHT * abs(objects.sky)
    free = wide & (objects.light <= limit)
    finite = np.isfinite(image)
    enough = ENOUGH * np.count_nonzero(finite)
    if np.count_nonzero(free) < enough:
        share = min(enough / np.count_nonzero(wide), 1.0)
        free = wide & (objects.light <= np.quantile(objects.light[wide], share))
    if objects is first:
        return SkySample(free.astype(np.uint8), np.where(free, objects.light, 0.0))
    beside = finite & ~free & (objects.light <= np.quantile(objects.light[finite], BESIDE))
    beside &= objects.light > objects.light[free].max(initial=0.0)
    return SkySample(free.astype(np.uint8), np.where(free | beside, objects.light, 0.0), beside=beside)


def _excess(
    image: npt.NDArray[np.float32],
    wide: npt.NDArray[np.bool_],
    on_mask: npt.NDArray[np.bool_],
    light: npt.NDArray[np.float64],
) -> float:
    """Say how much brighter than the darkest part most of the field is, 0 where that is no more than usual.

    In parts of the larger of both levels: those of data without sky may be 0 or negative.
    """
    if not on_mask.any():
        return 0.0
    level, darkest = (float(image[part].mean(dtype=np.float64)) for part in (wide, on_mask))
    level -= float(light[wide].mean())
    rest = image - light
    _, width = mode_and_width(rest[np.isfinite(rest)])
    if level - darkest <= THROUGHPUT_ERROR * abs(darkest) + CHANCE * width:
        return 0.0
    return (level - darkest) / max(abs(level), abs(darkest))

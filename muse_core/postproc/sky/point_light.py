# SPDX-License-Identifier: BSD-3-Clause
"""Light of objects in crowded fields: what is seen is freed of the seeing, then smeared out with its wings.

Bright parts of an image hold the seeing already: smeared once more they have the wrong shape, by as much as
percents of the sky where light of objects is on every spaxel. Here few points are looked for whose images
explain the field (least squares with a price for each bit of light, so that noise and smooth light are no
points). What wings of several steepness around these points, and wider light, add to the faintest spaxels is
fitted there, together with the sky.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from muse_core.postproc.sky.object_light import (
    GAIN_ERROR,
    GAUSSIANS,
    SHAPE_ERROR,
    ObjectLight,
    fit_amounts,
    noise_of,
)
from muse_core.postproc.sky.smearing import Image, Smearing

INDEX = 3.1
"""Of the Moffat function with which points are looked for; one with wings too strong takes sky for wings."""
INDICES = (2.0, 2.5, INDEX, 4.0)
"""Of those that describe the wings."""
WIDE = GAUSSIANS[2:]
"""Widths of light around the points that is no wing [spaxels]."""
SHAPE_OF_POINTS = 0.07
"""By how much of itself the light of a point may be off in its core."""
PRICE = 2.0
"""Standard deviations of its light that a point must be worth."""
STEPS = 40
NARROWEST = 2.5
"""Full width at half maximum [spaxels]; less than that no seeing gives."""
SHARPEST = 0.15
"""Part of the bright peaks that is sharper than the seeing, by noise."""
PEAKS = 20
"""As many bright peaks tell the seeing; with fewer the field is not crowded."""
PEAK_HEIGHT = 20.0
"""Of a bright peak over the noise."""
FAINTEST = 0.09
"""Part of the field to which wings and sky are fitted."""
EXPLAINED = 0.05
"""Part of the variance of the faintest spaxels that the wings must explain to be believed."""
WORTH_IT = 0.003
"""Light of objects on the faintest spaxels, in parts of the sky, from which all this is done."""
TOO_MUCH = 0.1
"""The same, up to which it is done: beyond, stars are everywhere, and wings are not told from the sky."""
SURPRISE = 0.5
"""Part of that light by which the sky may change: more is a seeing that was not understood."""
_ROUNDS = 3


def refine_object_light(image: npt.NDArray[np.float32], first: ObjectLight) -> ObjectLight:
    """Tell sky and objects apart in a crowded field; what was found first where it is not crowded.

    Parameters
    ----------
    image : float32[ny, nx]
        white-light image, NaN where empty

    Examples
    --------
    >>> from muse_core.postproc.sky.object_light import fit_object_light
    >>> y, x = np.mgrid[:80, :160]
    >>> rng = np.random.default_rng(3)
    >>> places = rng.uniform(0, (80, 160, 3000), (120, 3))
    >>> stars = sum(f / (1.0 + ((y - a) ** 2 + (x - b) ** 2) / 9.0) ** 2.6 for a, b, f in places)
    >>> image = (100.0 + stars + rng.normal(0.0, 1.0, y.shape)).astype(np.float32)
    >>> first = fit_object_light(image)
    >>> abs(refine_object_light(image, first).sky - 100.0) < 1.0
    True
    """
    finite = np.isfinite(image)
    values = np.where(finite, image, 0.0).astype(np.float64)
    level = abs(first.sky)
    if not finite.any() or not first.light.any():
        return first
    darkest = finite & (first.light <= np.quantile(first.light[finite], FAINTEST))
    before = float(first.light[darkest].mean())
    if not WORTH_IT * level <= before <= TOO_MUCH * level:
        return first
    noise = noise_of(values, darkest)
    width = _seeing(values - first.sky, noise)
    if width is None:
        return first
    error = np.sqrt(
        noise**2 + (GAIN_ERROR * level) ** 2 + (SHAPE_OF_POINTS * np.maximum(values - first.sky, 0.0)) ** 2
    )
    points = _points(values, np.where(finite, error, np.inf), first.sky, width)
    spread = Smearing(values.shape)
    kernels = [spread.moffat(_radius(width, index), index) for index in INDICES]
    kernels += [spread.gaussian(sigma) for sigma in WIDE]
    shapes = spread.images(points, [spread.transform(kernel) for kernel in kernels])
    light, sky, explained = shapes[INDICES.index(INDEX)], first.sky, 0.0
    for _ in range(_ROUNDS):
        faintest = finite & (light <= np.quantile(light[finite], FAINTEST))
        error = np.sqrt(noise**2 + (GAIN_ERROR * level) ** 2 + (SHAPE_ERROR * light) ** 2)
        sky, amounts, explained = fit_amounts(
            values[faintest], [shape[faintest] for shape in shapes], error[faintest]
        )
        light = np.einsum("k,kyx->yx", amounts, np.stack(shapes))
        if explained < EXPLAINED:
            return first
    if abs(sky - first.sky) > SURPRISE * before:
        return first
    part = np.count_nonzero(first.faint) / np.count_nonzero(finite)
    return ObjectLight(sky, light, finite & (light <= np.quantile(light[finite], part)))


def _radius(width: float, index: float) -> float:
    """Return the radius of a Moffat function by its full width at half maximum."""
    return width / (2.0 * np.sqrt(2.0 ** (1.0 / index) - 1.0))


def _seeing(light: Image, noise: float) -> float | None:
    """Return the full width at half maximum of the sharpest bright peaks [spaxels].

    The logarithm of a Moffat function is curved at its peak by 2 index / radius^2.
    """
    inner = light[1:-1, 1:-1]
    up, down, left, right = light[2:, 1:-1], light[:-2, 1:-1], light[1:-1, :-2], light[1:-1, 2:]
    corners = [light[2:, 2:], light[2:, :-2], light[:-2, 2:], light[:-2, :-2]]
    beside = np.stack([up, down, left, right, *corners])
    peaks = (inner > beside.max(axis=0)) & (beside[:4].min(axis=0) > 0.0) & (inner > PEAK_HEIGHT * noise)
    height = inner[peaks]
    if height.size < PEAKS:
        return None
    bright = np.argsort(height)[::-1][: max(PEAKS, height.size // 4)]
    around = np.log(beside[:4, peaks][:, bright]).sum(axis=0)
    curvature = 0.5 * (4.0 * np.log(height[bright]) - around)
    radius = np.sqrt(2.0 * INDEX / curvature)
    widths = 2.0 * np.sqrt(2.0 ** (1.0 / INDEX) - 1.0) * radius
    return max(float(np.quantile(widths, SHARPEST)), NARROWEST)


def _points(values: Image, error: Image, sky: float, width: float) -> npt.NDArray[np.float32]:
    """Return the light of the points whose images explain the field.

    Accelerated projected gradients (Beck & Teboulle 2009): first with a price, which keeps noise from being
    explained, then without it for the points that are left, which makes them as bright as they are.

    Parameters
    ----------
    error : float64[ny, nx]
        infinite where there is nothing
    sky : level to begin with
    width : full width at half maximum [spaxels]
    """
    spread = Smearing(values.shape, np.float32)
    kernel = spread.moffat(_radius(width, INDEX), INDEX)
    blur, squared = spread.transform(kernel), spread.transform(kernel, power=2)
    weight = (error.min() / error).astype(np.float32) ** 2
    total = weight.sum(dtype=np.float64)
    [seen] = spread.images((weight > 0).astype(np.float32), [blur])
    [bound] = spread.images(weight * seen, [blur])
    allowed = weight > 0
    step = np.where(allowed, 1.0 / np.maximum(bound, 1e-6 * bound.max()), 0.0).astype(np.float32)
    [noise] = spread.images(weight, [squared])
    price = PRICE * error.min() * np.sqrt(np.maximum(noise, 0.0))
    points = np.zeros(values.shape, np.float32)
    data = values.astype(np.float32)
    for cost in (price, 0.0):
        if cost is not price:
            step = np.where(points > 0, step, np.float32(0.0))
        ahead, momentum = points, 1.0
        for _ in range(STEPS):
            [model] = spread.images(ahead, [blur])
            sky = float((weight * (data - model)).sum(dtype=np.float64) / total)
            [pull] = spread.images(weight * (data - np.float32(sky) - model), [blur])
            moved = np.maximum(ahead + step * (pull - cost), 0.0).astype(np.float32)
            following = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
            ahead = moved + np.float32((momentum - 1.0) / following) * (moved - points)
            points, momentum = moved, following
    return points

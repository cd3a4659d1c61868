# SPDX-License-Identifier: BSD-3-Clause
"""How much light of objects lies on each spaxel, and how bright the sky is without it.

The wings of stars and galaxies reach over the whole field: in a crowded one no spaxel is free of them, and
the mean of the darkest is too bright by percents. What lies on faint spaxels is described here as the bright
parts of the image, smeared out with kernels of several widths; the amounts and the sky under them are fitted
to the faint spaxels. Sky and objects are told apart by their shapes, not by a limit. Which spaxels are faint
is taken from the light that was found before, not from their brightness: spaxels that are chosen because they
are dark make the light that is left on the others look smaller than it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.postproc.sky.sample_statistics import mode_and_width, smoothed
from muse_core.postproc.sky.smearing import Image, Smearing

GAUSSIANS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Widths of the kernels [spaxels]: from the core of a star to a galaxy of half of the field."""
POWER_LAWS = ((3.0, 1.5), (3.0, 2.0), (3.0, 2.5))
"""Core radius [spaxels] and exponent of the kernels that fall off like the wings of stars."""
BRIGHT = 4.0
BRIGHT_SMOOTHED = 3.0
"""Widths of the distribution of the spaxels above the sky from which they count as object, as they are and as
means of 3 x 3."""
FEWEST = 0.1
"""Part of the spaxels that is taken as faint in any case."""
SAME_EVERYWHERE = 0.3
"""Light that varies less than this part of its mean over the faint spaxels cannot be told from the sky."""
EXPLAINED = 0.03
"""Part of the variance of the faint spaxels that objects must explain to be believed."""
SPAXELS_TOGETHER = 4.0
"""Spaxels of a slice err together; that many count as one where chance is judged."""
SHAPE_ERROR = 0.7
"""By how much of itself the light on a spaxel may be off: the kernels are not the true shapes."""
GAIN_ERROR = 0.01
"""Throughput errors of slices."""
ROUNDS = 5
_CLIP = 3.0
_CLIP_ROUNDS = 4


@dataclass(frozen=True)
class ObjectLight:
    """What objects add to the sky of a white-light image.

    Parameters
    ----------
    sky : level of the sky
    light : float64[ny, nx]   light of the objects on faint spaxels (on bright ones it is not meant)
    faint : bool[ny, nx]   spaxels that are not objects themselves
    """

    sky: float
    light: Image
    faint: npt.NDArray[np.bool_]


def fit_object_light(image: npt.NDArray[np.float32]) -> ObjectLight:
    """Tell sky and objects apart.

    Parameters
    ----------
    image : float32[ny, nx]
        white-light image, NaN where empty

    Examples
    --------
    >>> y, x = np.mgrid[:60, :60]
    >>> star = 3000.0 / (1.0 + ((x - 20) ** 2 + (y - 25) ** 2) / 4.0) ** 2
    >>> noise = np.random.default_rng(1).normal(0.0, 1.0, star.shape)
    >>> found = fit_object_light((100.0 + star + noise).astype(np.float32))
    >>> abs(found.sky - 100.0) < 0.2, bool(found.faint[25, 20])
    (True, False)
    """
    values = image.astype(np.float64)
    finite = np.isfinite(values)
    soft = smoothed(image)
    sky, width = mode_and_width(image[finite])
    _, soft_width = mode_and_width(soft[finite])
    spread = Smearing(values.shape)
    kernels = [spread.transform(kernel) for kernel in _kernels(spread)]
    light = np.zeros(values.shape)
    faint = finite
    for round_ in range(ROUNDS):
        if round_:  # without the light of objects the distributions are narrower
            rest = (values - light)[finite]
            width = min(width, mode_and_width(rest)[1])
            soft_width = min(soft_width, mode_and_width(smoothed(values - light)[finite])[1])
        with np.errstate(invalid="ignore"):
            bright = (values > sky + BRIGHT * width) | (soft > sky + BRIGHT_SMOOTHED * soft_width)
        faint = finite & ~bright
        rank = light if round_ else soft
        part = float(faint.sum()) / max(float(finite.sum()), 1.0)
        if finite.any() and (round_ or part < FEWEST):
            faint = finite & (rank <= np.quantile(rank[finite], max(part, FEWEST)))
        if not bright.any():
            return ObjectLight(sky, np.zeros(values.shape), faint)
        shapes = spread.images(np.where(bright & finite, values - sky, 0.0), kernels)
        error = np.hypot(noise_of(values, faint), GAIN_ERROR * abs(sky))
        error = np.hypot(error, SHAPE_ERROR * (light if round_ else np.maximum(soft - sky, 0.0)))
        sky, amounts, explained = fit_amounts(values[faint], [shape[faint] for shape in shapes], error[faint])
        if explained < EXPLAINED + len(shapes) * SPAXELS_TOGETHER / np.count_nonzero(faint):
            return ObjectLight(float(np.median(values[faint])), np.zeros(values.shape), faint)
        light = np.einsum("k,kyx->yx", amounts, np.stack(shapes))
    return ObjectLight(sky, light, faint)


def _kernels(spread: Smearing) -> list[Image]:
    return [spread.gaussian(s) for s in GAUSSIANS] + [spread.moffat(a, b) for a, b in POWER_LAWS]


def noise_of(values: Image, chosen: npt.NDArray[np.bool_]) -> float:
    """Return the noise of some spaxels, by the differences of neighbours in a row (of one slice)."""
    both = chosen[:, 1:] & chosen[:, :-1]
    steps = np.diff(values, axis=1)[both]
    return 1.4826 * float(np.median(np.abs(steps))) / np.sqrt(2.0) if steps.size else 0.0


def fit_amounts(values: Image, shapes: list[Image], error: Image) -> tuple[float, Image, float]:
    """Fit a constant plus positive amounts of some shapes, without outliers.

    Parameters
    ----------
    values, each of the shapes, error : float64[n]
        the error is what weights the values

    Returns
    -------
    constant, amounts, part of the variance that the shapes explain
    """
    terms = np.stack([np.ones(values.size), *shapes], axis=1)
    keep = np.ones(values.size, np.bool_)
    weight = 1.0 / np.maximum(error, 1e-6 * float(np.abs(values).max(initial=1e-300)))
    weight /= weight.max(initial=1e-300)
    solution, residual = np.zeros(terms.shape[1]), values
    for _ in range(_CLIP_ROUNDS):
        solution = _positive_solution(terms[keep], values[keep], weight[keep])
        residual = weight * (values - np.einsum("ni,i->n", terms, solution))
        sigma = 1.4826 * float(np.median(np.abs(residual[keep])))
        keep = np.abs(residual) < _CLIP * sigma
        if sigma == 0.0 or np.count_nonzero(keep) < 10 * terms.shape[1]:
            break
    middle = np.average(values[keep], weights=weight[keep] ** 2) if keep.any() else 0.0
    variance = float((weight * (values - middle))[keep].var())
    explained = 1.0 - float(residual[keep].var()) / variance if variance > 0.0 else 0.0
    return float(solution[0]), solution[1:], explained


def _positive_solution(terms: Image, values: Image, weight: Image) -> Image:
    """Solve a least-squares problem whose unknowns, but for the first, are not negative.

    Terms with a negative amount are left out, the most negative first. (einsum adds in a fixed order, which
    products of matrices do not; only where a single term is left is it another one than with several.)
    """
    scale = np.abs(terms).max(axis=0)
    spread = terms.std(axis=0)
    used = [0, *(k for k in range(1, scale.size) if spread[k] > SAME_EVERYWHERE * abs(terms[:, k].mean()))]
    part = weight[:, np.newaxis] * terms[:, used] / scale[used]
    matrix, right = _normal_equations(part, weight * values)
    left = list(range(len(used)))
    while True:
        found = np.linalg.lstsq(matrix[np.ix_(left, left)], right[left], rcond=1e-12)[0]
        if len(left) == 1 or found[1:].min() >= 0.0:
            solution = np.zeros(scale.size)
            chosen = [used[k] for k in left]
            solution[chosen] = found / scale[chosen]
            return solution
        del left[1 + int(np.argmin(found[1:]))]
        if len(left) == 1:
            matrix, right = _normal_equations(part[:, left], weight * values)


def _normal_equations(part: Image, values: Image) -> tuple[Image, Image]:
    return np.einsum("ni,nj->ij", part, part), np.einsum("ni,n->i", part, values)

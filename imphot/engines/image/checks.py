# SPDX-License-Identifier: BSD-3-Clause
"""What the model of the `image` engine leaves out, looked for in the residuals.

The residuals of a fit are linear in small further effects: another shape of the PSF, images distorted
against each other, a sloping background. Their sizes are solved for together with the parameters, with
errors from the same noise. What is then still different from source to source (colours, variable and moving
stars) is found by looking at the sources one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.field import Field

__all__ = [
    "DISTORTION",
    "SLOPE",
    "Disagreement",
    "chi_squared",
    "columns_of",
    "disagreement",
    "displacement",
    "limit",
    "shape_is_another",
]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

DISTORTION = ("dx_by_x", "dx_by_y", "dy_by_x", "dy_by_y")  # change of an offset across the field
SLOPE = ("bg_by_x", "bg_by_y")  # change of the background across the field

# chi squared that chance exceeds once in 10^5 fields, for 1, 2, 3 ... degrees of freedom
LIMITS = (19.5, 23.0, 25.9, 28.5, 30.9, 33.1)

# sigma of a single part of the PSF, the others left out; a larger chance than above (one in some 100 fields),
# since a wing that is just not seen moves the flux scale by six of its errors when the index is free
PART = 2.6

BRIGHT = 12.0  # a source is looked at on its own when its scale is known so many times better than its value
SMALLEST = 4  # sources that are needed to speak of a disagreement
# what matters: displacements [arcsec] and relative differences in flux; smaller ones may come from the
# interpolation of the HST image, however clear they are
MATTERS = 0.002
MATTERS_IN_FLUX = 0.005
LINEAR = 0.1  # displacement [arcsec] up to which the effect of a distortion is linear enough
CLEAR = 4.0  # standard deviations by which their chi squared must exceed what is expected


def limit(freedom: int) -> float:
    """Chi squared from which on an effect with so many free numbers is no chance."""
    return LIMITS[freedom - 1]


def columns_of(names: Sequence[str], by_x: Array, by_y: Array, field: Field, used: Mask) -> Array:
    """Derivatives of model / sigma by distortions and slopes, as columns.

    Parameters
    ----------
    names : of `DISTORTION` and `SLOPE`
    by_x, by_y : float64[npix]
        columns of the Jacobian that belong to dx and dy
    field : Field
    used : bool[ny, nx]
        pixels to which the columns belong
    """
    y, x = distances(field, used)
    weight = 1.0 / field.sigma[used]
    columns = {
        "dx_by_x": by_x * x,
        "dx_by_y": by_x * y,
        "dy_by_x": by_y * x,
        "dy_by_y": by_y * y,
        "bg_by_x": weight * x,
        "bg_by_y": weight * y,
    }
    return np.array([columns[name] for name in names]).T.reshape(x.size, len(names))


def distances(field: Field, used: Mask) -> tuple[Array, Array]:
    """Distances of the used pixels from their middle along y and x [arcsec].

    So the offsets of a distorted image are those in the middle of what was fitted.
    """
    y, x = (i.astype(float) * step for i, step in zip(np.nonzero(used), field.steps, strict=True))
    return y - y.mean(), x - x.mean()


def displacement(step: Sequence[float], field: Field, used: Mask) -> float:
    """Root mean square of the displacements of a distortion [arcsec]; step holds the four of `DISTORTION`."""
    y, x = distances(field, used)
    along_x, along_y = step[0] * x + step[1] * y, step[2] * x + step[3] * y
    return float(np.sqrt(np.mean(along_x**2 + along_y**2)))


def chi_squared(values: Array, covariance: Array, where: Sequence[int]) -> float:
    """Square of some of the values in units of their errors."""
    part = np.asarray(where)
    inverse = np.linalg.pinv(covariance[np.ix_(part, part)], hermitian=True)
    return float(values[part] @ inverse @ values[part])


def shape_is_another(values: Array, covariance: Array, where: Sequence[int]) -> bool:
    """Do the residuals ask for parts of another shape in the PSF, of all of them or of one alone?

    Parameters
    ----------
    values, covariance : float64[n], float64[n, n]
        linear estimates of all parameters
    where : indices of the parts, which cannot be negative
    """
    if chi_squared(values, covariance, where) > limit(len(where)):
        return True
    part = np.asarray(where)
    weights = np.linalg.pinv(covariance[np.ix_(part, part)], hermitian=True)
    alone = weights @ values[part] / np.sqrt(np.maximum(np.diag(weights), 1e-300))
    return bool(alone.max() > PART)


@dataclass(frozen=True)
class Disagreement:
    """How much sources differ in one parameter beyond their errors.

    Parameters
    ----------
    sources : number of sources that were compared
    scatter : standard deviation beyond the errors, zero where it is not clear
    extra_variance : what it adds to the variance of the parameter of the whole field
    """

    sources: int
    scatter: float
    extra_variance: float


def _cells(light: Array, sigma: Array, used: Mask) -> npt.NDArray[np.int64]:
    """Pixels shared among the bright sources, each to the nearest: number of the source, -1 where none."""
    from scipy import ndimage

    significance = np.where(used, light / sigma, 0.0)
    peaks = (significance == ndimage.maximum_filter(significance, 9)) & (significance > 3.0)
    if not peaks.any():
        return np.full(light.shape, -1)
    numbers = np.cumsum(peaks).reshape(peaks.shape) - 1
    nearest = ndimage.distance_transform_edt(~peaks, return_distances=False, return_indices=True)
    return np.asarray(np.where(used, numbers[tuple(nearest)], -1))


def disagreement(
    column: Array,
    residual: Array,
    light: Array,
    sigma: Array,
    used: Mask,
    error: float,
    precision: float,
    matters: float,
) -> Disagreement:
    """Compare the sources of a field in one parameter.

    Parameters
    ----------
    column, residual : float64[npix]
        derivative of model / sigma by the parameter, and (data - model) / sigma, on the used pixels
    light : float64[ny, nx]
        the model without background
    sigma : float64[ny, nx]
    used : bool[ny, nx]
    error : standard error of the parameter if all sources agree
    precision : error with which a source must give the parameter to be compared
    matters : smallest scatter that is worth mentioning
    """
    cells = _cells(light, sigma, used)[used]
    known = cells >= 0
    if not known.any():
        return Disagreement(0, 0.0, 0.0)
    information = np.bincount(cells[known], (column * column)[known])
    product = np.bincount(cells[known], (column * residual)[known])
    total = float(information.sum())
    noise = error**2 * total  # of the product, per information: correlated pixels and HST noise are in error
    good = information * precision**2 > noise
    n = int(good.sum())
    if n < SMALLEST:
        return Disagreement(n, 0.0, 0.0)
    weight = information[good] / noise
    value = product[good] / information[good]
    mean = float((weight @ value) / weight.sum())
    square = float(weight @ (value - mean) ** 2)
    freedom = n - 1
    if square < freedom + CLEAR * np.sqrt(2.0 * freedom):
        return Disagreement(n, 0.0, 0.0)
    # moment estimate of the scatter between sources (DerSimonian & Laird 1986, Control. Clin. Trials 7, 177)
    spread = float(weight.sum() - (weight @ weight) / weight.sum())
    variance = (square - freedom) / max(spread, 1e-300)
    if variance < matters**2:
        return Disagreement(n, 0.0, 0.0)
    concentration = float(weight @ weight) / float(weight.sum()) ** 2
    return Disagreement(n, float(np.sqrt(variance)), variance * concentration)

# SPDX-License-Identifier: BSD-3-Clause
"""Errors of sums over voxels: what STAT and the extension COVARIANCE of a cube say together."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.framework import InputError
from muse_core.framework.fits_file import open_fits
from muse_core.resampling.covariance import Covariance
from muse_core.resampling.covariance_file import read_covariance

if TYPE_CHECKING:
    from collections.abc import Iterator

_AT_ONCE = 2_000_000  # voxels
_SAMPLES = 400  # apertures
_MARGIN = 3  # voxels around them: at the edges of the field voxels have few pixels, and share them all


@contextmanager
def _opened(cube: Any) -> Iterator[tuple[Any, str]]:
    if isinstance(cube, (str, Path)):
        with open_fits(Path(cube), memmap=True) as hdus:
            yield hdus, str(cube)
    else:
        yield cube, str(cube.filename() or "") if hasattr(cube, "filename") else ""


def _covariance_and_shape(hdus: Any, file: str) -> tuple[Covariance, tuple[int, ...]]:
    """Return the covariance and the shape of a cube that has both extensions."""
    shape: tuple[int, ...] = hdus["STAT"].shape if "STAT" in hdus else ()
    if len(shape) != 3:
        raise InputError(
            file, "STAT", expected="an extension with the variances of a cube",
            found=f"{len(shape)} axes" if "STAT" in hdus else "none",
            remedy="Give a cube of muse_scipost or muse_exp_combine.",
        )  # fmt: skip
    return read_covariance(hdus, shape, file), shape


def aperture_variance(cube: Any, mask: npt.ArrayLike) -> npt.NDArray[np.float64] | float:
    """Return the variance of the sum of voxels, correlations included.

    Parameters
    ----------
    cube : path or HDUList
        a cube with the extensions STAT and COVARIANCE (made with ``covariance=true``)
    mask : bool or float [ny, nx] or [nz, ny, nx]
        which voxels are summed, or with which weight each of them; voxels without a value count nothing

    Returns
    -------
    float64[nz] or float
        with an image as mask the variance of the sum in each plane (that of a spectrum), with a cube that of
        the sum of everything; in units of STAT

    Raises
    ------
    InputError
        if the cube lacks one of the extensions, or the mask has another size or is not finite
    """
    weights = np.asarray(mask)
    with _opened(cube) as (hdus, file):
        covariance, shape = _covariance_and_shape(hdus, file)
        if weights.shape not in (shape, shape[1:]):
            raise InputError(
                file, "mask", expected=f"the shape {shape} or {shape[1:]}", found=f"{weights.shape}",
                remedy="Give a mask on the grid of the cube.",
            )  # fmt: skip
        if not np.isfinite(weights).all():
            raise InputError(
                file, "mask", expected="finite weights", found="NaN or infinity",
                remedy="Give 0 to what is not to be summed.",
            )  # fmt: skip
        box = tuple(_extent(weights, axis) for axis in range(weights.ndim))
        if any(side.start == side.stop for side in box):
            return np.zeros(shape[0]) if weights.ndim == 2 else 0.0
        planes = box[0] if weights.ndim == 3 else slice(0, shape[0])
        area = (box[-2].stop - box[-2].start) * (box[-1].stop - box[-1].start)
        factors = np.ones(shape[0])
        if covariance.stat_aperture > 1:
            factors = covariance.stat_factors(shape[0])
        above = covariance.rho.shape[3] - 1 if weights.ndim == 3 else 0
        step = max(_AT_ONCE // area, 1)
        sums = []
        for first in range(planes.start, planes.stop, step):
            last = min(first + step, planes.stop)
            chosen = slice(first, min(last + above, planes.stop))
            stat = np.asarray(hdus["STAT"].data[chosen, box[-2], box[-1]], np.float64)
            own = weights[chosen, box[1], box[2]] if weights.ndim == 3 else weights[box]
            with np.errstate(invalid="ignore"):
                error = np.sqrt(np.where(stat > 0, stat / factors[chosen, None, None], 0.0)) * own
            places = (first, box[-2].start, box[-1].start)
            sums.append(_sum_pairs(error, last - first, above, covariance, places))
    variance = np.concatenate(sums)
    return float(variance.sum()) if weights.ndim == 3 else variance


def _extent(weights: npt.NDArray[Any], axis: int) -> slice:
    """Return where the weights begin and end along an axis."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    used = np.flatnonzero(np.any(weights != 0, axis=others))
    return slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)


def _sum_pairs(
    error: npt.NDArray[np.float64],
    count: int,
    above: int,
    covariance: Covariance,
    places: tuple[int, int, int],
) -> npt.NDArray[np.float64]:
    """Sum rho times the errors of all pairs, plane by plane of their first voxel.

    Parameters
    ----------
    error : float64[n, ny, nx]
        times the weight; 0 where there is nothing
    count : int
        the first voxel of a pair is in the planes 0 .. count - 1
    above : int
        the second one is so many planes higher, at most
    places : (int, int, int)
        plane, row and column of the cube at which the array begins
    """
    rho = covariance.rho
    nz, ny, nx = error.shape
    index = [
        np.minimum((first + np.arange(n)) // size, most - 1)
        for first, n, size, most in zip(
            places, error.shape, (covariance.block, covariance.tile, covariance.tile), rho.shape
        )
    ]
    reach = (rho.shape[4] - 1) // 2
    sums = np.zeros(count)
    for dz in range(above + 1):
        n = min(count, nz - dz)
        for dy in range(-min(reach, ny - 1), min(reach, ny - 1) + 1):
            for dx in range(-min(reach, nx - 1), min(reach, nx - 1) + 1):
                if n <= 0:
                    continue
                coefficient = rho[:, :, :, dz, dy + reach, dx + reach]
                y, x = slice(max(0, -dy), ny - max(0, dy)), slice(max(0, -dx), nx - max(0, dx))
                y2, x2 = slice(y.start + dy, y.stop + dy), slice(x.start + dx, x.stop + dx)
                field = coefficient[index[0][:n, None, None], index[1][y, None], index[2][x]]
                both = error[:n, y, x] * error[dz : dz + n, y2, x2]
                sums[:n] += (2.0 if dz else 1.0) * (both * field).sum(axis=(1, 2))
    return sums


def noise_factor(cube: Any, n: int, planes: int = 1) -> float:
    """Return the error of an aperture of n x n spaxels over the root of the summed STAT.

    Parameters
    ----------
    cube : path or HDUList
        a cube with the extension COVARIANCE (made with ``covariance=true``)
    n : int
        spaxels along each side
    planes : int
        planes that are summed as well

    Returns
    -------
    float
        mean (of the squares) over apertures all over the cube that keep clear of its edges, if there are any

    Raises
    ------
    InputError
        if the cube has no such extension, or no such aperture
    """
    with _opened(cube) as (hdus, file):
        covariance, _ = _covariance_and_shape(hdus, file)
        stat = hdus["STAT"].data
        factors = covariance.stat_factors(len(stat)) if covariance.stat_aperture > 1 else np.ones(len(stat))
        above = covariance.rho.shape[3] - 1
        inner: list[float] = []
        outer: list[float] = []
        for place in _places(stat.shape, (planes, n, n)):
            box = tuple(slice(first, first + size) for first, size in zip(place, (planes, n, n)))
            own = np.asarray(stat[box], np.float64)
            if np.all(own > 0):
                error = np.sqrt(own / factors[box[0], None, None])
                ratio = _sum_pairs(error, planes, above, covariance, place).sum() / own.sum()
                (inner if _is_clear(stat, box) else outer).append(ratio)
        ratios = inner or outer
    if not ratios:
        raise InputError(
            file, "n, planes", expected="an aperture that fits into the cube", found=f"{n}, {planes}",
            remedy="Give fewer voxels.",
        )  # fmt: skip
    return float(np.sqrt(np.mean(ratios)))


def _is_clear(stat: npt.NDArray[np.float32], box: tuple[slice, ...]) -> bool:
    """Return whether an aperture is as far from the edges of the field and of the cube as it should be."""
    wide = [(side.start - _MARGIN, side.stop + _MARGIN) for side in box]
    if any(low < 0 or high > size for (low, high), size in zip(wide, stat.shape)):
        return False
    return bool(np.all(stat[tuple(slice(*side) for side in wide)] > 0))


def _places(shape: tuple[int, ...], size: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """Yield where apertures begin, spread over a cube."""
    if any(not 1 <= own <= whole for own, whole in zip(size, shape)):
        return
    room = [whole - own + 1 for own, whole in zip(size, shape)]
    # fractions of an irregular sequence: the places of no two apertures repeat each other
    for number in range(_SAMPLES):
        fractions = ((number + 0.5) * step % 1.0 for step in (0.8191725, 0.6710436, 0.5497005))
        yield tuple(int(fraction * most) for fraction, most in zip(fractions, room))  # type: ignore[misc]

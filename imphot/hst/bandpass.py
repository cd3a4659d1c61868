# SPDX-License-Identifier: BSD-3-Clause
"""bandpass_image: collapse a cube with the response curve of a filter."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy import units

from imphot.errors import UserError
from imphot.hst.cubes import CubeLike, CubeSource, open_cube
from imphot.images.opening import ImageLike
from imphot.images.sky_image import SkyImage
from muse_core.framework.workers import number_of_workers

__all__ = ["bandpass_image", "plane_weights"]

Array: TypeAlias = npt.NDArray[np.float64]

_log = logging.getLogger("imphot")

BLOCK_BYTES = 64 << 20  # data of a cube held at a time by each thread


def bandpass_image(
    cube: CubeLike,
    wavelengths: npt.ArrayLike,
    sensitivities: npt.ArrayLike,
    unit_wave: Any = units.Angstrom,
    interpolation: str = "linear",
    truncation_warning: bool = True,
    nprocess: int = 0,
) -> ImageLike:
    """Image of a cube as seen through a filter.

    Parameters
    ----------
    cube : mpdaf Cube, str or HDUList
        the cube; planes are read in blocks
    wavelengths, sensitivities : array
        the response curve, wavelengths in increasing order
    unit_wave : astropy unit or its name
        unit of the wavelengths
    interpolation : {"linear", "cubic"}
        how the curve is interpolated
    truncation_warning : bool
        warn when more than half a percent of the curve lies outside the cube
    nprocess : int
        threads that read and add; 0: one per CPU, -n: all CPUs but n

    Returns
    -------
    image
        mpdaf Image for an mpdaf Cube, else `SkyImage`; weighted mean over the planes.  Voxels that are
        masked, or whose data or variance is not a number, lose their own weight only.
    """
    lam, curve = np.asarray(wavelengths, float), np.asarray(sensitivities, float)
    if lam.ndim != 1 or lam.shape != curve.shape or lam.size < 2:
        raise UserError("The wavelengths and sensitivities arguments should be 1D arrays of equal length")
    if not (np.isfinite(lam).all() and np.isfinite(curve).all()):
        raise UserError("The filter curve holds values that are not finite")
    if np.any(np.diff(lam) <= 0):
        raise UserError("The wavelengths of the filter curve must increase")
    if unit_wave is not None:
        try:
            lam = lam * float(units.Unit(unit_wave).to(units.Angstrom))
        except (ValueError, TypeError, units.UnitsError) as err:
            raise UserError(f"{unit_wave} is not a unit of wavelengths") from err
    with open_cube(cube) as source:
        return _collapse(source, lam, curve, interpolation, truncation_warning, nprocess)


def _collapse(
    source: CubeSource,
    wavelengths: Array,
    sensitivities: Array,
    interpolation: str,
    truncation_warning: bool,
    nprocess: int,
) -> ImageLike:
    centres, widths = source.wavelengths()
    weights, outside = plane_weights(centres, widths, wavelengths, sensitivities, interpolation)
    used = np.flatnonzero(weights)
    if used.size == 0:
        raise UserError("The filter curve does not overlap the wavelength coverage of the cube.")
    if truncation_warning and outside > 0.005:
        _log.warning("%.2g%% of the filter curve lies outside the wavelengths of the cube", 100.0 * outside)
    first, last = used[0], used[-1] + 1
    workers = number_of_workers(nprocess)
    planes = max(int(BLOCK_BYTES // (source.shape[1] * source.shape[2] * 8)), 1)
    planes = max(min(planes, -(-(last - first) // workers)), 1)
    blocks = [(k, min(k + planes, last)) for k in range(first, last, planes)]
    total, total_var, total_weight, seen_var = _sum_blocks(source, weights, blocks, workers)
    good = total_weight > 0
    safe = np.where(good, total_weight, 1.0)
    values = np.where(good, total / safe, np.nan)
    var = np.where(good, total_var / safe**2, 0.0) if seen_var else None
    return _image(source, values, var, ~good)


def _sum_blocks(
    source: CubeSource, weights: Array, blocks: Sequence[tuple[int, int]], workers: int
) -> tuple[Array, Array, Array, bool]:
    shape = source.shape[1:]
    total, total_var, total_weight = (np.zeros(shape) for _ in range(3))

    def work(block: tuple[int, int]) -> tuple[Array, Array, Array | None]:
        data, var, mask = source.planes(*block)
        w = weights[block[0] : block[1], None, None]
        bad = mask | ~np.isfinite(data)
        if var is not None:
            bad |= ~np.isfinite(var)
        sums = np.where(bad, 0.0, data * w).sum(axis=0), np.where(bad, 0.0, w).sum(axis=0)
        return *sums, None if var is None else np.where(bad, 0.0, var * w**2).sum(axis=0)

    seen_var = True
    with ThreadPoolExecutor(workers) as pool, np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(blocks), workers):  # no more blocks in memory than there are threads
            for part, weight, part_var in pool.map(work, blocks[start : start + workers]):
                total += part
                total_weight += weight
                seen_var = part_var is not None
                if part_var is not None:
                    total_var += part_var
    return total, total_var, total_weight, seen_var


def plane_weights(
    centres: Array,
    step: float | Array,
    wavelengths: Array,
    sensitivities: Array,
    interpolation: str = "linear",
) -> tuple[Array, float]:
    """Integral of the response curve over each plane, and the share of the curve outside all planes."""
    from scipy import interpolate

    if interpolation not in ("linear", "cubic"):
        raise UserError(f"Unknown interpolation ({interpolation}): choose linear or cubic")
    degree = 1 if interpolation == "linear" else 3
    if wavelengths.size <= degree:
        raise UserError(
            f"A {interpolation} interpolation needs more than {degree} points of the filter curve"
        )
    integral = interpolate.make_interp_spline(wavelengths, sensitivities, k=degree).antiderivative()
    low = np.clip(centres - 0.5 * step, wavelengths[0], wavelengths[-1])
    high = np.clip(centres + 0.5 * step, wavelengths[0], wavelengths[-1])
    weights = np.where(high > low, integral(high) - integral(low), 0.0)
    whole = float(integral(wavelengths[-1]) - integral(wavelengths[0]))
    return weights, float(1.0 - weights.sum() / whole) if whole else 0.0


def _image(source: CubeSource, values: Array, var: Array | None, mask: npt.NDArray[np.bool_]) -> ImageLike:
    if source.cube is None:
        return SkyImage(
            values,
            var,
            mask,
            source.wcs,
            source.unit,
            source.filename,
            source.primary_header,
            source.data_header,
        )
    from mpdaf.obj import Image

    out = Image(
        data=np.where(mask, 0.0, values),
        var=var,
        mask=mask,
        wcs=source.cube.wcs,
        unit=source.unit,
        copy=False,
        primary_header=source.primary_header.copy(),
        data_header=source.data_header.copy(),
    )
    out.filename = source.filename
    return out

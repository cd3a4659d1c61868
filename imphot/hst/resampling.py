# SPDX-License-Identifier: BSD-3-Clause
"""Band-limited resampling of an HST frame onto another pixel grid.

One pair of Fourier transforms does everything that can be done there: the low-pass and the conversion of
samples to the coefficients of a cubic spline, which is then evaluated at the wanted places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError
from imphot.images.grids import pixel_map
from imphot.images.sky_image import SkyImage, pixel_steps

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["Cutout", "cut_out", "footprint_mask", "resample", "target_map"]

Array: TypeAlias = npt.NDArray[np.float64]
Transfer: TypeAlias = Callable[[Array], Array]  # transfer function at radii of the frequency plane

BLANK = 1e-10  # values of HST frames up to this size mean "not observed"
LINES = 32  # rows or columns treated at a time: they stay in the cache of the processor


@dataclass
class Cutout:
    """The part of an HST frame that a field needs.

    ``values`` have masked pixels replaced by ``level``; ``y0, x0`` is the first pixel in the frame.
    """

    values: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    var: Array | None
    level: float
    y0: int
    x0: int
    steps: tuple[float, float]


def target_map(wcs_from: WCS, wcs_to: WCS, y: Array, x: Array) -> tuple[Array, Array]:
    """Positions in the second image of a regular grid (y, x vectors) of the first one, as two arrays.

    The map is exact on 11 x 11 points and a polynomial of third order in between; over a MUSE field it is
    good to 1e-6 pixel.
    """
    span_y, span_x = max(y[-1] - y[0], 1e-9), max(x[-1] - x[0], 1e-9)
    ny = np.linspace(y[0], y[-1], 11)
    nx = np.linspace(x[0], x[-1], 11)
    gx, gy = np.meshgrid(nx, ny)
    my, mx = pixel_map(wcs_from, wcs_to, gy.ravel(), gx.ravel())
    if not (np.isfinite(my).all() and np.isfinite(mx).all()):
        raise UserError("The HST and MUSE images do not lie in the same part of the sky")

    def basis(v: Array, first: float, span: float) -> Array:
        t = 2.0 * (v - first) / span - 1.0
        return np.stack([np.ones_like(t), t, t * t, t**3])

    by, bx = basis(gy.ravel(), y[0], span_y), basis(gx.ravel(), x[0], span_x)
    design = (by[:, None, :] * bx[None, :, :]).reshape(16, -1).T
    ty, tx = basis(np.asarray(y, float), y[0], span_y), basis(np.asarray(x, float), x[0], span_x)
    out = []
    for m in (my, mx):
        c = np.linalg.lstsq(design, m, rcond=None)[0].reshape(4, 4)
        out.append(ty.T @ c @ tx)
    return out[0], out[1]


def cut_out(hst: SkyImage, map_y: Array, map_x: Array, border: int) -> Cutout:
    """Cut the pixels around mapped positions out of an HST image, border pixels wider on every side.

    What lies outside the frame is masked.
    """
    rows, columns = hst.shape
    y0, y1 = int(np.floor(map_y.min())) - border, int(np.ceil(map_y.max())) + border + 1
    x0, x1 = int(np.floor(map_x.min())) - border, int(np.ceil(map_x.max())) + border + 1
    if (y1 - y0) * (x1 - x0) > 4e8:
        raise UserError(
            f"The field covers {y1 - y0} x {x1 - x0} pixels of the HST image: are both images of the "
            "same place?"
        )
    a0, a1, b0, b1 = max(y0, 0), min(y1, rows), max(x0, 0), min(x1, columns)
    if a0 >= a1 or b0 >= b1:
        raise UserError(
            "The HST image does not overlap the MUSE image: check the coordinates of both, and what is given "
            "of the fit (init_dx, init_dy, fix_dx, fix_dy, fix_bg)"
        )
    part, mask = hst.values[a0:a1, b0:b1], np.ones((y1 - y0, x1 - x0), bool)
    where = (slice(a0 - y0, a1 - y0), slice(b0 - x0, b1 - x0))
    bad = mask[where]
    for first in range(0, bad.shape[0], LINES):
        lines = slice(first, first + LINES)
        bad[lines] = hst.mask[a0:a1, b0:b1][lines] | (np.abs(part[lines]) <= BLANK)
    if bad.all():
        raise UserError(
            "The HST image has no data in the field of the MUSE image: check the coordinates of both"
        )
    level = _level(part, bad)
    values = np.full(mask.shape, level, part.dtype)
    np.copyto(values[where], part, where=~bad)
    var = None
    if hst.var is not None:
        var = np.zeros(values.shape)
        plane = hst.var[a0:a1, b0:b1].astype(float)
        var[where] = np.where(bad | ~np.isfinite(plane), 0.0, plane)
    return Cutout(values, mask, var, level, y0, x0, pixel_steps(hst.wcs))


def _level(values: npt.NDArray[Any], bad: npt.NDArray[np.bool_]) -> float:
    """Median of the good pixels; of a large image, of those in every second, third ... row and column."""
    every = 1 + int(np.sqrt(values.size / 1e6))
    for step in (every, 1):
        good = values[::step, ::step][~bad[::step, ::step]]
        if good.size:
            break
    middle = good.size // 2
    good.partition((middle - 1 + good.size % 2, middle))
    return 0.5 * (float(good[middle - 1 + good.size % 2]) + float(good[middle]))


def resample(
    cutout: Cutout,
    values: npt.NDArray[Any],
    map_y: Array,
    map_x: Array,
    transfer: Transfer,
    cutoff: float,
    level: float | None = None,
) -> Array:
    """Filter an image of the HST grid and evaluate it at mapped positions.

    Parameters
    ----------
    cutout : Cutout
        geometry
    values : float32 or float64[ny, nx]
        image on the pixels of the cutout
    map_y, map_x : float64[n, m]
        positions in the HST frame
    transfer : callable
        transfer function at radii of the frequency plane [cycles / arcsec]: transfer(radius) -> array
    cutoff : float
        frequency from which on the transfer function is zero [cycles / arcsec]
    level : float, optional
        value taken outside
    """
    from scipy import ndimage

    level = cutout.level if level is None else level
    coefficients = _filtered_coefficients(values, level, cutout.steps, transfer, cutoff)
    out = ndimage.map_coordinates(
        coefficients,
        [map_y - cutout.y0, map_x - cutout.x0],
        order=3,
        mode="grid-wrap",
        prefilter=False,
        output=float,
    )
    out += level
    return np.asarray(out)


def _filtered_coefficients(
    values: npt.NDArray[Any], level: float, steps: tuple[float, float], transfer: Transfer, cutoff: float
) -> npt.NDArray[Any]:
    """Coefficients of the cubic spline through a low-passed image, on a periodic grid at least as large and
    in the precision of the image.

    The transforms are made a few lines at a time, and the frequencies beyond the cut-off are left out where
    they can be: half the time of two plain transforms, and little traffic to the memory that workers share.
    """
    from scipy import fft

    rows = values.shape[0]
    ny, nx = (fft.next_fast_len(n, real=True) for n in values.shape)
    v, u = fft.fftfreq(ny)[:, None], fft.rfftfreq(nx)[None, :]
    low = np.abs(v[:, 0]) / steps[0] < cutoff
    v, u = v[low], u[:, : np.count_nonzero(u / steps[1] < cutoff)]
    # samples become coefficients of a cubic spline when divided by the transform of its values at the pixels
    spline_v, spline_u = (3.0 / (2.0 + np.cos(2 * np.pi * w)) for w in (v, u))
    half = np.zeros((ny, u.size), np.result_type(values.dtype, np.complex64))
    for first in range(0, rows, LINES):
        part = slice(first, min(first + LINES, rows))
        half[part] = fft.rfft(values[part] - values.dtype.type(level), nx, axis=1)[:, : u.size]
    for first in range(0, u.size, LINES):
        part = slice(first, first + LINES)
        columns = fft.fft(half[:, part], axis=0)
        columns[low] *= transfer(np.hypot(v / steps[0], u[:, part] / steps[1])) * spline_v * spline_u[:, part]
        columns[~low] = 0.0
        half[:, part] = fft.ifft(columns, axis=0, overwrite_x=True)
    out = np.empty((ny, nx), values.dtype)
    for first in range(0, ny, LINES):
        out[first : first + LINES] = fft.irfft(half[first : first + LINES], nx, axis=1)
    return out


def footprint_mask(
    cutout: Cutout, map_y: Array, map_x: Array, width: float, tolerance: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Positions for which a masked HST pixel lies within a square of the given width [arcsec] around them."""
    near = cutout.mask
    if not near.any():
        return np.zeros(map_y.shape, bool)
    for axis, step in enumerate(cutout.steps):
        near = _any_within(near, max(int(np.ceil(0.5 * width / step - tolerance)), 1), axis)
    iy = np.clip(np.rint(map_y - cutout.y0).astype(int), 0, near.shape[0] - 1)
    ix = np.clip(np.rint(map_x - cutout.x0).astype(int), 0, near.shape[1] - 1)
    return near[iy, ix]


def _any_within(mask: npt.NDArray[np.bool_], reach: int, axis: int) -> npt.NDArray[np.bool_]:
    """Pixels with a masked pixel up to reach pixels away along an axis; beyond the edges all is masked."""
    mask = np.swapaxes(mask, 0, axis)
    found = np.pad(mask, ((reach, reach), (0, 0)), constant_values=True)
    width, wanted = 1, 2 * reach + 1
    while width < wanted:  # found[i]: any of the rows i ... i + width - 1
        step = min(width, wanted - width)
        found = found[:-step] | found[step:]
        width += step
    return np.swapaxes(found, 0, axis)

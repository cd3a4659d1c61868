# SPDX-License-Identifier: BSD-3-Clause
"""From the cube of the sky flat to the twilight cube."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.defects import Defects
from muse_core.twilight.smooth import SupportError, good_mask, smooth_plane
from muse_core.twilight.vignetting import POLYNOMIAL, EdgeSmoothing, Vignetting, fit_vignetting

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TwilightModel:
    """Smooth illumination and the images that tell how it was made.

    Attributes
    ----------
    planes : float32[nz, ny, nx]
        The twilight cube.
    white : float32[ny, nx]
        Input image.
    global_fit : float32[ny, nx]
        Mean of the polynomial planes.
    ratio : float32[ny, nx]
        Normalised white image over ``global_fit``.
    corrected : float32[ny, nx]
        ``ratio`` over the vignetting correction.
    good : bool[ny, nx]
        Illuminated area.
    vignetting : Vignetting or None
    filled : tuple of int
        Planes without data, interpolated between their neighbours.
    """

    planes: npt.NDArray[np.float32]
    white: npt.NDArray[np.float32]
    global_fit: npt.NDArray[np.float32]
    ratio: npt.NDArray[np.float32]
    corrected: npt.NDArray[np.float32]
    good: npt.NDArray[np.bool_]
    vignetting: Vignetting | None
    filled: tuple[int, ...] = ()


def white_image(cube: Image) -> Image:
    """Mean over wavelength of the finite voxels of each spaxel; NaN where there is none."""
    total = np.zeros(cube.shape[1:])
    count = np.zeros(cube.shape[1:], np.int64)
    for plane in cube:
        finite = np.isfinite(plane)
        total[finite] += plane[finite]
        count += finite
    white = np.full(total.shape, np.nan, np.float32)
    seen = count > 0
    white[seen] = (total[seen] / count[seen]).astype(np.float32)
    return white


def fill_planes(planes: Image, empty: list[int]) -> None:
    """Interpolate planes (float32[nz, ny, nx], in place) linearly between their nearest neighbours.

    A plane has no data when the sodium notch covers it, for instance. (The C pipeline ends its cube there.)

    Raises
    ------
    SupportError
        If no plane has data.
    """
    known = [k for k in range(len(planes)) if k not in empty]
    if not known:
        raise SupportError("no plane of the cube has illuminated pixels; check lambdamin, lambdamax, dlambda")
    for k in empty:
        below = max((i for i in known if i < k), default=known[0])
        above = min((i for i in known if i > k), default=known[-1])
        share = np.float32((k - below) / (above - below) if above > below else 0)
        planes[k] = (1 - share) * planes[below] + share * planes[above]


def fit_twilight(
    cube: Image,
    white: Image,
    vignetted: Mask | None,
    *,
    xorder: int = 2,
    yorder: int = 2,
    narrow_field: bool = False,
    defects: Defects = Defects(),
    threads: int = 1,
    smoothing: EdgeSmoothing = POLYNOMIAL,
) -> TwilightModel:
    """Smooth the cube of a sky flat.

    Parameters
    ----------
    cube : float32[nz, ny, nx]
    white : float32[ny, nx]
    vignetted : bool[ny, nx] or None
        Area of the edge correction.
    xorder, yorder : int
        Orders of the polynomial.
    narrow_field : bool
    defects : Defects
        ``vignetting_mean_of_everything``: the white image is compared with its fit relative to the mean of
        everything (which makes the correction of a dark edge too weak by the part of the light that is
        missing) and not relative to the mean outside the vignetted area, where the fit was made.
        ``ends_at_empty_plane``: the cube ends before the first plane without data; else it is interpolated.
    threads : int
        Planes worked on at the same time; the result does not depend on it.
    smoothing : EdgeSmoothing
        How the vignetted area is smoothed.
    """
    good = good_mask(white)
    outside = np.zeros(white.shape, bool) if vignetted is None else vignetted
    empty = [k for k, plane in enumerate(cube) if not np.isfinite(plane[good]).any()]
    if defects.ends_at_empty_plane and empty:
        cube, empty = cube[: empty[0]], []
    planes = np.empty(cube.shape, np.float32)
    seen = [k for k in range(len(cube)) if k not in empty]
    with ThreadPoolExecutor(threads) as pool:
        fits = pool.map(lambda k: smooth_plane(cube[k], good, outside, xorder, yorder).image, seen)
        for k, fit in zip(seen, fits, strict=True):
            planes[k] = fit
    fill_planes(planes, empty)
    global_fit = planes.mean(axis=0, dtype=np.float64).astype(np.float32)
    mean = white[good].mean(dtype=np.float64)
    ratio = ((white / mean).astype(np.float32) / global_fit).astype(np.float32)
    inside = good & ~outside
    if vignetted is not None and not defects.vignetting_mean_of_everything and inside.any():
        ratio = (ratio / ratio[inside].mean(dtype=np.float64)).astype(np.float32)
    if vignetted is None:
        return TwilightModel(planes, white, global_fit, ratio, ratio, good, None, tuple(empty))
    edge = fit_vignetting(ratio, good, vignetted, smoothing, narrow_field=narrow_field, defects=defects)
    for plane in planes:
        plane *= edge.correction
        plane /= plane.mean(dtype=np.float64)
    corrected = (ratio / edge.correction).astype(np.float32)
    return TwilightModel(planes, white, global_fit, ratio, corrected, good, edge, tuple(empty))

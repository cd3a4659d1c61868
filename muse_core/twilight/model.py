# SPDX-License-Identifier: BSD-3-Clause
"""From the cube of the sky flat to the twilight cube."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .smooth import good_mask, smooth_plane
from .vignetting import Vignetting, fit_vignetting


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
    """

    planes: npt.NDArray[np.float32]
    white: npt.NDArray[np.float32]
    global_fit: npt.NDArray[np.float32]
    ratio: npt.NDArray[np.float32]
    corrected: npt.NDArray[np.float32]
    good: npt.NDArray[np.bool_]
    vignetting: Vignetting | None


def white_image(cube: np.ndarray) -> np.ndarray:
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


def fit_twilight(
    cube: np.ndarray,
    white: np.ndarray,
    vignetted: np.ndarray | None,
    *,
    xorder: int = 2,
    yorder: int = 2,
    narrow_field: bool = False,
    **vignetting,
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
    **vignetting
        Parameters of `fit_vignetting`.
    """
    good = good_mask(white)
    outside = np.zeros(white.shape, bool) if vignetted is None else vignetted
    planes = np.empty(cube.shape, np.float32)
    for k, plane in enumerate(cube):
        planes[k] = smooth_plane(plane, good, outside, xorder, yorder).image
    global_fit = planes.mean(axis=0, dtype=np.float64).astype(np.float32)
    mean = white[good].mean(dtype=np.float64)
    ratio = ((white / mean).astype(np.float32) / global_fit).astype(np.float32)
    if vignetted is None:
        return TwilightModel(planes, white, global_fit, ratio, ratio, good, None)
    edge = fit_vignetting(ratio, good, vignetted, narrow_field=narrow_field, **vignetting)
    for plane in planes:
        plane *= edge.correction
        plane /= plane.mean(dtype=np.float64)
    corrected = (ratio / edge.correction).astype(np.float32)
    return TwilightModel(planes, white, global_fit, ratio, corrected, good, edge)

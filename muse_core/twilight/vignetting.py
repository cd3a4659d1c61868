# SPDX-License-Identifier: BSD-3-Clause
"""Correction of the vignetted edge of the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.defects import Defects
from muse_core.twilight.filters import exclude_edges, masked_gaussian, masked_median
from muse_core.twilight.smooth import fit_polynomial

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

DEFAULT_SIZE = {"polyfit": 4, "median": 5, "gaussian": 10}
NFM_LEVEL = 0.9  # measured against 2.8.7: between 0.8997 and 0.9035
FWHM_PER_SIGMA = 2.35482


@dataclass(frozen=True)
class EdgeSmoothing:
    """How what the global fit leaves in the vignetted area is smoothed.

    Attributes
    ----------
    method : {"polyfit", "median", "gaussian"}
    xpar, ypar : int
        Orders or sizes; negative takes the default of the method.
    edge_limit : float
        Steps between neighbours above it are left out (wide field only; 0 keeps everything).
    """

    method: str = "polyfit"
    xpar: int = -1
    ypar: int = -1
    edge_limit: float = 0.02

    @property
    def sizes(self) -> tuple[int, int]:
        """Orders or sizes in x and y."""
        default = DEFAULT_SIZE[self.method]
        return default if self.xpar < 0 else self.xpar, default if self.ypar < 0 else self.ypar


POLYNOMIAL = EdgeSmoothing()


@dataclass(frozen=True)
class Vignetting:
    """The correction (1 outside its region) and the regions it came from.

    Attributes
    ----------
    image : float32[ny, nx]
        Input of the smoothing: 1 outside the region.
    correction : float32[ny, nx]
        What every plane is multiplied with.
    region : bool[ny, nx]
        Where the correction applies.
    fit_region : bool[ny, nx]
        Pixels that were used, of the region.
    edges_excluded : bool
        Whether strong edges were taken out.
    """

    image: npt.NDArray[np.float32]
    correction: npt.NDArray[np.float32]
    region: npt.NDArray[np.bool_]
    fit_region: npt.NDArray[np.bool_]
    edges_excluded: bool


def align_mask(mask: npt.NDArray[Any], shape: tuple[int, int]) -> Mask:
    """Cut or extend a vignetting mask of another size so that its corner stays in the corner.

    The quadrant with most masked pixels counts; everything masked in the other quadrants is dropped.

    Parameters
    ----------
    mask : int[my, mx]
        Non-zero is vignetted.
    shape : tuple of int
        ``(ny, nx)`` of the image.

    Returns
    -------
    bool[ny, nx]
    """
    my, mx = mask.shape
    masked = mask != 0
    half_y, half_x = my // 2, mx // 2
    # 1-based 1..n/2 and n/2..n: the middle row and column belong to both halves
    parts = {
        (top, right): (
            slice(max(half_y - 1, 0), my) if top else slice(0, half_y),
            slice(max(half_x - 1, 0), mx) if right else slice(0, half_x),
        )
        for top in (False, True)
        for right in (False, True)
    }
    (top, right), part = max(parts.items(), key=lambda item: int(masked[item[1]].sum()))
    kept = np.zeros_like(masked)
    kept[part] = masked[part]
    out = np.zeros(shape, bool)
    ny, nx = shape
    size_y, size_x = min(my, ny), min(mx, nx)
    source = (
        slice(my - size_y, my) if top else slice(0, size_y),
        slice(mx - size_x, mx) if right else slice(0, size_x),
    )
    target = (
        slice(ny - size_y, ny) if top else slice(0, size_y),
        slice(nx - size_x, nx) if right else slice(0, size_x),
    )
    out[target] = kept[source]
    return out


def nfm_mask(shape: tuple[int, int], height: int) -> Mask:
    """Top rows of a narrow-field image: ``height`` + 1 of them, as in 2.8.7."""
    ny = shape[0]
    out = np.zeros(shape, bool)
    out[max(ny - height - 1, 0) :] = True
    return out


def _gaussian_reach(fwhm: float) -> int:
    """Pixels on each side that count, measured against 2.8.7 for whole and half numbers."""
    return 2 * (int(np.ceil(fwhm)) // 2) + 1


def _filter_fails(method: str, xpar: int, ypar: int, shape: tuple[int, int]) -> bool:
    """Whether 2.8.7 leaves the image as it is."""
    if method == "median":
        return xpar % 2 == 0 or ypar % 2 == 0
    return method == "gaussian" and 2 * _gaussian_reach(0.5 * (xpar + ypar)) + 1 > min(shape)


def _smooth(
    image: Image,
    region: Mask,
    method: str,
    xpar: int,
    ypar: int,
    clamp: Callable[..., Image],
    empty: np.float32,
) -> Image:
    if method == "polyfit":
        clamped = clamp(image, np.float32(1))
        return clamp(fit_polynomial(clamped, region, xpar, ypar).astype(np.float32), np.float32(1))
    out = np.empty(image.shape, np.float32)
    if method == "median":
        masked_median(image, region, ypar // 2, xpar // 2, out)
    else:
        fwhm = 0.5 * (xpar + ypar)
        masked_gaussian(image, region, _gaussian_reach(fwhm), fwhm / FWHM_PER_SIGMA, out)
    return clamp(np.where(np.isnan(out), empty, out), np.float32(1))


def _keep_nfm_rows(correction: Image, vignetted: Mask, good: Mask) -> Mask:
    """Rows of the narrow-field region to keep: from the top down to where the correction stops rising."""
    kept = vignetted.copy()
    highest = -np.inf
    for y in range(correction.shape[0] - 1, -1, -1):
        if not vignetted[y].any():
            break
        # a row without good pixels counts as 0, as measured against 2.8.7
        mean = correction[y, good[y]].mean(dtype=np.float64) if good[y].any() else 0.0
        highest = max(highest, mean)
        if highest > NFM_LEVEL and mean < highest:
            kept[y] = False
    return kept


def fit_vignetting(
    ratio: Image,
    good: Mask,
    vignetted: Mask,
    smoothing: EdgeSmoothing = POLYNOMIAL,
    *,
    narrow_field: bool = False,
    defects: Defects = Defects(),
) -> Vignetting:
    """Smooth what the global fit leaves in the vignetted area.

    Parameters
    ----------
    ratio : float32[ny, nx]
        White image over its global fit.
    good, vignetted : bool[ny, nx]
        Illuminated and vignetted area.
    smoothing : EdgeSmoothing
    narrow_field : bool
        In the wide field the correction is at least 1, in the narrow field at most 1 and it reaches only as
        far down as it rises.
    defects : Defects
        ``vignetting_filter_fails``: nothing is smoothed where the filter of 2.8.7 fails: medians over an
        even number of rows or columns
        (one more is taken otherwise), Gaussians whose window exceeds the image.
    """
    method, xpar, ypar = smoothing.method, *smoothing.sizes
    inside = vignetted & good
    one = np.float32(1)
    image = np.where(inside, ratio, one).astype(np.float32)
    fit_region = inside.copy()
    excluded = not narrow_field and smoothing.edge_limit > 0
    if excluded:
        exclude_edges(image, smoothing.edge_limit, fit_region)
    clamp = np.minimum if narrow_field else np.maximum
    fails = defects.vignetting_filter_fails
    if not inside.any() or (fails and _filter_fails(method, xpar, ypar, image.shape)):
        smoothed = clamp(image, one)  # the first: a mask beside the illuminated area
    else:
        # a Gaussian window without a usable pixel gives 0 there
        empty = np.float32(0 if fails and method == "gaussian" else 1)
        smoothed = _smooth(image, fit_region, method, xpar, ypar, clamp, empty)
    region = _keep_nfm_rows(smoothed, vignetted, good) if narrow_field else inside
    fit_region &= region  # rows dropped in the narrow field are flagged in the product, too
    correction = np.where(region, smoothed, one).astype(np.float32)
    return Vignetting(image, correction, region, fit_region, excluded)

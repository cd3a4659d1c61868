# SPDX-License-Identifier: BSD-3-Clause
"""Masks from regions, and the other masks of a fit."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.ds9regions import Ds9Circle, Ds9Region, Ds9Regions, RegionError
from imphot.errors import UserError
from imphot.images.opening import read_plane
from imphot.images.sky_image import pixel_steps
from imphot.options import Regions, Star, check_star

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["excluded_by_regions", "extra_mask", "paint_region", "region_mask", "segmentation_mask"]

Mask: TypeAlias = npt.NDArray[np.bool_]

_log = logging.getLogger("imphot")


def sky_rotation(wcs: WCS) -> float:
    """Angle from +x to the direction of decreasing right ascension, counter-clockwise [radian]."""
    west = np.linalg.solve(np.asarray(wcs.pixel_scale_matrix), [-1.0, 0.0])
    return float(np.arctan2(west[1], west[0]))


def _geometry(region: Any, wcs: WCS) -> tuple[float, float, float, float, float]:
    """Centre (y, x) [pixel], half-sizes along the region's own axes [arcsec] and angle [radian]."""
    sy, sx = pixel_steps(wcs)
    cy, cx = region.centre(wcs)
    scale = np.sqrt(sy * sx) if region.sizes_in_pixels else 3600.0
    sky = 0.0 if region.system in ("physical", "image") else sky_rotation(wcs)
    if region.shape == "circle":
        return cy, cx, region.radius * scale, region.radius * scale, 0.0
    half = 0.5 if region.shape == "box" else 1.0
    return cy, cx, region.width * scale * half, region.height * scale * half, np.radians(region.pa) + sky


def paint_region(region: Ds9Region, wcs: WCS, shape: tuple[int, int], snap: bool = False) -> Mask:
    """Pixels of an image that belong to a region.

    Parameters
    ----------
    region : Ds9Region
    wcs : astropy.wcs.WCS
    shape : (int, int)
        rows and columns of the image
    snap : bool
        move circles and ellipses to the half-pixel grid before painting, as the existing package does

    Returns
    -------
    bool[shape]
    """
    sy, sx = pixel_steps(wcs)
    cy, cx, rx, ry, angle = _geometry(region, wcs)
    out = np.zeros(shape, bool)
    if not (np.isfinite(cy) and np.isfinite(cx)):
        return out
    c, s = np.cos(angle), np.sin(angle)
    box = region.shape == "box"
    if box:
        hx, hy = abs(rx * c) + abs(ry * s), abs(rx * s) + abs(ry * c)
    else:
        hx, hy = np.hypot(rx * c, ry * s), np.hypot(rx * s, ry * c)
    if snap:
        y0, ny = _block(cy, 2 * hy / sy)
        x0, nx = _block(cx, 2 * hx / sx)
    else:
        y0, x0 = int(np.ceil(cy - hy / sy)), int(np.ceil(cx - hx / sx))
        ny, nx = int(np.floor(cy + hy / sy)) - y0 + 1, int(np.floor(cx + hx / sx)) - x0 + 1
    rows = np.arange(max(y0, 0), min(y0 + ny, shape[0]))
    columns = np.arange(max(x0, 0), min(x0 + nx, shape[1]))
    if rows.size == 0 or columns.size == 0:
        return out
    unrotated = box and abs(s) < 1e-12
    if snap and unrotated:
        out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        return out
    if snap and not box:
        cy, cx = y0 + 0.5 * (ny - 1), x0 + 0.5 * (nx - 1)
    v = ((rows - cy) * sy)[:, None]
    u = ((columns - cx) * sx)[None, :]
    along, across = (u * c + v * s) / rx, (v * c - u * s) / ry
    if box:
        # a pixel centre on the border belongs to the lower side only, so that areas come out right; to both
        # when snapping
        low, high = -1.0 - 1e-9, 1.0 + (1e-9 if snap else -1e-9)
        inside = (along >= low) & (along < high) & (across >= low) & (across < high)
    else:
        inside = along**2 + across**2 < 1.0
    out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = inside
    return out


def _block(centre: float, extent: float) -> tuple[int, int]:
    """First pixel and number of pixels of the block of given extent that is centred best."""
    n = int(np.floor(extent + 0.5))
    first = int(np.floor(centre)) - n // 2 + 1 if n % 2 == 0 else int(np.floor(centre + 0.5)) - (n - 1) // 2
    return first, n


def region_mask(regions: Iterable[Ds9Region], wcs: WCS, shape: tuple[int, int], snap: bool = False) -> Mask:
    """Pixels to leave out: those of excluded regions, and all outside the included ones where there are
    any.
    """
    excluded = np.zeros(shape, bool)
    included = np.zeros(shape, bool)
    wanted = 0
    for region in regions:
        painted = paint_region(region, wcs, shape, snap)
        if not painted.any():
            _log.warning('the region "%s" holds no pixel of the image', region)
        if region.exclude:
            excluded |= painted
        else:
            wanted += 1
            included |= painted
    if wanted:
        if not included.any():
            raise UserError(
                "None of the regions to include holds a pixel of the image: check their coordinates "
                "and system"
            )
        excluded |= ~included
    if excluded.all():
        raise UserError("The regions exclude the whole image: nothing is left to fit")
    return excluded


def excluded_by_regions(
    regions: Regions, star: Star | None, wcs: WCS, shape: tuple[int, int], snap: bool = False
) -> Mask:
    """Mask for the ``regions`` argument of the fitting functions.

    Parameters
    ----------
    regions : None, str, Path, file object or sequence
        None or "none"; "star" or "notstar" (use only, or all but, the circle given by star); a region file
    star : (ra, dec, radius) or None
        degrees, degrees, arcsec
    """
    word = regions.strip().lower() if isinstance(regions, str) else None
    if regions is None or word in ("none", "") or (word in ("star", "notstar") and star is None):
        return np.zeros(shape, bool)
    if word in ("star", "notstar"):
        ra, dec, radius = check_star(star)
        return region_mask([Ds9Circle(word == "notstar", "fk5", ra, dec, radius / 3600.0)], wcs, shape, snap)
    try:
        parsed = Ds9Regions(regions)
    except RegionError as err:
        raise UserError(f"Region parsing error: {err}") from err
    except TypeError as err:
        raise UserError(
            f"The regions argument is of an unknown kind ({type(regions).__name__}): give a file, lines of "
            "text, star, notstar or none"
        ) from err
    return region_mask(parsed, wcs, shape, snap)


def segmentation_mask(values: npt.NDArray[np.float64], mask: Mask) -> Mask:
    """Pixels without a source: those below the median after a grey opening and dilation.

    The structuring element has the height one on a plus and zero on the corners, so the outcome depends on
    the unit of the image, as it does in the existing package.
    """
    from scipy import ndimage

    plus = ndimage.generate_binary_structure(2, 1)
    heights = plus.astype(float)
    image = np.where(mask, 0.0, values)
    image = ndimage.grey_opening(image, structure=heights)
    image = ndimage.grey_dilation(image, structure=heights)
    return ndimage.binary_erosion(image < np.median(image), structure=plus)


def extra_mask(extramask: Any, shape: tuple[int, int], of: str = "") -> Mask:
    """The ``extramask`` argument (array, image, file name or "none") as a mask: true is left out.

    ``of`` is the file of the image, for messages.
    """
    if extramask is None or (isinstance(extramask, str) and extramask.strip().lower() in ("none", "")):
        return np.zeros(shape, bool)
    if isinstance(extramask, (np.ndarray, list, tuple)):
        values = extramask
    elif hasattr(extramask, "values") and hasattr(extramask, "mask"):
        values = extramask.values
    elif hasattr(extramask, "primary_header"):
        values = np.ma.getdata(np.ma.MaskedArray(extramask.data))
    elif isinstance(extramask, (str, os.PathLike)):
        values = read_plane(extramask, "mask")
    else:
        raise UserError(
            f"The extra mask is of an unknown kind ({type(extramask).__name__}): give an array, an image or "
            "a file name"
        )
    values = np.asarray(values)
    if values.shape != tuple(shape):
        fault = f"The extra-mask has the wrong dimensions: {values.shape}, the image {of} has {tuple(shape)}"
        raise UserError(fault, file=str(extramask) if isinstance(extramask, (str, os.PathLike)) else "")
    return np.asarray(values != 0)

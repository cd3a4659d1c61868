# SPDX-License-Identifier: BSD-3-Clause
"""Do two images share their pixels?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imphot.images.opening import ImageLike, as_sky_image
from imphot.images.sky_image import pixel_steps

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["image_grids_aligned", "pixel_map"]

LINEAR_TOLERANCE = (
    4e-4  # relative; a rotation of 0.1 degree is 1.7e-3, an error of the pixel scale of 0.1 % is 1e-3
)


def image_grids_aligned(im1: ImageLike, im2: ImageLike, tolerance: float = 0.01) -> bool:
    """Tell whether two images have the same pixel grid.

    Parameters
    ----------
    im1, im2 : image
        mpdaf images, file names or anything else `fit_image_photometry` accepts
    tolerance : float
        largest difference of position accepted [arcsec], in the middle of the image

    Returns
    -------
    bool
        true when the shapes are equal, the middle pixels lie at the same place of the sky and both pixel axes
        agree in direction and length to 0.04 %
    """
    first, second = as_sky_image(im1, "first"), as_sky_image(im2, "second")
    if first.shape != second.shape:
        return False
    cd1, cd2 = (np.asarray(im.wcs.pixel_scale_matrix) for im in (first, second))
    if np.abs(np.linalg.solve(cd1, cd2) - np.eye(2)).max() > LINEAR_TOLERANCE:
        return False
    ny, nx = first.shape
    cy, cx = ny // 2, nx // 2
    sy, sx = pixel_steps(first.wcs)
    y, x = pixel_map(first.wcs, second.wcs, [cy], [cx])
    return bool(abs(y[0] - cy) * sy <= tolerance and abs(x[0] - cx) * sx <= tolerance)


def pixel_map(
    wcs_from: WCS, wcs_to: WCS, y: npt.ArrayLike, x: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Pixel coordinates (from zero) in a second image of positions of a first one."""
    from astropy.wcs.utils import pixel_to_pixel

    same = {(wcs_from.wcs.radesys or "ICRS").upper(), (wcs_to.wcs.radesys or "ICRS").upper()} <= {
        "ICRS",
        "FK5",
    }
    same &= wcs_from.wcs.ctype[0][:2] == wcs_to.wcs.ctype[0][:2]
    if same:  # the two frames agree within 0.03 arcsec and observers mix the keywords up
        ra, dec = wcs_from.all_pix2world(x, y, 0)
        px, py = wcs_to.all_world2pix(ra, dec, 0, quiet=True)
    else:
        px, py = pixel_to_pixel(wcs_from, wcs_to, x, y)
    return np.asarray(py), np.asarray(px)

# SPDX-License-Identifier: BSD-3-Clause
"""New exposures beside those combined before: an image of the sums, and what lies beyond their grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.tangent_plane import project
from muse_core.postproc.combination.field_images import FieldGrid, band_edges, mean_image, median_image

if TYPE_CHECKING:
    from muse_core.framework import RunContext
    from muse_core.postproc.combination.combine import Combination
    from muse_core.postproc.combination.earlier_sums import EarlierSums

Image = npt.NDArray[np.float32]


def image_of_sums(combination: Combination, earlier: EarlierSums, grid: FieldGrid) -> Image:
    """Make an image of what was combined before, as `field_images` makes those of exposures.

    Returns
    -------
    float32[ny, nx]
        NaN where there are no data, or all of it if the spaxels of the sums are larger than these pixels
    """
    own, bands = earlier.head.grid, []
    ra, dec = own.voxel_centres()
    xpos, ypos = ra.ravel() - combination.reference[0], dec.ravel() - combination.reference[1]
    dq = np.zeros(xpos.size, np.int32)
    lam = own.wavelength(np.arange(own.nz))
    for low, high in band_edges(combination.limits.lam):
        planes = np.flatnonzero((lam >= low) & (lam < high))
        if planes.size:
            sums = earlier.stored.planes(int(planes[0]), int(planes[-1]) + 1)[0].sum(axis=0)
            with np.errstate(divide="ignore", invalid="ignore"):
                mean = (sums[..., 0] / sums[..., 1]).ravel()
            bands.append(mean_image(xpos, ypos, mean, dq, grid))
    if not bands:
        return np.full((grid.ny, grid.nx), np.nan, np.float32)
    return median_image(np.array(bands))


def warn_of_lost(
    combination: Combination, earlier: EarlierSums, grid: FieldGrid, images: list[Image], ctx: RunContext
) -> None:
    """Tell how much of each exposure lies beyond the grid of the sums."""
    own = earlier.head.grid
    iy, ix = np.indices((grid.ny, grid.nx))
    ra, dec = grid.positions(ix, iy)
    sky = project(ra + combination.reference[0], dec + combination.reference[1], *own.crval[:2])
    pixels = np.tensordot(np.linalg.inv(np.array(own.matrix)), np.array(sky), 1)
    x, y = pixels[0] + own.crpix[0], pixels[1] + own.crpix[1]
    beyond = ~((x > 0.5) & (x < own.nx + 0.5) & (y > 0.5) & (y < own.ny + 0.5))
    for member, image in zip(combination.members, images, strict=True):
        there = np.isfinite(image)
        share = int((there & beyond).sum()) / max(int(there.sum()), 1)
        if share > 0.0:
            ctx.log.warning(
                "exposure %d: %.1f %% of its field lies beyond the grid of the sums and is lost; combine all "
                "exposures anew, or give the first run an OUTPUT_WCS that is large enough",
                member.number,
                100.0 * share,
            )
    low, high = combination.limits.lam
    first, last = own.edge(0), own.edge(own.nz)
    if low < first - own.dlambda or high > last + own.dlambda:
        ctx.log.warning(
            "the exposures cover %.1f to %.1f Angstrom, the sums %.1f to %.1f: the rest is lost",
            low, high, first, last,
        )  # fmt: skip

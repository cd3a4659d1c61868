# SPDX-License-Identifier: BSD-3-Clause
"""Places in the field where one exposure shows what the others do not: trails of satellites, reflections.

Such light is there at all wavelengths, so that it is seen in an image of the exposure long before it stands
out in a single voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.postproc.combination.field_images import FieldGrid, field_grid, field_images, median_image
from muse_core.resampling.cosmics import COSMIC_RAY
from muse_core.resampling.exposure_rejection import LEAST_EXPOSURES, ExposureRejection, rejected_exposures

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.framework import RunContext
    from muse_core.postproc.combination.combine import Combination
    from muse_core.postproc.exposure.correction import Card


@dataclass(frozen=True)
class Unconfirmed:
    """A correction that flags the rows of an exposure in some places of the field.

    Parameters
    ----------
    grid : FieldGrid
    mask : bool[ny, nx]
        True where rows are flagged
    """

    name: ClassVar[str] = "unconfirmed"
    moves: ClassVar[bool] = False
    stretch: ClassVar[float] = 1.0

    grid: FieldGrid
    mask: npt.NDArray[np.bool_]

    def apply(self, block: Block) -> None:
        """Flag the rows of a block, as cosmic rays are."""
        x, y = self.grid.pixels(block)
        ny, nx = self.mask.shape
        ix, iy = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
        inside = (ix >= 0) & (ix < nx) & (iy >= 0) & (iy < ny)
        hit = np.flatnonzero(inside)
        hit = hit[self.mask[iy[hit], ix[hit]]]
        block.dq[hit] |= COSMIC_RAY

    def cards(self) -> list[Card]:
        """Nothing: the log tells how much was flagged."""
        return []


def unconfirmed_places(
    images: list[npt.NDArray[np.float32]], rejection: ExposureRejection
) -> list[npt.NDArray[np.bool_]]:
    """Return where each image shows what the others do not, with a margin of a pixel.

    Parameters
    ----------
    images : list of float32[ny, nx]
        of the exposures on one grid; NaN where there are no data
    rejection : ExposureRejection
    """
    from scipy.ndimage import binary_dilation

    there = np.array([np.isfinite(image) for image in images])
    number_there = there.sum(axis=0)
    judged = number_there >= LEAST_EXPOSURES
    # not only where all of them have data: in a mosaic there is no such place
    middle = np.where(judged, median_image(np.array(images)), np.nan)
    sums = np.zeros((*there.shape, 3))
    for number, (image, own) in enumerate(zip(images, there)):
        residual = (image - middle)[own & judged]
        # the scatter about a median of n is a little smaller than that of the image itself
        noise = 1.4826 * float(np.median(np.abs(residual - np.median(residual)))) if residual.size else 0.0
        sums[number, ..., 0], sums[number, ..., 1] = np.where(own, image, 0.0), own
        n = float(np.median(number_there[own & judged])) if residual.size else np.inf
        sums[number, ..., 2] = own * noise**2 / (1.0 - 1.0 / n)
    cross = np.ones((3, 3), np.bool_)
    found = rejected_exposures(sums, rejection)
    return [binary_dilation(mask, cross) & judged & own for mask, own in zip(found, there)]


def flag_unconfirmed(combination: Combination, sigma: float, ctx: RunContext) -> None:
    """Flag the rows of each exposure where it shows what the others do not."""
    if len(combination.members) < LEAST_EXPOSURES or not combination.celestial:
        return
    grid = field_grid(combination)
    images, combination.images = combination.images or field_images(combination, ctx), None
    if grid is None or not images:
        return
    for member, mask in zip(combination.members, unconfirmed_places(images, ExposureRejection(sigma))):
        if mask.any():
            member.chain.add(Unconfirmed(grid, mask))
            ctx.log.info(
                "Exposure %d: %d pixels of the field (%.2f %%) show what the others do not; left out",
                member.number,
                int(mask.sum()),
                100.0 * mask.sum() / mask.size,
            )

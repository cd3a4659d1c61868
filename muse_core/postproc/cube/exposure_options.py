# SPDX-License-Identifier: BSD-3-Clause
"""How a cube counts, judges and keeps its exposures: what deep fields need beyond the C recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.framework import InputError
from muse_core.postproc.combination.unconfirmed import flag_unconfirmed
from muse_core.resampling.cube_cards import spatial_cards
from muse_core.resampling.cube_file import image_extension_header
from muse_core.resampling.exposure_rejection import LEAST_EXPOSURES, ExposureRejection
from muse_core.resampling.exposure_sums import MOST_EXPOSURES
from muse_core.resampling.plan import ByExposure
from muse_core.resampling.stored_sums import COUNT

if TYPE_CHECKING:
    from astropy.io import fits

    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.combination.combine import Combination
    from muse_core.resampling.grid import OutputGrid


@dataclass(frozen=True)
class ExposureOptions:
    """What a recipe wants to know of the exposures in its cube.

    Parameters
    ----------
    count : {"none", "image", "cube"}
        write how many exposures there are: an image of the mean over wavelength, or each voxel
    sigma : float
        limit of the rejection across exposures; 0: none
    keep_sums : bool
        write DATACUBE_SUMS
    """

    count: str = "none"
    sigma: float = 0.0
    keep_sums: bool = False

    def check(self, p: ParamValues, ctx: RunContext) -> None:
        """Note in ``ctx.problems`` what does not go together."""
        if p.resample == "nearest" and (self.sigma or self.keep_sums):
            ctx.problems.add(
                "", "parameter resample", expected="a method that averages (drizzle, for example)",
                found="nearest, with exposure_sigma or save=sums",
                remedy="nearest takes one pixel for each voxel: there is nothing to compare or to add.",
            )  # fmt: skip
        if self.count != "none" and p.format.endswith("Euro3D"):
            ctx.log.warning("exposures=%s: a Euro3D table has no place for it; it is not written", self.count)

    def plan(self, combination: Combination, ctx: RunContext) -> ByExposure | None:
        """Return the settings of the resampling, None if nothing of all this is wanted.

        Exposures that show what the others do not lose those rows here, at all wavelengths.
        """
        earlier = combination.earlier
        if self.count == "none" and not self.sigma and not self.keep_sums and not earlier:
            return None
        number = len(combination.members) + (earlier.count if earlier else 0)
        if number > MOST_EXPOSURES:
            raise InputError(
                "", "number of exposures", expected=f"at most {MOST_EXPOSURES} to be counted", found=number,
                remedy="Leave exposures, exposure_sigma and save=sums out, or combine fewer.",
            )  # fmt: skip
        rejection = None
        if self.sigma:
            witnesses = len(combination.members) + (1 if earlier else 0)
            if witnesses < LEAST_EXPOSURES:
                ctx.log.warning(
                    "exposure_sigma=%g has no effect: of fewer than %d exposures nobody knows which is wrong",
                    self.sigma,
                    LEAST_EXPOSURES,
                )
            else:
                flag_unconfirmed(combination, self.sigma, ctx)
                rejection = ExposureRejection(self.sigma)
        return ByExposure(rejection, self.keep_sums, earlier.stored if earlier else None)


NO_OPTIONS = ExposureOptions()


class MeanExposures:
    """The mean number of exposures along wavelength, from planes."""

    def __init__(self, grid: OutputGrid) -> None:
        self._grid = grid
        self._total = np.zeros((grid.ny, grid.nx), np.int64)

    def add(self, exposures: npt.NDArray[np.int16]) -> None:
        """Add some planes."""
        self._total += exposures.sum(axis=0, dtype=np.int64)

    def hdu(self) -> fits.ImageHDU:
        """Return the image extension."""
        from astropy.io import fits

        image = (self._total / self._grid.nz).astype(np.float32)
        cards = [*spatial_cards(self._grid), ("EXTNAME", COUNT, "mean number of exposures")]
        return fits.ImageHDU(image, image_extension_header(-32, image.shape, cards))

# SPDX-License-Identifier: BSD-3-Clause
"""White-light images of one exposure in pixel coordinates, for the sky, autocalibration and Raman steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.row_set import RowSet
from muse_core.framework.defects import Defects
from muse_core.postproc.exposure.chain import Chain
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.white_light.quiet_image import QuietImage
from muse_core.resampling.collapse import FilterSet, white_filter
from muse_core.resampling.cosmics import NOT_SAME_Y
from muse_core.resampling.grid import OutputGrid, pixel_grid
from muse_core.resampling.plan import CosmicRejection, CubePlan
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import Resampling

if TYPE_CHECKING:
    from muse_core.framework.resume import KeptResults
    from muse_core.resampling.plan import Slab

PIXFRAC = (0.6, 0.6, 0.6)
UNFINISHED = 4.0
"""How much longer planes take than a result of its own that is worth keeping, before they are kept."""
Progress = Callable[[Iterator[Any], str, int, Callable[[Any], int]], Iterable[Any]]


@dataclass(frozen=True)
class WhiteImage:
    """A white-light image on the pixel grid of the table.

    Parameters
    ----------
    image : float32[ny, nx]
        NaN where empty
    grid : OutputGrid
        of the cube behind it
    fraction : float
        percentage of the white filter that the data cover
    cosmics : RowSet
        rows found to be cosmic rays on the way (they are not flagged in the data)
    quiet : float32[ny, nx] or None
        the same with planes in which the sky is bright counted little (`QuietImage`), for those who look for
        faint objects
    """

    image: npt.NDArray[np.float32]
    grid: OutputGrid
    fraction: float
    cosmics: RowSet
    quiet: npt.NDArray[np.float32] | None = None

    @property
    def corner(self) -> tuple[float, float]:
        """Coordinates of the first pixel."""
        return self.grid.crval[0], self.grid.crval[1]

    def good(self, block: Block) -> npt.NDArray[np.bool_]:
        """Say which rows are neither flagged nor cosmic rays."""
        good = block.dq == 0
        self.cosmics.drop_from(block.row, good)
        return good


def make_white_image(
    chain: Chain,
    limits: RowLimits,
    sigma: float,
    memory_bytes: int,
    defects: Defects,
    *,
    use_variance: bool = False,
    select: Callable[[Block], npt.NDArray[np.bool_]] | None = None,
    progress: Progress = lambda slabs, *_: slabs,
    kept: KeptResults | None = None,
    name: str = "",
) -> WhiteImage:
    """Resample the exposure in pixel coordinates and take the mean along wavelength.

    What was made of it by a run that was killed is taken from there.

    Parameters
    ----------
    sigma : float
        limit of the median cosmic-ray rejection; 0 = none
    defects : Defects
        how cosmic rays are judged (see `CubePlan`)
    use_variance : bool
        weight the planes with the inverse variance
    select : callable or None
        which rows of a block take part
    kept : KeptResults or None
        keeps the sums now and then for a run that goes on, under the `name`
    """
    grid = pixel_grid((limits.x, limits.y, limits.lam))
    cosmics = CosmicRejection("median", sigma, NOT_SAME_Y) if sigma > 0 else None
    resampling = Resampling("drizzle", PIXFRAC)
    plan = CubePlan(grid, (0.0, 0.0), resampling, cosmics, defects, report_flags=True)

    def gather(low: float, high: float) -> Block:
        block = chain.gather(low, high)
        return block if select is None else block.select(select(block))

    made = None if kept is None else kept.load(name)
    if made is None:
        quiet = None if defects.darkest_spaxels_as_sky else QuietImage((int(grid.ny), int(grid.nx)))
        filters = FilterSet([white_filter()], grid, use_variance)
        made = _PlanesSoFar(filters, RowSet(chain.files.total_rows), quiet)
    slabs = cube_slabs(
        [Contribution(gather, chain.files.rows)],
        plan,
        team=chain.team,
        memory_bytes=memory_bytes,
        first=made.planes,
    )
    for slab in progress(slabs, "white-light image", grid.nz, lambda slab: len(slab.data)):
        made.add(slab)
        if kept is not None and kept.is_worth(UNFINISHED if made.planes < grid.nz else 1.0):
            kept.save(name, made)
    white, quiet = made.filters.images[0], made.quiet
    seen = None if quiet is None else quiet.image()
    return WhiteImage(white.image(), grid, white.fraction, made.flagged, seen)


@dataclass
class _PlanesSoFar:
    """What the planes of a white-light image up to one have added up to."""

    filters: FilterSet
    flagged: RowSet
    quiet: QuietImage | None
    planes: int = 0

    def add(self, slab: Slab) -> None:
        self.filters.add_planes(slab.first, slab.data, slab.stat)
        if self.quiet is not None:
            self.quiet.add_planes(slab.data, slab.stat)
        for rows in slab.flagged:
            self.flagged.add(rows)
        self.planes = slab.first + len(slab.data)


def pixel_wcs_cards(x_low: float, y_low: float) -> list[tuple[str, object]]:
    """Return the world coordinates of an image on the pixel grid of the table."""
    return [
        ("CRPIX1", 1.0), ("CRVAL1", float(x_low)), ("CTYPE1", "PIXEL"), ("CUNIT1", "pixel"), ("CD1_1", 1.0),
        ("CRPIX2", 1.0), ("CRVAL2", float(y_low)), ("CTYPE2", "PIXEL"), ("CUNIT2", "pixel"), ("CD2_2", 1.0),
        ("CD1_2", 0.0), ("CD2_1", 0.0),
    ]  # fmt: skip

# SPDX-License-Identifier: BSD-3-Clause
"""The cube of an exposure on the pixel grid, as muse_standard and muse_astrometry look for stars in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import get_str, is_narrow_field
from muse_core.framework.products import header_without, set_card
from muse_core.postproc.cube.make_cube import SPECTRAL_AXIS
from muse_core.postproc.exposure.reduction import FLAT_CORRECTED, PIXTABLE, WCS_KEYS
from muse_core.resampling.collapse import Filter, FilterSet
from muse_core.resampling.cosmics import NOT_SAME_Y
from muse_core.resampling.cube_file import CubeReader, CubeWriter
from muse_core.resampling.filter_extensions import filter_extension
from muse_core.resampling.grid import NFM_STEP, WFM_STEP, OutputGrid, pixel_grid
from muse_core.resampling.plan import CosmicRejection, CubePlan
from muse_core.resampling.quality import qc_from_plane, quality_plane
from muse_core.resampling.schedule import cube_slabs
from muse_core.resampling.voxel_layers import Contribution
from muse_core.resampling.weights import Resampling

if TYPE_CHECKING:
    from astropy.io.fits import Header, ImageHDU

    from muse_core.data.block import Block
    from muse_core.framework import Frame, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.resampling.plan import Slab

PIXFRAC = (1.0, 1.0, 1.0)
COSMIC_SIGMA = 25.0
NOTCH = 0x08000000
"""Flag of wavelengths in the light of the lasers, which are used like others here (as in the C recipe)."""
QC_CARDS = 108
TOPOCENTRIC = ("SPECSYS", "TOPOCENT", "Spectral reference frame")


@dataclass(frozen=True)
class NotchUsed:
    """Rows in the sodium notch lose the flag that says so."""

    name: str = "notch"
    moves: bool = False
    stretch: float = 1.0

    def apply(self, block: Block) -> None:
        """Clear the flag, in place."""
        block.dq &= ~NOTCH

    def cards(self) -> list[Card]:
        """No header cards tell of it."""
        return []


@dataclass(frozen=True)
class StarCube:
    """A cube on the pixel grid, in its file.

    Parameters
    ----------
    path : Path
    grid : OutputGrid
    data, stat : big-endian float32[nz, ny, nx]
        mapped from the file
    """

    path: Path
    grid: OutputGrid
    data: npt.NDArray
    stat: npt.NDArray

    @property
    def wavelengths(self) -> npt.NDArray[np.float64]:
        """Of the planes [Angstrom]."""
        return np.array([float(self.grid.wavelength(k)) for k in range(self.grid.nz)])

    def planes(self, first: int, stop: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return data and variance of some planes, float32[n, ny, nx], NaN where empty."""
        return self.data[first:stop].astype(np.float32), self.stat[first:stop].astype(np.float32)


def star_grid(exposure: Reduction, step: float) -> OutputGrid:
    """Return the grid in the pixel plane that fits an exposure, with planes of a width [Angstrom]."""
    limits = exposure.chain.limits()
    return pixel_grid((limits.x, limits.y, limits.lam), (1.0, 1.0, step))


def product_base(exposure: Reduction) -> Header:
    """Return the header that products of an exposure inherit: without pixel-table and WCS keywords."""
    header = exposure.product.header
    base = header_without(header, lambda key: key.startswith((PIXTABLE, *WCS_KEYS)))
    if f"{PIXTABLE} FFCORR" in header:
        set_card(base, *FLAT_CORRECTED)
    return base


def star_slabs(exposure: Reduction, grid: OutputGrid, ctx: RunContext) -> Iterator[Slab]:
    """Yield the planes of the cube in order."""
    cosmics = CosmicRejection("median", COSMIC_SIGMA, NOT_SAME_Y)
    plan = CubePlan(grid, (0.0, 0.0), Resampling("drizzle", PIXFRAC), cosmics, ctx.defects)
    rows = Contribution(exposure.chain.gather, exposure.chain.rows)
    return cube_slabs([rows], plan, team=ctx.team, memory_bytes=ctx.memory_bytes)


def save_cube(
    exposure: Reduction,
    tag: str,
    grid: OutputGrid,
    used: Sequence[Frame],
    ctx: RunContext,
    filters: Sequence[Filter],
    more: Callable[[CubeReader], tuple[Sequence[Card], Sequence[ImageHDU]]] | None = None,
) -> StarCube:
    """Resample an exposure into a product: DATA, STAT, and an image for each filter.

    Parameters
    ----------
    more : cards of the primary header and extensions that come of the cube itself
    """
    base = product_base(exposure)
    set_card(base, *TOPOCENTRIC)
    unit, name = exposure.product.data_unit, get_str(base, "OBJECT") or ""
    nominal = NFM_STEP if is_narrow_field(base) else WFM_STEP
    images = FilterSet(filters, grid)
    middle = quality_plane(grid.nz)
    qc: list[Card] = []
    axis = () if ctx.defects.unreadable_units else (SPECTRAL_AXIS,)
    with ctx.stream(tag, base=base, used=used, index=exposure.number, own=axis) as product:
        with CubeWriter(product.path, product.header, grid, unit, name, reserve_cards=QC_CARDS) as writer:
            slabs = star_slabs(exposure, grid, ctx)
            for slab in ctx.progress(slabs, "planes of the cube", grid.nz, lambda slab: len(slab.data)):
                writer.write_planes(slab.first, slab.data, slab.stat)
                writer.hash_rows(slab.first + len(slab.data))
                images.add_planes(slab.first, slab.data, slab.stat)
                if slab.first <= middle < slab.first + len(slab.data):
                    values = slab.data if slab.with_flagged is None else slab.with_flagged
                    plane = values[middle - slab.first].copy()
                    qc = qc_from_plane(plane, float(grid.wavelength(middle)), nominal, ctx.spec.qc_prefix)
            for image in images:
                if not image.covers_any_plane:
                    text = "FILTER_LIST: filter %s does not overlap the wavelength range of the cube"
                    ctx.log.warning(text, image.name)
            extensions = [filter_extension(image, grid, unit, name) for image in images]
            if more is not None:
                cards, hdus = more(CubeReader(product.path))
                extensions += list(hdus)
                qc = [*cards, *qc]
            for card in qc:
                set_card(product.header, *card)
            writer.finish(product.header, extensions)
            product.sums = writer.sums
    path = ctx.workdir / ctx.file_name(tag, exposure.number)
    reader = CubeReader(path)
    return StarCube(path, grid, reader.data, reader.stat)

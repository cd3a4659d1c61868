# SPDX-License-Identifier: BSD-3-Clause
"""Quick images of the exposures of a combination on one grid, to see whether they lie on each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.header_values import is_narrow_field
from muse_core.postproc.combination.combine import Combination
from muse_core.postproc.combination.image_kernels import share_rows

if TYPE_CHECKING:
    from muse_core.framework import RunContext
    from muse_core.postproc.exposure.chain import Chain

BANDS = 8  # the median of which has no cosmic rays
BAND_A = 25.0  # width of a band at most: a twentieth of the rows of an exposure
MOST_PIXELS = 4_000_000
LEAST_WEIGHT = 0.3  # of a pixel in rows, below which it counts as empty
_BYTES_PER_ROW = 60  # of a band at work
_BYTES_PER_PIXEL = 100
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32] | Doubles


def step_arcsec(combination: Combination) -> float:
    """Pixel size of the images."""
    return 0.025 if is_narrow_field(combination.members[0].keywords) else 0.2


@dataclass(frozen=True)
class FieldGrid:
    """Pixels of the images: East is to the left, north is up.

    Parameters
    ----------
    corner : (float, float)
        largest first and smallest second coordinate of the rows, relative to the reference [deg]
    step : float
        [deg]
    cosine : float
        of the declination
    nx, ny : int
    """

    corner: tuple[float, float]
    step: float
    cosine: float
    nx: int
    ny: int

    def pixels(self, block: Block) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the pixels, counted from 0, that the rows of a block lie on."""
        return self.places(block.xpos.astype(np.float64), block.ypos.astype(np.float64))

    def places(self, ra: Doubles, dec: Doubles) -> tuple[Doubles, Doubles]:
        """Return the pixels of coordinates relative to the reference [deg]."""
        x = (self.corner[0] - ra) * self.cosine / self.step + 1.0
        y = (dec - self.corner[1]) / self.step + 1.0
        return x, y

    def positions(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Doubles, Doubles]:
        """Return the coordinates of pixels; the inverse of `places`."""
        ra = self.corner[0] - (np.asarray(x, np.float64) - 1.0) * self.step / self.cosine
        return ra, self.corner[1] + (np.asarray(y, np.float64) - 1.0) * self.step


def field_grid(combination: Combination) -> FieldGrid | None:
    """Return the pixels that cover all exposures; None if they lie so far apart that nothing can be said."""
    limits = combination.limits
    step = step_arcsec(combination) / 3600.0
    cosine = float(np.cos(np.radians(combination.reference[1])))
    nx = int((limits.x[1] - limits.x[0]) * cosine / step) + 3
    ny = int((limits.y[1] - limits.y[0]) / step) + 3
    if nx * ny > MOST_PIXELS:
        return None
    corner = limits.x[1] - combination.reference[0], limits.y[0] - combination.reference[1]
    return FieldGrid(corner, step, cosine, nx, ny)


def field_images(combination: Combination, ctx: RunContext) -> list[npt.NDArray[np.float32]]:
    """Make an image of each exposure, from a few bands of wavelength.

    Returns
    -------
    list of float32[ny, nx]
        East is to the left, north is up; NaN where an exposure has no data. Empty if the exposures lie so far
        apart that nothing can be said.
    """
    grid = field_grid(combination)
    if grid is None:
        return []
    first, last = combination.limits.lam
    edges = band_edges((first, last))
    chains = [member.chain for member in combination.members]
    part = min((edges[0][1] - first) / (last - first), 1.0) if last > first else 1.0
    per_band = _BYTES_PER_ROW * part * max(chain.rows for chain in chains)
    per_band += _BYTES_PER_PIXEL * grid.nx * grid.ny
    jobs = [(number, limits) for number in range(len(chains)) for limits in edges]
    images, bands = [], []
    for image in ctx.team.map(_Bands(chains, grid), jobs, max(1, int(ctx.memory_bytes / per_band))):
        bands.append(image)
        if len(bands) == BANDS:
            images.append(median_image(np.array(bands)))
            bands = []
    return images


@dataclass(frozen=True)
class _Bands:
    """Makes the image of an exposure in a band of wavelength."""

    chains: list[Chain]
    grid: FieldGrid

    def __call__(self, job: tuple[int, tuple[float, float]]) -> npt.NDArray[np.float32]:
        number, limits = job
        block = self.chains[number].gather(*limits)
        return mean_image(block.xpos, block.ypos, block.data, block.dq, self.grid)


def band_edges(limits: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the limits of the bands [Angstrom]."""
    edges = np.linspace(*limits, BANDS + 1)
    width = min(BAND_A, float(edges[1] - edges[0]))
    return [(float(low), float(low) + width) for low in edges[:-1]]


def mean_image(
    xpos: Floats, ypos: Floats, data: Floats, dq: npt.NDArray[np.int32], grid: FieldGrid
) -> npt.NDArray[np.float32]:
    """Mean of the good rows near each pixel, each row shared by the four pixels around it."""
    total, weight = np.zeros((2, grid.ny, grid.nx))
    share_rows(xpos, ypos, data, dq, grid.corner, grid.cosine, grid.step, total, weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(weight >= LEAST_WEIGHT, total / weight, np.nan)
    return mean.astype(np.float32)


def median_image(bands: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Median of the bands at each pixel, NaN where none has data."""
    ordered = np.sort(bands, axis=0)  # NaN comes last
    number = np.count_nonzero(np.isfinite(bands), axis=0)
    middle = np.maximum(number - 1, 0) // 2, np.maximum(number // 2, 0)
    picked = [np.take_along_axis(ordered, np.minimum(m, len(bands) - 1)[None], axis=0)[0] for m in middle]
    return np.where(number > 0, (picked[0] + picked[1]) / 2.0, np.nan).astype(np.float32)

# SPDX-License-Identifier: BSD-3-Clause
"""Quick images of the exposures of a combination on one grid, to see whether they lie on each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.header_values import is_narrow_field
from muse_core.postproc.combination.combine import Combination

BANDS = 8  # the median of which has no cosmic rays
BAND_A = 25.0  # width of a band at most: a twentieth of the rows of an exposure
MOST_PIXELS = 4_000_000
Doubles = npt.NDArray[np.float64]
LEAST_WEIGHT = 0.3  # of a pixel in rows, below which it counts as empty


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


def field_images(combination: Combination) -> list[npt.NDArray[np.float32]]:
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
    nx, ny = grid.nx, grid.ny
    images = []
    for member in combination.members:
        bands = np.full((BANDS, ny, nx), np.nan, dtype=np.float32)
        for n, (low, high) in enumerate(band_edges(combination.limits.lam)):
            block = member.chain.gather(low, high)
            good = (block.dq == 0) & np.isfinite(block.data)
            bands[n] = mean_image(*grid.pixels(block), block.data, good, (ny, nx))
        images.append(median_image(bands))
    return images


def band_edges(limits: tuple[float, float]) -> list[tuple[float, float]]:
    """Return the limits of the bands [Angstrom]."""
    edges = np.linspace(*limits, BANDS + 1)
    width = min(BAND_A, float(edges[1] - edges[0]))
    return [(float(low), float(low) + width) for low in edges[:-1]]


def mean_image(
    x: Doubles,
    y: Doubles,
    data: npt.NDArray[np.float32] | Doubles,
    good: npt.NDArray[np.bool_],
    shape: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Mean of the good rows near each pixel, each row shared by the four pixels around it."""
    ny, nx = shape
    good = good & (x >= 0.0) & (x < nx - 1) & (y >= 0.0) & (y < ny - 1)
    x, y, data = x[good], y[good], data[good].astype(np.float64)
    ix, iy = x.astype(np.int64), y.astype(np.int64)
    fx, fy = x - ix, y - iy
    total, weight = np.zeros(ny * nx), np.zeros(ny * nx)
    for dx, dy, share in (
        (0, 0, (1.0 - fx) * (1.0 - fy)),
        (1, 0, fx * (1.0 - fy)),
        (0, 1, (1.0 - fx) * fy),
        (1, 1, fx * fy),
    ):
        place = (iy + dy) * nx + ix + dx
        total += np.bincount(place, share * data, ny * nx)
        weight += np.bincount(place, share, ny * nx)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(weight >= LEAST_WEIGHT, total / weight, np.nan)
    return mean.reshape(shape).astype(np.float32)


def median_image(bands: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Median of the bands at each pixel, NaN where none has data."""
    ordered = np.sort(bands, axis=0)  # NaN comes last
    number = np.count_nonzero(np.isfinite(bands), axis=0)
    middle = np.maximum(number - 1, 0) // 2, np.maximum(number // 2, 0)
    picked = [np.take_along_axis(ordered, np.minimum(m, len(bands) - 1)[None], axis=0)[0] for m in middle]
    return np.where(number > 0, (picked[0] + picked[1]) / 2.0, np.nan).astype(np.float32)

# SPDX-License-Identifier: BSD-3-Clause
"""The preview: all exposures added up on the pixel grid of the first one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .native import native_pixel, native_sky
from .tan import TanWcs

KEPT_PIXELS = 2_000_000  # grids up to this size keep their directions, 24 bytes per pixel


@dataclass(frozen=True)
class MosaicGrid:
    """Pixel grid of the preview: its projection and its size."""

    wcs: TanWcs
    shape: tuple[int, int]  # (ny, nx)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]


def plan_mosaic(projections, shapes, *, compat: bool) -> MosaicGrid:
    """Choose a grid that holds all exposures.

    Parameters
    ----------
    projections : sequence of TanWcs
        Corrected for the offsets; the first one gives orientation and scale.
    shapes : sequence of (int, int)
        (ny, nx) of each exposure.
    compat : bool
        As 2.8.7: the size is the distance of two opposite corners of the box of coordinates, which is too
        small if the first exposure is rotated, and pixels below the first row or column are lost. Otherwise
        that grid is extended by whole pixels until it holds every input pixel.
    """
    corners = [
        native_sky(wcs, x, y, radians=True)
        for wcs, (ny, nx) in zip(projections, shapes, strict=True)
        for x, y in ((1.0, 1.0), (nx, 1.0), (1.0, ny), (nx, ny))
    ]
    ra, dec = zip(*corners, strict=True)
    reference = projections[0]
    low = native_pixel(reference, min(ra), min(dec))
    high = native_pixel(reference, max(ra), max(dec))
    size = [abs(high[k] - low[k]) for k in (0, 1)]
    crval = ((min(ra) + max(ra)) / 2.0, (min(dec) + max(dec)) / 2.0)
    grid = MosaicGrid(
        TanWcs((size[0] / 2.0, size[1] / 2.0), crval, reference.cd),
        (int(np.ceil(size[1])), int(np.ceil(size[0]))),
    )
    return grid if compat else _extended(grid, projections, shapes)


def _extended(grid: MosaicGrid, projections, shapes) -> MosaicGrid:
    """Return the grid with whole rows and columns added on all sides until every exposure fits."""
    low = np.array([1, 1])
    high = np.array([grid.shape[1], grid.shape[0]])
    for wcs, (ny, nx) in zip(projections, shapes, strict=True):
        edge_x = np.linspace(0.5, nx + 0.5, 9)
        edge_y = np.linspace(0.5, ny + 0.5, 9)
        x = np.concatenate([edge_x, edge_x, np.full(9, 0.5), np.full(9, nx + 0.5)])
        y = np.concatenate([np.full(9, 0.5), np.full(9, ny + 0.5), edge_y, edge_y])
        px, py = grid.wcs.pixel(*wcs.sky(x, y))
        if not (np.all(np.isfinite(px)) and np.all(np.isfinite(py))):
            raise ValueError("the exposures do not lie on one tangent plane")
        low = np.minimum(low, np.ceil([px.min(), py.min()]))
        high = np.maximum(high, np.floor([px.max(), py.max()]))
    before = 1 - low
    crval = (grid.wcs.crval[0] % 360.0, grid.wcs.crval[1])
    crpix = (grid.wcs.crpix[0] + float(before[0]), grid.wcs.crpix[1] + float(before[1]))
    nx, ny = (high + before).astype(int)
    return MosaicGrid(TanWcs(crpix, crval, grid.wcs.cd), (int(ny), int(nx)))


class Mosaic:
    """Sum of exposures on a grid; pixels without any input are NaN in the end.

    The preview is a sum, not a mean, as in 2.8.7. Sums are float32, as there.
    """

    def __init__(self, grid: MosaicGrid, *, exposure_map: bool = False):
        self.grid = grid
        self._sum = np.zeros(grid.shape, dtype=np.float32)
        self._hit = np.zeros(grid.shape, dtype=bool)
        self._time = np.zeros(grid.shape, dtype=np.float32) if exposure_map else None
        self._kept = None

    def add(self, data, bad, wcs: TanWcs, exptime: float = 0.0) -> None:
        """Add the good pixels of one exposure.

        Parameters
        ----------
        data : float32[ny, nx]
        bad : bool[ny, nx]
        wcs : TanWcs
            Corrected for the offset.
        exptime : float
            In seconds, for the exposure map.
        """
        ny, nx = data.shape
        window = self._window(wcs, ny, nx)
        if window is None:
            return
        x, y = wcs.pixel_of_directions(self._directions(*window))
        with np.errstate(invalid="ignore"):
            x = np.floor(x + 0.5)
            y = np.floor(y + 0.5)
            inside = (x >= 1) & (x <= nx) & (y >= 1) & (y <= ny)
        iy = y[inside].astype(np.int64) - 1
        ix = x[inside].astype(np.int64) - 1
        good = ~bad[iy, ix]
        inside[inside] = good
        self._sum[window][inside] += data[iy[good], ix[good]]
        self._hit[window] |= inside
        if self._time is not None:
            self._time[window][inside] += exptime

    def _window(self, wcs: TanWcs, ny: int, nx: int):
        """Rows and columns of the grid that the exposure can touch."""
        edge = np.array([0.5, nx + 0.5, 0.5, nx + 0.5]), np.array([0.5, 0.5, ny + 0.5, ny + 0.5])
        x, y = self.grid.wcs.pixel(*wcs.sky(*edge))
        if not np.all(np.isfinite(x)):
            return None
        rows = slice(max(0, int(y.min()) - 3), min(self.grid.shape[0], int(y.max()) + 3))
        columns = slice(max(0, int(x.min()) - 3), min(self.grid.shape[1], int(x.max()) + 3))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return rows, columns

    def _directions(self, rows, columns):
        """Directions of a window of the grid; kept for the whole grid unless it is large."""
        if self.grid.pixels > KEPT_PIXELS:
            return self._compute_directions(rows, columns)
        if self._kept is None:
            self._kept = self._compute_directions(slice(0, self.grid.shape[0]), slice(0, self.grid.shape[1]))
        return self._kept[:, rows, columns]

    def _compute_directions(self, rows, columns):
        x = np.arange(columns.start + 1, columns.stop + 1, dtype=np.float64)
        y = np.arange(rows.start + 1, rows.stop + 1, dtype=np.float64)
        return self.grid.wcs.directions(x[None, :], y[:, None])

    def preview(self):
        """Sum of the exposures, float32[ny, nx]."""
        return np.where(self._hit, self._sum, np.float32(np.nan))

    def exposure_map(self):
        """Sum of the exposure times in seconds, float32[ny, nx]."""
        return np.where(self._hit, self._time, np.float32(np.nan))

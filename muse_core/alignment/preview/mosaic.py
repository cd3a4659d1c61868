# SPDX-License-Identifier: BSD-3-Clause
"""The preview: all exposures added up on the pixel grid of the first one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Pixels
from muse_core.alignment.images.field import FAR_DEG, FieldInfo
from muse_core.alignment.images.opening import read_pixels
from muse_core.alignment.offsets.alignment import turned_wcs
from muse_core.alignment.preview.grid import MosaicGrid, plan_preview
from muse_core.alignment.results import Results
from muse_core.data.tangent_plane import TanWcs
from muse_core.framework.context import RunContext
from muse_core.framework.spec import ParamValues

KEPT_PIXELS = 2_000_000  # grids up to this size keep their directions, 24 bytes per pixel


class Mosaic:
    """Sum of exposures on a grid; pixels without any input are NaN in the end.

    The preview is a sum, not a mean, as in 2.8.7. Sums are float32, as there.
    """

    def __init__(self, grid: MosaicGrid, *, exposure_map: bool = False) -> None:
        self.grid = grid
        self._sum = np.zeros(grid.shape, dtype=np.float32)
        self._hit = np.zeros(grid.shape, dtype=bool)
        self._time = np.zeros(grid.shape, dtype=np.float32) if exposure_map else None
        self._kept: Floats | None = None

    def add(self, data: Pixels, bad: Flags, wcs: TanWcs, exptime: float = 0.0) -> None:
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

    def _window(self, wcs: TanWcs, ny: int, nx: int) -> tuple[slice, slice] | None:
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

    def _directions(self, rows: slice, columns: slice) -> Floats:
        """Directions of a window of the grid; kept for the whole grid unless it is large."""
        if self.grid.pixels > KEPT_PIXELS:
            return self._compute_directions(rows, columns)
        if self._kept is None:
            self._kept = self._compute_directions(slice(0, self.grid.shape[0]), slice(0, self.grid.shape[1]))
        return self._kept[:, rows, columns]

    def _compute_directions(self, rows: slice, columns: slice) -> Floats:
        x = np.arange(columns.start + 1, columns.stop + 1, dtype=np.float64)
        y = np.arange(rows.start + 1, rows.stop + 1, dtype=np.float64)
        return self.grid.wcs.directions(x[None, :], y[:, None])

    def preview(self) -> Pixels:
        """Sum of the exposures, float32[ny, nx]."""
        return np.where(self._hit, self._sum, np.float32(np.nan))

    def exposure_map(self) -> Pixels:
        """Sum of the exposure times in seconds, float32[ny, nx]."""
        if self._time is None:
            raise ValueError("the mosaic was made without a map of the exposure times")
        return np.where(self._hit, self._time, np.float32(np.nan))


def make_mosaic(fields: Sequence[FieldInfo], results: Results, p: ParamValues, ctx: RunContext) -> Mosaic:
    """Add up all exposures that are aligned and whose offset is not absurdly large.

    Raises
    ------
    InputError
        If the preview does not fit into the memory.
    """
    chosen = []
    for n, info in enumerate(fields):
        if not results.used[n]:
            continue
        offset = results.offsets[n]
        limit = FAR_DEG[fields[0].family]
        scale = 1.0 if ctx.defects.offset_limit_without_cosine else math.cos(math.radians(info.wcs.crval[1]))
        if abs(offset[0]) * scale > limit or abs(offset[1]) > limit:
            ctx.log.warning(
                "%s: its offset of (%.4f, %.4f) deg is above %g deg, it is left out of the preview",
                info.path,
                offset[0],
                offset[1],
                limit,
            )
            continue
        chosen.append((info, turned_wcs(info.wcs.moved(-offset[0], -offset[1]), results.turn_deg[n])))
    grid = plan_preview(
        [info for info, _ in chosen], [wcs for _, wcs in chosen], ctx.defects, ctx.memory_bytes
    )
    mosaic = Mosaic(grid, exposure_map=p.expmap)
    for info, wcs in ctx.progress(chosen, "preview"):
        data, bad = read_pixels(info)
        mosaic.add(data, bad, wcs, info.exptime or 0.0)
    return mosaic

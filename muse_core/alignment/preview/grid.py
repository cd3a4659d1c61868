# SPDX-License-Identifier: BSD-3-Clause
"""The pixel grid of the preview, and whether it fits into the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muse_core.alignment.images.field import IMAGE_BYTES, FieldInfo
from muse_core.data.tangent_plane import TanWcs
from muse_core.framework.context import RunContext
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError

PREVIEW_BYTES = 24  # per pixel of the preview


@dataclass(frozen=True)
class MosaicGrid:
    """Pixel grid of the preview: its projection and its size."""

    wcs: TanWcs
    shape: tuple[int, int]  # (ny, nx)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]


def plan_mosaic(
    projections: Sequence[TanWcs], shapes: Sequence[tuple[int, int]], *, preview_cut: bool
) -> MosaicGrid:
    """Choose a grid that holds all exposures; `ValueError` if they lie too far apart for one.

    Parameters
    ----------
    projections : sequence of TanWcs
        Corrected for the offsets; the first one gives orientation and scale.
    shapes : sequence of (int, int)
        (ny, nx) of each exposure.
    preview_cut : bool
        The defect: the size is the distance of two opposite corners of the box of coordinates, which is too
        small if the first exposure is rotated, and pixels below the first row or column are lost. Otherwise
        that grid is extended by whole pixels until it holds every input pixel.
    """
    corners = [
        wcs.sky_by_native_angles(x, y, radians=True)
        for wcs, (ny, nx) in zip(projections, shapes, strict=True)
        for x, y in ((1.0, 1.0), (nx, 1.0), (1.0, ny), (nx, ny))
    ]
    ra, dec = zip(*corners, strict=True)
    reference = projections[0]
    low = reference.pixel_by_native_angles(min(ra), min(dec))
    high = reference.pixel_by_native_angles(max(ra), max(dec))
    size = [abs(high[k] - low[k]) for k in (0, 1)]
    crval = ((min(ra) + max(ra)) / 2.0, (min(dec) + max(dec)) / 2.0)
    grid = MosaicGrid(
        TanWcs((size[0] / 2.0, size[1] / 2.0), crval, reference.cd),
        (int(np.ceil(size[1])), int(np.ceil(size[0]))),
    )
    return grid if preview_cut else _extended(grid, projections, shapes)


def _extended(
    grid: MosaicGrid, projections: Sequence[TanWcs], shapes: Sequence[tuple[int, int]]
) -> MosaicGrid:
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


def check_memory(fields: Sequence[FieldInfo], ctx: RunContext) -> None:
    """Check that each image and the preview fit into the memory, before anything is read or made."""
    for info in fields:
        pixels = info.shape[0] * info.shape[1]
        if pixels * IMAGE_BYTES > ctx.memory_bytes:
            ctx.problems.add(
                info.path,
                f"image of {info.shape[1]} x {info.shape[0]} pixels",
                expected=f"at most {ctx.memory_bytes / IMAGE_BYTES:.3g} pixels for this memory",
                found=f"{pixels:.3g}",
                remedy="Give more memory or cut the image.",
            )
    if len(fields) > 1:
        try:
            plan_preview(fields, [info.wcs for info in fields], ctx.defects, ctx.memory_bytes)
        except InputError as error:
            ctx.problems.extend(error)


def plan_preview(
    fields: Sequence[FieldInfo], projections: Sequence[TanWcs], defects: Defects, memory_bytes: int
) -> MosaicGrid:
    """Plan the preview; `InputError` if it cannot be made in the memory."""
    shapes = [info.shape for info in fields]
    try:
        grid = plan_mosaic(projections, shapes, preview_cut=defects.preview_cut)
    except ValueError as error:
        raise InputError(
            _farthest(fields).path,
            "keywords CRVAL1, CRVAL2, CDi_j",
            expected="fields of one target",
            found=error,
        ) from error
    if grid.pixels * PREVIEW_BYTES > memory_bytes:
        raise InputError(
            _farthest(fields).path,
            "keywords CRVAL1, CRVAL2",
            expected=f"a preview of at most {memory_bytes / PREVIEW_BYTES:.3g} pixels (memory)",
            found=f"{grid.pixels:.3g} pixels to hold this field and the first exposure",
            remedy="Align the fields of one target at a time.",
        )
    return grid


def _farthest(fields: Sequence[FieldInfo]) -> FieldInfo:
    ra0, dec0 = fields[0].centre
    return max(fields, key=lambda info: abs(info.centre[0] - ra0) + abs(info.centre[1] - dec0))

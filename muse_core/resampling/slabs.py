# SPDX-License-Identifier: BSD-3-Clause
"""The wavelength slab: the cube is made a few planes at a time from the rows of their wavelength interval.

Each slab goes through three stages on threads: its rows are gathered and put into voxel order (a layer),
cosmic rays are found with the help of the layers below and above, and the rows of the three layers are
resampled. Layers in flight are few, so memory does not grow with the data. Rows enter each voxel in the same
order whatever the slab size, so the result does not depend on it, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from muse_core.data.memory import borrow
from muse_core.resampling.cosmic_limits import flag_outliers
from muse_core.resampling.cosmics import COSMIC_RAY, flag_cosmics
from muse_core.resampling.cosmics import METHODS as COSMIC_METHODS
from muse_core.resampling.exposure_sums import Piece, count_exposures, sums_by_exposure
from muse_core.resampling.grid import NOMINAL_STEP_A
from muse_core.resampling.pipeline import in_stages
from muse_core.resampling.plan import CubePlan, Slab
from muse_core.resampling.quality import quality_plane
from muse_core.resampling.voxel_layers import Contribution, Layer, make_layer
from muse_core.resampling.voxel_types import VoxelGrid
from muse_core.resampling.weights import add_rows, finish_voxels, nearest_rows

_MARGIN_A = 0.02
_ROWS_AT_ONCE, _LEAST_LINES = 500_000, 16  # when cosmic rays are looked for: more would cost memory


def voxel_grid(plan: CubePlan) -> VoxelGrid:
    """Return the geometry that all slabs of a cube share."""
    grid = plan.grid
    centre1, centre2 = grid.voxel_centres()
    cosine = np.cos(np.radians(centre2)) if grid.celestial else np.ones_like(centre1)
    reference = (float(plan.reference[0]), float(plan.reference[1]))
    if plan.defects.nearest_by_absolute_position and plan.resampling.method == "nearest":
        reference = (0.0, 0.0)
    scale = (float(grid.scale[0]), float(grid.scale[1]))
    sizes = grid.steps(as_c=plan.defects.rotated_steps)
    step = (float(sizes[0]) / scale[0], float(sizes[1]) / scale[1])
    planes = np.arange(grid.nz)
    widths = np.abs(grid.plane_width(planes)) / NOMINAL_STEP_A
    return VoxelGrid(centre1, centre2, cosine, grid.wavelength(planes), widths, reference, scale, step)


def slabs_between(
    contributions: Sequence[Contribution], plan: CubePlan, first: int, last: int, height: int, threads: int
) -> Iterator[Slab]:
    """Make the planes first .. last - 1, slab by slab; nothing but the files is shared with other planes."""
    geometry = voxel_grid(plan)
    nz = plan.grid.nz
    edges = [*range(first, last, height), last]
    # beyond a border inside the cube there is a layer that only lends its rows
    edges = [*([max(first - plan.reach, 0)] if first > 0 else []), *edges]
    edges = [*edges, *([min(last + plan.reach, nz)] if last < nz else [])]

    def gather(number: int) -> Layer:
        return gather_layer(contributions, plan, edges[number], edges[number + 1])

    def reject(below: Layer | None, layer: Layer, above: Layer | None) -> Layer:
        find_cosmics(below, layer, above, plan)
        return layer

    def resample(below: Layer | None, layer: Layer, above: Layer | None) -> Slab | None:
        if not first <= layer.first < last:
            return None
        return _resample(below, layer, above, plan, geometry, len(contributions))

    slabs = in_stages(gather, (reject, resample), len(edges) - 1, threads)
    yield from (slab for slab in slabs if slab is not None)


def gather_layer(
    contributions: Sequence[Contribution],
    plan: CubePlan,
    low: int,
    high: int,
    *,
    keep_rows: bool | None = None,
) -> Layer:
    """Gather the rows of the planes low .. high - 1.

    Parameters
    ----------
    keep_rows : bool or None
        keep the row numbers; None: if the plan asks for them
    """
    return make_layer(
        contributions,
        plan.grid,
        plan.reference,
        _wavelength_limits(plan, low, high),
        low,
        high,
        keep_rows=plan.report_flags if keep_rows is None else keep_rows,
        round_as_c=plan.defects.arc_sine_rounding,
        by_exposure=plan.by_exposure is not None,
    )


def _wavelength_limits(plan: CubePlan, first: int, last: int) -> tuple[float, float]:
    """Wavelengths that can belong to planes first .. last - 1 (border planes take what lies outside)."""
    grid = plan.grid
    low = grid.edge(max(first, 0)) - _MARGIN_A
    high = grid.edge(min(last, grid.nz)) + _MARGIN_A
    near = (plan.reach + 1) * float(np.max(grid.plane_width(np.array([0, grid.nz - 1]))))
    if first <= 0:
        low = -np.inf if plan.defects.border_planes_take_all else low - near
    if last >= grid.nz:
        high = np.inf if plan.defects.border_planes_take_all else high + near
    return low, high


def find_cosmics(below: Layer | None, layer: Layer, above: Layer | None, plan: CubePlan) -> None:
    """Set `judged` of a layer; the neighbours lend it their nearest planes.

    Some lines of the field are looked at at a time, with those next to them, so that the copies of their rows
    are small.
    """
    rejection, nx, ny = plan.cosmics, plan.grid.nx, plan.grid.ny
    if rejection is None:
        return
    planes = [(layer, plane) for plane in range(layer.first, layer.last)]
    if below is not None:
        planes.insert(0, (below, below.last - 1))
    if above is not None:
        planes.append((above, above.first))
    parts = [piece.rows_of(plane, plane + 1, ny * nx) for piece, plane in planes]
    rows = sum(part.stop - part.start for part in parts)
    height = max(_LEAST_LINES, ny * _ROWS_AT_ONCE // max(rows, 1))
    first = 0 if below is None else 1
    found = [
        _find_in_lines(planes, first, layer, plan, low, min(low + height, ny)) for low in range(0, ny, height)
    ]
    layer.cosmics = np.sort(np.concatenate(found))
    if layer.cosmics.size:
        layer.judged = borrow(layer.judged.size, np.int32)
        layer.judged[:] = layer.rows.dq  # the threads at work on the neighbours still read the other one
        layer.judged[layer.cosmics] |= COSMIC_RAY


def _find_in_lines(
    planes: Sequence[tuple[Layer, int]], first: int, layer: Layer, plan: CubePlan, low: int, high: int
) -> npt.NDArray[np.int64]:
    """Return which rows of a layer are cosmic rays, in the lines low .. high - 1 of the field.

    Parameters
    ----------
    planes : sequence of (Layer, int)
        the planes of the layer and of its neighbours, with the layers they are in
    first : int
        which of them is the first of the layer
    """
    rejection, nx, ny = plan.cosmics, plan.grid.nx, plan.grid.ny
    if rejection is None:
        raise ValueError("the plan has no rejection of cosmic rays")
    bottom, top = max(low - 1, 0), min(high + 1, ny)
    taken, starts, total = [], [np.zeros(1, np.int32)], 0
    for piece, plane in planes:
        voxel = ((plane - piece.first) * ny + bottom) * nx
        own = piece.rows.starts[voxel : voxel + (top - bottom) * nx + 1]
        taken.append((piece.rows, slice(int(own[0]), int(own[-1]))))
        starts.append(own[1:] - np.int32(int(own[0]) - total))
        total += int(own[-1]) - int(own[0])

    def column(name: str) -> npt.NDArray:
        parts = [getattr(rows, name)[chosen] for rows, chosen in taken]
        return np.concatenate(parts, out=borrow(total, parts[0].dtype))

    flags = borrow(total, np.uint8)
    flags[:] = 0
    dq = column("dq")
    if plan.defects.flagged_rows_in_rejection:
        dq &= ~np.int32(COSMIC_RAY)
    as_c = plan.defects.rejection_by_bare_statistics
    judge = flag_cosmics if as_c else flag_outliers
    count = layer.last - layer.first
    judge(
        column("data"),
        np.empty(0, np.float32) if as_c and rejection.method != "iraf" else column("stat"),
        dq,
        np.concatenate(starts),
        nx,
        top - bottom,
        len(planes),
        first,
        first + count,
        COSMIC_METHODS[rejection.method],
        rejection.sigma,
        rejection.rule,
        flags,
    )
    found = []
    at = sum(chosen.stop - chosen.start for _, chosen in taken[:first])
    for plane, (_, chosen) in enumerate(taken[first : first + count]):
        # the lines next to these lend their rows only
        begin, end = (int(layer.rows.starts[(plane * ny + line) * nx]) for line in (low, high))
        own = flags[at + begin - chosen.start : at + end - chosen.start]
        found.append(begin + np.flatnonzero(own))
        at += chosen.stop - chosen.start
    return np.concatenate(found)


def _resample(
    below: Layer | None,
    layer: Layer,
    above: Layer | None,
    plan: CubePlan,
    geometry: VoxelGrid,
    count: int,
) -> Slab:
    """Make the planes of a layer from its rows and those of its neighbours."""
    grid = plan.grid
    shape = (layer.last - layer.first, grid.ny, grid.nx)
    slab = Slab(layer.first, borrow(shape, np.float32), borrow(shape, np.float32))
    hit = layer.cosmics
    slab.cosmics = hit.size
    slab.hits = (np.searchsorted(layer.rows.starts, hit, side="right") - 1).astype(np.int32)
    if plan.report_flags:
        slab.flagged = layer.row_numbers(hit)
    resampling = plan.resampling
    if resampling.method == "nearest":
        rows = layer.judged_rows()
        nearest_rows(rows, geometry, layer.first, slab.data, slab.stat)
        if plan.defects.nearest_flagged_in_qc and layer.first <= quality_plane(grid.nz) < layer.last:
            slab.with_flagged = np.empty(shape, np.float32)
            as_good = rows._replace(dq=np.zeros_like(rows.dq))
            nearest_rows(as_good, geometry, layer.first, slab.with_flagged, np.empty(shape, np.float32))
        if plan.by_exposure:
            slab.exposures = np.zeros(shape, np.int16)
            count_exposures(layer.rows.starts, layer.exposure, layer.judged, slab.exposures.reshape(-1))
        return slab
    sums = borrow((*shape, 3), np.float64)
    sums[...] = 0.0
    if plan.by_exposure:
        _resample_by_exposure((below, layer, above), plan, geometry, count, slab, sums)
        return slab
    for piece in (below, layer, above):
        if piece is not None:
            planes = piece.last - piece.first
            add_rows(piece.judged_rows(), geometry, piece.first, planes, layer.first, resampling, sums)
    finish_voxels(sums, slab.data, slab.stat)
    return slab


def _resample_by_exposure(
    layers: Sequence[Layer | None],
    plan: CubePlan,
    geometry: VoxelGrid,
    count: int,
    slab: Slab,
    sums: npt.NDArray[np.float64],
) -> None:
    """Fill a slab with the sums of one exposure after the other, behind those that were stored."""
    settings = plan.by_exposure
    if settings is None:
        raise ValueError("the plan has no settings for exposures")
    slab.exposures = np.zeros(sums.shape[:3], np.int16)
    if settings.stored:
        sums[...], slab.exposures[...] = settings.stored.planes(slab.first, slab.first + len(sums))
    pieces = [
        Piece(layer.judged_rows(), layer.exposure, layer.first, layer.last) for layer in layers if layer
    ]
    slab.disagreeing = sums_by_exposure(
        pieces, geometry, slab.first, plan.resampling, count, settings.rejection, sums, slab.exposures,
        settings.stack_bytes,
    )  # fmt: skip
    finish_voxels(sums, slab.data, slab.stat)
    if settings.keep_sums:
        slab.sums = sums

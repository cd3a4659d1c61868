# SPDX-License-Identifier: BSD-3-Clause
"""Cube of the sky flat, strip by strip along y, with the resampling kernels shared with muse_scipost.

The cube has few planes, each with millions of rows, so strips of the field (some slices of some
IFUs) bound the memory, not wavelength slabs. Every voxel gets its rows in the same order whatever the
strips, hence the same bits.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.errors import InputError
from muse_core.framework.kernels import njit
from muse_core.resampling import cosmics, weights
from muse_core.resampling.grid import NOMINAL_STEP_A, OutputGrid, pixel_grid
from muse_core.resampling.voxel_types import VoxelGrid, VoxelRows
from muse_core.twilight.store import RowStore

Planes = npt.NDArray[np.float32]

BYTES_PER_ROW = 40  # of a strip: columns in voxel order, voxel numbers, work space of the kernels
HALO = 2  # rows of cells: one for the weights, one more for the statistics of cosmic rays
LEAST_HEIGHT = 12
LARGEST_SIDE = 5000


@dataclass(frozen=True)
class SkyCubePlan:
    """Parameters ``resample``, ``crtype``, ``crsigma``, ``dlambda``."""

    method: str = "drizzle"
    crtype: str = "median"
    crsigma: float = 50.0
    dlambda: float = 250.0


@dataclass(frozen=True)
class SkyCube:
    """Resampled sky flat (float32[nz, ny, nx]) and the number of cosmic rays rejected."""

    grid: OutputGrid
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    rejected: int


@njit(cache=True, nogil=True)
def _mark(
    flags: np.ndarray, starts: np.ndarray, ny: int, nx: int, nz: int, row0: int, row1: int, dq: np.ndarray
) -> int:
    """Copy cosmic-ray flags into ``dq``; returns how many lie in rows ``row0`` to ``row1`` of cells."""
    own = 0
    for k in range(nz):
        for y in range(ny):
            begin = starts[(k * ny + y) * nx]
            end = starts[(k * ny + y + 1) * nx]
            for i in range(begin, end):
                if flags[i] and dq[i] == 0:
                    dq[i] = 0x20
                    if row0 <= y < row1:
                        own += 1
    return own


_reused = threading.local()


def _allocate(name: str, size: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Array of this thread, kept from one strip to the next: fresh pages cost more than the copy."""
    array: npt.NDArray[Any] | None = getattr(_reused, name, None)
    if array is None or array.size < size or array.dtype != dtype:
        array = np.empty(size + size // 8, dtype)
        setattr(_reused, name, array)
    return array[:size]


def _strip(
    store: RowStore, grid: OutputGrid, plan: SkyCubePlan, row0: int, row1: int
) -> tuple[int, Planes, Planes, int]:
    low, high = max(row0 - HALO, 0), min(row1 + HALO, grid.ny)
    nx, ny, nz = grid.nx, high - low, grid.nz
    rows, starts = store.strip(low, high, (nz, grid.ny, nx), grid.dlambda, _allocate)
    part = replace(grid, ny=ny, crval=(grid.crval[0], grid.crval[1] + low, grid.crval[2]))
    rejected = 0
    if plan.crsigma > 0:
        flags = _allocate("flags", rows.data.size, np.uint8)
        flags[:] = 0
        cosmics.flag_cosmics(
            rows.data,
            rows.stat,
            rows.dq,
            starts,
            nx,
            ny,
            nz,
            0,
            nz,
            cosmics.METHODS[plan.crtype],
            plan.crsigma,
            cosmics.neighbourhood(None),
            flags,
        )
        rejected = _mark(flags, starts, ny, nx, nz, row0 - low, row1 - low, rows.dq)
    data, stat = np.empty((nz, ny, nx), np.float32), np.empty((nz, ny, nx), np.float32)
    plane_lam = grid.wavelength(np.arange(nz))
    centre1, centre2 = part.voxel_centres()
    # measured against 2.8.7: for the nearest row wavelength counts in Angstrom, not in units of 1.25
    stretch = NOMINAL_STEP_A if plan.method == "nearest" else 1.0
    geometry = VoxelGrid(
        centre1,
        centre2,
        np.ones((ny, nx)),
        plane_lam * stretch,
        np.full(nz, grid.dlambda / NOMINAL_STEP_A),
        (0.0, 0.0),
        (1.0, 1.0),
        (1.0, 1.0),
    )
    voxel_rows = VoxelRows(
        starts, rows.xpos, rows.ypos, rows.lam, rows.data, rows.stat, rows.dq, np.empty(0, np.float32)
    )
    if plan.method == "nearest":
        stretched = voxel_rows._replace(lam=rows.lam.astype(np.float64) * stretch)
        weights.nearest_rows(stretched, geometry, 0, data, stat)
    else:
        sums = np.zeros((nz, ny, nx, 3))
        resampling = weights.Resampling(plan.method, pixfrac=(1.0, 1.0, 1.0))
        weights.add_rows(voxel_rows, geometry, 0, nz, 0, resampling, sums)
        weights.finish_voxels(sums, data, stat)
    own = slice(row0 - low, row1 - low)
    return row0, data[:, own], stat[:, own], rejected


def strip_height(ny: int, rows: int, memory_bytes: int, threads: int) -> int:
    """Rows of cells per strip so that ``threads`` strips fit in the memory (at least `LEAST_HEIGHT`)."""
    per_row = max(rows / max(ny, 1), 1.0) * BYTES_PER_ROW
    return int(np.clip(memory_bytes / threads / per_row - 2 * HALO, LEAST_HEIGHT, max(ny, LEAST_HEIGHT)))


def cube_grid(limits: Sequence[float] | npt.NDArray[np.float64], dlambda: float) -> OutputGrid:
    """Grid of the cube from the smallest and largest x, y, wavelength of all rows.

    Raises
    ------
    InputError
        If the field would be absurdly large.
    """
    grid = pixel_grid(
        ((limits[0], limits[1]), (limits[2], limits[3]), (limits[4], limits[5])), (1.0, 1.0, dlambda)
    )
    if max(grid.nx, grid.ny) > LARGEST_SIDE or grid.nz > LARGEST_SIDE:
        raise InputError(
            "",
            f"the cube would have {grid.nx} x {grid.ny} x {grid.nz} voxels; check geometry table and dlambda",
        )
    return grid


def check_planes(low: float, high: float, dlambda: float) -> None:
    """Refuse steps of wavelength [Angstrom] that make more planes than a cube may have.

    Raises
    ------
    InputError
    """
    if (high - low) / LARGEST_SIDE > dlambda:
        raise InputError(
            "", f"the cube would have more than {LARGEST_SIDE} planes; check lambdamin, lambdamax and dlambda"
        )


def build_cube(store: RowStore, plan: SkyCubePlan, memory_bytes: int, threads: int = 1) -> SkyCube:
    """Resample all rows of the store.

    Parameters
    ----------
    store : RowStore
        After `RowStore.freeze`.
    plan : SkyCubePlan
    memory_bytes : int
        Budget of all strips together.
    threads : int
        Strips worked on at the same time; the result does not depend on it.
    """
    grid = cube_grid(store.limits, plan.dlambda)
    data = np.empty((grid.nz, grid.ny, grid.nx), np.float32)
    stat = np.empty_like(data)
    height = strip_height(grid.ny, store.rows, memory_bytes, threads)
    firsts = range(0, grid.ny, height)
    rejected = 0
    with ThreadPoolExecutor(threads) as pool:
        work = pool.map(lambda row0: _strip(store, grid, plan, row0, min(row0 + height, grid.ny)), firsts)
        for row0, part, part_stat, hits in work:
            data[:, row0 : row0 + part.shape[1]] = part
            stat[:, row0 : row0 + part.shape[1]] = part_stat
            rejected += hits
    return SkyCube(grid, data, stat, rejected)

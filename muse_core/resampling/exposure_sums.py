# SPDX-License-Identifier: BSD-3-Clause
"""Resampling exposure by exposure: sums of each one, what they disagree about, how many there are.

The rows of a voxel lie in the order of the exposures, so those of one exposure are taken out by walking once
through the rows, however many exposures there are. The sums of the exposures are added in their order, so an
exposure added to stored sums gives the same bits as one that was there from the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit
from muse_core.resampling.exposure_rejection import ExposureRejection, rejected_exposures
from muse_core.resampling.voxel_types import VoxelGrid, VoxelRows
from muse_core.resampling.weights import Resampling, add_rows

_TINY = np.finfo(np.float64).tiny
MOST_EXPOSURES = int(np.iinfo(np.int16).max)
"""As many as the int16 numbers of exposures can count, those that were combined before included."""


@dataclass
class Piece:
    """Rows of some planes of the cube with the exposure of each.

    Parameters
    ----------
    rows : VoxelRows
    exposure : uint16[n]
        number of the exposure of each row, ascending within a voxel
    first, last : int
        planes first .. last - 1 of the cube
    """

    rows: VoxelRows
    exposure: npt.NDArray[np.uint16]
    first: int
    last: int

    def between(self, first: int, last: int) -> Piece:
        """Return the part in the planes first .. last - 1."""
        first = min(max(first, self.first), self.last)
        last = max(min(last, self.last), first)
        planes = self.last - self.first
        per_plane = (self.rows.starts.size - 1) // planes if planes else 0
        starts = self.rows.starts[(first - self.first) * per_plane : (last - self.first) * per_plane + 1]
        begin, end = int(starts[0]), int(starts[-1])
        rows = _taken(self.rows, slice(begin, end), (starts - np.int32(begin)).astype(np.int32))
        return Piece(rows, self.exposure[begin:end], first, last)

    def by_exposure(self, count: int) -> Iterator[VoxelRows]:
        """Yield the rows of the exposures 0 .. count - 1, one after the other."""
        cursor = self.rows.starts[:-1].copy()
        sizes = np.bincount(self.exposure, minlength=count)
        for number, size in enumerate(sizes[:count]):
            places = np.empty(int(size), np.int32)
            starts = np.empty_like(self.rows.starts)
            places_of_exposure(self.rows.starts, self.exposure, number, cursor, places, starts)
            yield _taken(self.rows, places, starts)


def _taken(
    rows: VoxelRows, chosen: slice | npt.NDArray[np.int32], starts: npt.NDArray[np.int32]
) -> VoxelRows:
    """Return some rows, which begin at `starts` in each voxel."""
    _, xpos, ypos, lam, data, stat, dq, weight = rows
    return VoxelRows(
        starts, xpos[chosen], ypos[chosen], lam[chosen], data[chosen], stat[chosen], dq[chosen],
        weight[chosen] if weight.size else weight,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def places_of_exposure(
    starts: np.ndarray,
    exposure: np.ndarray,
    number: int,
    cursor: np.ndarray,
    places: np.ndarray,
    own_starts: np.ndarray,
) -> None:
    """List the rows of one exposure in voxel order.

    Parameters
    ----------
    starts : int32[n_voxels + 1]
        first row of each voxel
    exposure : uint16[n]
        ascending within each voxel
    number : int
        the exposure
    cursor : int32[n_voxels]
        first row of each voxel whose exposure is not below `number`; moved behind the rows of the exposure
    places : int32[m]
        filled with their numbers; m is their count
    own_starts : int32[n_voxels + 1]
        filled: where the rows of each voxel begin in `places`
    """
    count = 0
    for voxel in range(cursor.size):
        own_starts[voxel] = count
        row = cursor[voxel]
        while row < starts[voxel + 1] and exposure[row] == number:
            if count < places.size:
                places[count] = row
                count += 1
            row += 1
        cursor[voxel] = row
    own_starts[cursor.size] = count


@njit(cache=True, nogil=True)
def add_exposure(own: np.ndarray, total: np.ndarray, exposures: np.ndarray, left_out: np.ndarray) -> None:
    """Add the sums of one exposure to those of all; one that is not finite in a voxel is left out there.

    Parameters
    ----------
    own, total : float64[n, ny, nx, 3]
        sum of w d, of w, of w^2 s; `total` is updated in place
    exposures : int16[n, ny, nx]
        one more where the exposure contributes
    left_out : bool[n, ny, nx]
        where it is rejected
    """
    n, ny, nx = exposures.shape
    for k in range(n):
        for y in range(ny):
            for x in range(nx):
                value, weight = own[k, y, x, 0], own[k, y, x, 1]
                # NaN and infinities fail the comparison
                if abs(weight) >= _TINY and abs(value) < np.inf and not left_out[k, y, x]:
                    for item in range(3):
                        total[k, y, x, item] += own[k, y, x, item]
                    exposures[k, y, x] += 1


@njit(cache=True, nogil=True)
def count_exposures(starts: np.ndarray, exposure: np.ndarray, dq: np.ndarray, exposures: np.ndarray) -> None:
    """Count the exposures with a good row in each voxel.

    Parameters
    ----------
    starts : int32[n_voxels + 1]
        first row of each voxel
    exposure : uint16[n]
        ascending within each voxel
    dq : int32[n]
    exposures : int16[n_voxels]
        filled
    """
    for voxel in range(exposures.size):
        last = -1
        count = 0
        for row in range(starts[voxel], starts[voxel + 1]):
            if dq[row] == 0 and exposure[row] != last:
                last = exposure[row]
                count += 1
        exposures[voxel] = count


def sums_by_exposure(
    pieces: Sequence[Piece],
    grid: VoxelGrid,
    first: int,
    resampling: Resampling,
    count: int,
    rejection: ExposureRejection | None,
    total: npt.NDArray[np.float64],
    exposures: npt.NDArray[np.int16],
    stack_bytes: int,
) -> int:
    """Add the rows of some exposures to the voxels of some planes, exposure by exposure.

    Parameters
    ----------
    pieces : sequence of Piece
        rows of those planes and of the planes within the loop distance
    first : int
        cube plane of total[0]
    resampling : Resampling
        any method but nearest
    count : int
        number of exposures
    rejection : ExposureRejection or None
        leave values out that disagree with those of the other exposures
    total : float64[n, ny, nx, 3]
        sum of w d, of w, of w^2 s of what was combined before; updated in place
    exposures : int16[n, ny, nx]
        number of exposures in each voxel; updated in place
    stack_bytes : int
        room for the sums of single exposures; one plane of them is kept at least

    Returns
    -------
    int
        how many values of exposures were left out
    """
    n, ny, nx = exposures.shape
    kept = count if rejection else 1
    height = max(1, min(n, stack_bytes // (24 * ny * nx * kept)))
    n_rejected = 0
    for low in range(0, n, height):
        high = min(low + height, n)
        near = [
            piece.between(first + low - max(resampling.ld, 1), first + high + max(resampling.ld, 1))
            for piece in pieces
        ]
        stack = np.zeros((kept, high - low, ny, nx, 3))
        shape = (slice(low, high),)
        nothing = np.zeros((high - low, ny, nx), np.bool_)
        rows_of = [piece.by_exposure(count) for piece in near]
        for number in range(count):
            own = stack[number if rejection else 0]
            own[...] = 0.0
            for piece, rows in zip(near, rows_of):
                add_rows(
                    next(rows), grid, piece.first, piece.last - piece.first, first + low, resampling, own
                )
            if not rejection:
                add_exposure(own, total[shape], exposures[shape], nothing)
        if rejection:
            for plane in range(high - low):
                before = total[low + plane] if exposures[low + plane].any() else None
                rejected = rejected_exposures(stack[:, plane], rejection, before)
                n_rejected += int(np.count_nonzero(rejected))
                where = slice(low + plane, low + plane + 1)
                for number in range(count):
                    own = stack[number, plane : plane + 1]
                    add_exposure(own, total[where], exposures[where], rejected[number : number + 1])
    return n_rejected

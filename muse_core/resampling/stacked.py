# SPDX-License-Identifier: BSD-3-Clause
"""OBJECT_RESAMPLED: all slices side by side as one image of position and wavelength (save=stacked).

Each slice has its own columns; within a column the rows are interpolated along wavelength with Renka
weights.  Established against the C pipeline 2.8.7 (all pixels within 1e-5, five tables): the columns are
1.2 times the first row norm of the effective CD matrix wide, distances are in units of the wavelength
step, exposure weights play no part.

The image is made some planes (wavelengths) at a time from the rows of the interval, so memory does not
depend on the number of rows, and the result does not depend on the height of the slabs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.block import Block, concatenate
from muse_core.framework.errors import ParameterError
from muse_core.framework.kernels import njit
from muse_core.framework.team import Team, Threads
from muse_core.resampling.cosmics import COSMIC_RAY
from muse_core.resampling.cube_cards import DATA_CLASS, HDU_CLASS, Card, data_unit_text
from muse_core.resampling.cube_file import StreamedFile, image_extension_header

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from astropy.io import fits

#: critical radius of the Renka weights, in wavelength steps
RADIUS = 1.25
#: columns per nominal spaxel
COLUMN_WIDTH = 1.2
MOST_PIXELS = 1 << 24
"""Along an axis of a slice: far beyond what any data fill."""
_KEYS = 32 * 64
_SUMS = 4
_MARGIN_A = 0.02


@dataclass(frozen=True)
class StackedSource:
    """Rows of one exposure in their final state.

    Parameters
    ----------
    gather : callable (low, high) -> Block
        Rows of a wavelength interval in table order (more rows do no harm), callable from threads.
    cosmics : callable (row numbers) -> bool array, or None
        Rows that the cube found to be cosmic rays.
    """

    gather: Callable[[float, float], Block]
    cosmics: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]] | None = None

    def good_rows(self, low: float, high: float) -> Block:
        """Rows of an interval with the flags of the cosmic rays."""
        block = self.gather(low, high)
        if self.cosmics is not None and len(block):
            block.dq[self.cosmics(block.row)] |= COSMIC_RAY
        return block


class SliceLimits:
    """Smallest and largest position of each slice, collected block by block in any order."""

    def __init__(self) -> None:
        self.low = np.full(_KEYS, np.inf)
        self.high = np.full(_KEYS, -np.inf)

    def add(self, xpos: npt.NDArray[np.float32], origin: npt.NDArray[np.int32]) -> None:
        """Take rows into account, good and bad ones."""
        extend_limits(xpos, origin, self.low, self.high)

    def merge(self, other: SliceLimits) -> None:
        """Take into account what another one has seen."""
        np.minimum(self.low, other.low, out=self.low)
        np.maximum(self.high, other.high, out=self.high)


@dataclass(frozen=True)
class StackedLayout:
    """Where each slice and wavelength lies in the image.

    Parameters
    ----------
    step : float
        Width of a column in the units of xpos.
    position : float64[2048]
        Position of the first column of each slice (index: IFU * 64 + slice).
    column : int64[2048]
        First column of each slice, -1 for slices without rows.
    nx, ny : int
    lambda_min, dlambda : float
        Wavelength of the first plane and the step.
    """

    step: float
    position: npt.NDArray[np.float64]
    column: npt.NDArray[np.int64]
    nx: int
    ny: int
    lambda_min: float
    dlambda: float

    def interval(self, first: int, last: int) -> tuple[float, float]:
        """Wavelengths of the rows that the planes first .. last - 1 need."""
        low = self.lambda_min + (first - 1.5) * self.dlambda - _MARGIN_A
        high = self.lambda_min + (last + 0.5) * self.dlambda + _MARGIN_A
        # what lies outside belongs nowhere, but costs nothing at the ends
        return (-np.inf if first <= 0 else low), (np.inf if last >= self.ny else high)


def column_step(scale: float, dx: float, celestial: bool, *, in_degrees: bool = False) -> float:
    """Width of a column in the units of xpos (degrees on the sky, pixels without astrometry).

    Parameters
    ----------
    scale : float
        First row norm of the effective CD matrix in degrees.
    dx : float
        Recipe parameter (arcsec or pixels), 0 if not given.
    in_degrees : bool
        take it in degrees, as the C pipeline does (a slice gets two columns).
    """
    if not celestial:
        return dx or 1.0
    if dx:
        return dx if in_degrees else dx / 3600.0
    return COLUMN_WIDTH * scale


def stacked_layout(
    limits: SliceLimits, step: float, wavelengths: tuple[float, float], dlambda: float
) -> StackedLayout:
    """Lay the slices out side by side, IFU by IFU and slice by slice.

    Parameters
    ----------
    wavelengths : (float, float)
        Smallest and largest wavelength of the combined table, as its header gives them.

    Raises
    ------
    ParameterError
        If the steps are so small that no image has so many pixels.
    """
    column = np.full(_KEYS, -1, dtype=np.int64)
    nx = 0
    for key in np.flatnonzero(np.isfinite(limits.low)):
        column[key] = nx
        width = float(np.float32(limits.high[key]) - np.float32(limits.low[key]))
        nx += _steps(width, step, "dx")
    ny = _steps(wavelengths[1] - wavelengths[0], dlambda, "dlambda")
    position = np.where(column >= 0, limits.low, 0.0)
    return StackedLayout(float(step), position, column, nx, ny, float(wavelengths[0]), float(dlambda))


def _steps(width: float, step: float, name: str) -> int:
    """Return how many pixels a width takes."""
    if not width < MOST_PIXELS * step:
        raise ParameterError(
            f"{name}: a step of {step:g} is too small for slices side by side; give a larger one"
        )
    return math.ceil(width / step) + 1


@njit(cache=True, nogil=True)
def extend_limits(xpos: np.ndarray, origin: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Widen the limits of each slice.

    Parameters
    ----------
    xpos : float32[n]
    origin : int32[n]
    low, high : float64[2048]     updated in place, index IFU * 64 + slice
    """
    for i in range(xpos.size):
        key = origin[i] & 0x7FF
        x = np.float64(xpos[i])
        if x < low[key]:
            low[key] = x
        if x > high[key]:
            high[key] = x


@njit(cache=True, nogil=True)
def add_stacked_rows(
    xpos: np.ndarray,
    lam: np.ndarray,
    data: np.ndarray,
    dq: np.ndarray,
    origin: np.ndarray,
    position: np.ndarray,
    column: np.ndarray,
    step: float,
    lambda_min: float,
    dlambda: float,
    first: int,
    sums: np.ndarray,
) -> None:
    """Add rows to the planes of a slab.

    Parameters
    ----------
    xpos, lam, data : float32[n]
    dq, origin : int32[n]
    position : float64[2048]      position of the first column of each slice
    column : int64[2048]          first column of each slice
    step, lambda_min, dlambda : float
    first : int                   plane number of sums[0]
    sums : float64[planes, nx, 4] updated in place: sum(w d), sum(w) of near rows, sum(d), number of others
    """
    for i in range(lam.size):
        if dq[i] != 0:
            continue
        key = origin[i] & 0x7FF
        # the difference is single precision in the C pipeline, which decides ties between columns
        shift = np.float64(np.float32(xpos[i] - np.float32(position[key])))
        place = column[key] + np.floor(shift / step + 0.5)
        if not (place >= 0.0 and place < sums.shape[1]):  # a position that is not a number
            continue
        ix = int(place)
        offset = (np.float64(lam[i]) - lambda_min) / dlambda
        own = int(np.floor(offset + 0.5))
        value = np.float64(data[i])
        for plane in range(max(own - 1, first), min(own + 2, first + sums.shape[0])):
            distance = abs(offset - plane)
            k = plane - first
            if distance < RADIUS:
                distance = max(distance, np.float64(1e-12))
                weight = ((RADIUS - distance) / (RADIUS * distance)) ** 2
                sums[k, ix, 0] += weight * value
                sums[k, ix, 1] += weight
            else:
                sums[k, ix, 2] += value
                sums[k, ix, 3] += 1.0


def finish_stacked(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Values of a slab: weighted mean of the near rows, else mean of the others, else 0."""
    result = np.zeros(sums.shape[:2])
    np.divide(sums[..., 2], sums[..., 3], out=result, where=sums[..., 3] > 0.0)
    np.divide(sums[..., 0], sums[..., 1], out=result, where=sums[..., 1] > 0.0)
    return result.astype(np.float32)


def stacked_slab(
    sources: Sequence[StackedSource], layout: StackedLayout, first: int, last: int
) -> npt.NDArray[np.float32]:
    """Make the planes first .. last - 1, float32[n, nx]."""
    sums = np.zeros((last - first, layout.nx, _SUMS))
    block = concatenate([source.good_rows(*layout.interval(first, last)) for source in sources])
    add_stacked_rows(
        block.xpos,
        block.lam,
        block.data,
        block.dq,
        block.origin,
        layout.position,
        layout.column,
        layout.step,
        layout.lambda_min,
        layout.dlambda,
        first,
        sums,
    )
    return finish_stacked(sums)


def stacked_cards(layout: StackedLayout, unit: str) -> list[Card]:
    """Cards (after the structure) of the DATA extension."""
    return [
        ("CRPIX1", 1.0, ""),
        ("CRPIX2", 1.0, ""),
        ("CRVAL1", 1.0, ""),
        ("CRVAL2", layout.lambda_min, ""),
        ("CD1_1", 1.0, ""),
        ("CD2_2", layout.dlambda, ""),
        ("CUNIT1", "pixel", ""),
        ("CUNIT2", "Angstrom", ""),
        ("CTYPE1", "PIXEL", ""),
        ("CTYPE2", "AWAV", ""),
        ("CD1_2", 0.0, ""),
        ("CD2_1", 0.0, ""),
        ("INHERIT", True, ""),
        ("EXTNAME", "DATA", "This extension contains data values"),
        *HDU_CLASS,
        DATA_CLASS,
        ("BUNIT", data_unit_text(unit), ""),
    ]


def write_stacked(
    path: Path | str,
    primary_header: fits.Header,
    sources: Sequence[StackedSource],
    layout: StackedLayout,
    unit: str,
    *,
    rows: int,
    team: Team | None = None,
    memory_bytes: int = 1 << 28,
) -> None:
    """Write OBJECT_RESAMPLED slab by slab.

    Parameters
    ----------
    sources : sequence of StackedSource
        The exposures, in order.
    rows : int
        Number of rows altogether, for the choice of the slab height.
    team : Team, optional
        Who makes the slabs; the calling thread when left out.
    """
    shape = (layout.ny, layout.nx)
    team = team or Threads()
    height = planes_per_slab(layout, rows, memory_bytes, team.threads)
    jobs = [(first, min(first + height, layout.ny)) for first in range(0, layout.ny, height)]

    def work(planes: tuple[int, int]) -> tuple[int, npt.NDArray[np.float32]]:
        return planes[0], stacked_slab(sources, layout, *planes)

    header = image_extension_header(-32, shape, stacked_cards(layout, unit))
    with StreamedFile(path, primary_header, [(header, shape)]) as file:
        for first, values in team.map(work, jobs):
            file.images[0].write_rows(first, values)
        file.finish()


def planes_per_slab(layout: StackedLayout, rows: int, memory_bytes: int, threads: int) -> int:
    """Choose the slab height that keeps the slabs in flight within the memory budget."""
    per_plane = 150.0 * rows / layout.ny + 8.0 * (_SUMS + 2) * layout.nx
    return max(1, min(int(memory_bytes / (1.3 * threads) / per_plane) - 3, 64, -(-layout.ny // threads)))

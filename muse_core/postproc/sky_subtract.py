# SPDX-License-Identifier: BSD-3-Clause
"""Subtraction of sky lines from pixel-table rows with the line-spread function of their slice.

In the C pipeline the rows of a slice are sorted by wavelength, and a line at ``l`` acts on the rows from the
largest wavelength <= ``l + x_first`` to the largest wavelength <= ``l + x_last`` (both ends included, clamped to the
slice; x_first and x_last are the offsets of the first and last LSF sample).  Whether a row is hit therefore depends
on one other row of its slice.  `LineWindows` collects just that, in one pass over wavelengths and origins: for each
slice and line the largest wavelength at or below the lower limit.  After that every row can be treated alone::

    windows = LineWindows(lines.lam, lsf.reach)     # one per thread, then `merge`
    for block in blocks:                            # only rows inside the range of the continuum
        windows.add(block.lam, block.origin)
    model = line_model(lines, lsf, windows)
    for block in blocks:
        subtract_curve(block.lam, block.data, continuum)
        subtract_lines(block.lam, block.data, block.origin, model)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from muse_core.postproc.lsf import N_IFU, N_SLICE, LsfImage, place_line, sample
from muse_core.postproc.lsf_table import LsfTable, hermite_profile
from muse_core.postproc.sky_lines import SkyLines

N_KEY = N_IFU * N_SLICE
CELL = 0.5  # Angstrom; look-up cells of the sorted line list


@dataclass(frozen=True)
class LineIndex:
    """A sorted list of wavelengths with a look-up table.

    Parameters
    ----------
    value : float64[n], increasing
    first : int32[n_cell]   index of the first value at or above the start of each cell of 0.5 Angstrom
    start : wavelength at which the first cell begins
    """

    value: npt.NDArray[np.float64]
    first: npt.NDArray[np.int32]
    start: float

    @classmethod
    def from_values(cls, value: npt.NDArray[np.float64]) -> LineIndex:
        """Build the look-up table of increasing values."""
        start = float(value[0]) if value.size else 0.0
        n = int((float(value[-1]) - start) / CELL) + 2 if value.size else 1
        first = np.searchsorted(value, start + np.arange(n) * CELL, side="left")
        return cls(value, first.astype(np.int32), start)


@njit(cache=True, nogil=True, inline="always")
def index_at_or_above(x, value, first, start):
    """Return the index of the first value >= x (the number of values if there is none)."""
    cell = int((x - start) * (1.0 / CELL))
    if x <= start:
        cell = 0
    if cell >= first.size:
        cell = first.size - 1
    j = first[cell]
    while j < value.size and value[j] < x:
        j += 1
    while j > 0 and value[j - 1] >= x:
        j -= 1
    return j


class LineWindows:
    """Collects, for each slice, the rows at the lower window limits of the lines.

    Parameters
    ----------
    lam_lines : float64[n]   wavelengths of the lines, in any order
    reach : offsets of the first and last sample of the profile
    """

    def __init__(self, lam_lines: npt.NDArray[np.float64], reach: tuple[float, float]) -> None:
        self.reach = reach
        self.lower = LineIndex.from_values(np.sort(lam_lines) + reach[0])
        self.bound = np.full((N_KEY, lam_lines.size), -np.inf, dtype=np.float32)
        self.minimum = np.full(N_KEY, np.inf, dtype=np.float32)
        self.rows = np.zeros(N_KEY, dtype=np.int64)

    def add(self, lam: npt.NDArray[np.float32], origin: npt.NDArray[np.int32]) -> None:
        """Add the rows of a block; they must be the rows that are left after all cuts."""
        lower = self.lower
        collect_bounds(lam, origin, lower.value, lower.first, lower.start, self.bound, self.minimum, self.rows)

    def emptied(self) -> LineWindows:
        """Return an empty collector for the same lines."""
        return LineWindows(self.lower.value - self.reach[0], self.reach)

    def merge(self, other: LineWindows) -> None:
        """Add what another collector has seen."""
        np.maximum(self.bound, other.bound, out=self.bound)
        np.minimum(self.minimum, other.minimum, out=self.minimum)
        self.rows += other.rows

    def bounds(self) -> npt.NDArray[np.float32]:
        """Return float32[1152, n]: the lowest wavelength of a slice on which a line acts."""
        bound = np.maximum.accumulate(self.bound, axis=1)
        return np.maximum(bound, self.minimum[:, np.newaxis])


@njit(cache=True, nogil=True)
def collect_bounds(lam, origin, limit, first, start, bound, minimum, rows):
    """Update, per slice, the largest wavelength in each interval between two lower limits.

    Parameters
    ----------
    lam : float32[n], origin : int32[n]
    limit : float64[n_line], increasing
    bound : float32[1152, n_line], minimum : float32[1152], rows : int64[1152]   updated
    """
    for i in range(lam.size):
        key = slice_of(origin[i])
        if key < 0:
            continue
        x = lam[i]
        rows[key] += 1
        if x < minimum[key]:
            minimum[key] = x
        j = index_at_or_above(np.float64(x), limit, first, start)
        if j < limit.size and x > bound[key, j]:
            bound[key, j] = x


@njit(cache=True, nogil=True, inline="always")
def slice_of(origin):
    """Return the index of the slice of a row (0 .. 1151), -1 if the origin is not valid."""
    ifu = (origin >> 6) & 0x1F
    number = origin & 0x3F
    if 1 <= ifu <= N_IFU and 1 <= number <= N_SLICE:
        return (ifu - 1) * N_SLICE + number - 1
    return -1


@njit(cache=True, nogil=True)
def count_slices(origin, rows):
    """Add the number of rows of each slice to ``rows`` (int64[1152])."""
    for i in range(origin.size):
        key = slice_of(origin[i])
        if key >= 0:
            rows[key] += 1


@dataclass(frozen=True)
class LineModel:
    """All that is needed to subtract lines from a row; lines are sorted by wavelength.

    Parameters
    ----------
    lam, flux : float64[n]
    upper : look-up of the upper window limits
    bound, minimum : see `LineWindows`
    lsf : the profiles
    rows : int32[n] and float64[n]; image row of each line and weight of the next row (image flavour)
    scale, shift : float64[n_slice, n]   factor and centre of each profile (image flavour)
    parameters : float64[n_slice, n, 7]   (table flavour)
    """

    lam: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    upper: LineIndex
    bound: npt.NDArray[np.float32]
    minimum: npt.NDArray[np.float32]
    lsf: LsfImage | LsfTable
    first_row: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    parameters: npt.NDArray[np.float64]


def line_model(lines: SkyLines, lsf: LsfImage | LsfTable, windows: LineWindows) -> LineModel:
    """Prepare lines and profiles for `subtract_lines`; ``windows`` was made with the same lines."""
    order = np.argsort(lines.lam, kind="stable")
    lam = np.ascontiguousarray(lines.lam[order])
    flux = np.ascontiguousarray(lines.flux[order])
    n = lam.size
    first_row, weight = np.zeros(n, dtype=np.int32), np.zeros(n)
    scale, shift = np.zeros((1, n)), np.zeros((1, n))
    parameters = np.zeros((1, n, 7))
    if isinstance(lsf, LsfImage):
        scale, shift = (np.zeros((lsf.total.shape[0], n)) for _ in range(2))
        place_lines(lsf.total, lsf.moment, *lsf.grid(), lam, first_row, weight, scale, shift)
    else:
        parameters = lsf.parameters(lam)
    return LineModel(
        lam, flux, LineIndex.from_values(lam + windows.reach[1]), windows.bounds(), windows.minimum, lsf,
        first_row, weight, scale, shift, parameters,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def place_lines(total, moment, x_first, x_step, lam_first, lam_step, lam, first_row, weight, scale, shift):
    """Fill the place, factor and centre of every line in every image (see `lsf.place_line`)."""
    for i in range(total.shape[0]):
        for j in range(lam.size):
            k, f, c, m = place_line(total[i], moment[i], x_first, x_step, lam_first, lam_step, lam[j])
            first_row[j] = k
            weight[j] = f
            scale[i, j] = c
            shift[i, j] = m


def subtract_lines(
    lam: npt.NDArray[np.float32], data: npt.NDArray[np.float32], origin: npt.NDArray[np.int32], model: LineModel
) -> None:
    """Subtract all lines from the rows of a block, in place.  Rows of slices without profile stay as they are."""
    upper, lsf = model.upper, model.lsf
    common = (lam, data, origin, model.lam, model.flux, upper.value, upper.first, upper.start)
    if isinstance(lsf, LsfImage):
        x_first, x_step, _, _ = lsf.grid()
        margin = x_step + float(np.abs(model.shift).max(initial=0.0))
        subtract_image_lines(
            *common, model.bound, model.minimum, lsf.row, lsf.samples, x_first, x_step, margin, model.first_row,
            model.weight, model.scale, model.shift,
        )  # fmt: skip
    else:
        subtract_table_lines(*common, model.bound, model.minimum, lsf.row, lsf.reach[0], model.parameters)


@njit(cache=True, nogil=True)
def subtract_image_lines(
    lam, data, origin, line_lam, line_flux, limit, first, start, bound, minimum, row, samples, x_first, x_step, margin,
    first_row, weight, scale, shift,
):  # fmt: skip
    """Subtract lines with profiles from images.

    Parameters
    ----------
    lam, data : float32[n], origin : int32[n]; data is updated
    line_lam, line_flux : float64[n_line], by wavelength
    limit : float64[n_line]   upper window limits; first, start: their look-up
    bound : float32[1152, n_line], minimum : float32[1152]
    row : int32[1152]   image of each slice; samples : float32[n_image, n_lambda, n_offset + 2]
    margin : how far below the window the lowest row of the window can still get flux
    first_row : int32[n_line], weight : float64[n_line], scale, shift : float64[n_image, n_line]
    """
    n_line = line_lam.size
    for i in range(lam.size):
        key = slice_of(origin[i])
        if key < 0 or row[key] < 0:
            continue
        image = row[key]
        x = np.float64(lam[i])
        j = index_at_or_above(x, limit, first, start)
        if lam[i] == minimum[key]:  # the first row of a slice is hit by all lines below it
            while j > 0 and x - limit[j - 1] < margin:
                j -= 1
        total = 0.0
        while j < n_line:
            offset = x - line_lam[j]
            if offset < x_first and (offset < x_first - margin or bound[key, j] > lam[i]):
                break
            value = sample(samples[image], first_row[j], weight[j], offset + shift[image, j], x_first, x_step)
            total += line_flux[j] * (scale[image, j] * value)
            j += 1
        data[i] = np.float32(np.float64(data[i]) - total)


@njit(cache=True, nogil=True)
def subtract_table_lines(
    lam, data, origin, line_lam, line_flux, limit, first, start, bound, minimum, row, x_first, parameters
):
    """Subtract lines with Gauss-Hermite profiles; arguments as in `subtract_image_lines`.

    Parameters
    ----------
    parameters : float64[n_table_row, n_line, 7]
    """
    n_line = line_lam.size
    for i in range(lam.size):
        key = slice_of(origin[i])
        if key < 0 or row[key] < 0:
            continue
        image = row[key]
        x = np.float64(lam[i])
        j = index_at_or_above(x, limit, first, start)
        if lam[i] == minimum[key]:
            j = 0
        total = 0.0
        while j < n_line:
            offset = x - line_lam[j]
            if offset < x_first and bound[key, j] > lam[i]:
                break
            p = parameters[image, j]
            total += line_flux[j] * hermite_profile(offset, p[0], p[1], p[2], p[3], p[4], p[5], p[6])
            j += 1
        data[i] = np.float32(np.float64(data[i]) - total)

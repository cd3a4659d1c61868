# SPDX-License-Identifier: BSD-3-Clause
"""Subtraction of sky lines from pixel-table rows with the line-spread function of their slice.

In the C pipeline the rows of a slice are sorted by wavelength, and a line at ``l`` acts on the rows from
number ``lo`` to number ``hi`` (included), the last rows with a wavelength <= ``l + x_first`` and <= ``l +
x_last``, or row 0 if there is none; x_first and x_last are the offsets of the first and last LSF sample.
Nothing happens if ``lo`` and ``hi`` are the same row.  All this, and that of several rows of the same
wavelength at ``lo`` only the last one is hit, was measured against 2.8.7.

Whether a row is hit thus depends on other rows of its slice.  `LineWindows` collects what matters, in one
pass over wavelengths and origins: for each slice and line the largest wavelength at or below the lower
limit, and the row that has it.  After that every row can be treated alone::

    windows = LineWindows(lines.lam, lsf.reach)     # ``add`` may be called from several threads
    for block in blocks:                            # only rows inside the range of the continuum
        windows.add(block.lam, block.origin, block.row)
    model = line_model(lines, lsf, windows)
    for block in blocks:
        subtract_curve(block.lam, block.data, continuum)
        subtract_lines(block.lam, block.data, block.origin, block.row, model)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from muse_core.data.per_thread import PerThread
from muse_core.postproc.lsf import N_IFU, N_SLICE, LsfImage, place_line, sample
from muse_core.postproc.lsf_profile import fill_profiles
from muse_core.postproc.lsf_table import LsfTable
from muse_core.postproc.sky_lines import SkyLines

N_KEY = N_IFU * N_SLICE
CELL = 0.5  # Angstrom; look-up cells of the sorted line list
GROUP_ROWS = 32
SLICE_BITS = 0x7FF  # of the origin: IFU and slice
TABLE_MARGIN = 8.0  # Angstrom below the window, where a Gauss-Hermite profile has vanished


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


class _Bounds:
    """What one thread knows of the rows between the lower limits of the lines; see `collect_bounds`."""

    def __init__(self, n: int) -> None:
        self.high = np.full((N_KEY, n + 1), -np.inf, dtype=np.float32)
        self.low = np.full((N_KEY, n + 1), np.inf, dtype=np.float32)
        self.place = np.full((N_KEY, n + 1), -1, dtype=np.int64)
        self.lowest = np.full((N_KEY, 2), np.inf, dtype=np.float32)
        self.rows = np.zeros(N_KEY, dtype=np.int64)

    def merge(self, other: _Bounds) -> None:
        """Take over what another thread has seen."""
        last = np.maximum(self.place, other.place)
        chosen = np.where(self.high > other.high, self.place, other.place)
        self.place = np.where(self.high == other.high, last, chosen)
        np.maximum(self.high, other.high, out=self.high)
        np.minimum(self.low, other.low, out=self.low)
        self.lowest = np.sort(np.hstack([self.lowest, other.lowest]), axis=1)[:, :2]
        self.rows += other.rows


class LineWindows:
    """Collects, for each slice, the rows at the lower window limits of the lines.

    Parameters
    ----------
    lam_lines : float64[n]   wavelengths of the lines, in any order
    reach : offsets of the first and last sample of the profile
    """

    def __init__(self, lam_lines: npt.NDArray[np.float64], reach: tuple[float, float]) -> None:
        self._lam = np.sort(lam_lines)
        self.reach = reach
        self.lower = LineIndex.from_values(self._lam + reach[0])
        self._bounds = PerThread(lambda: _Bounds(self._lam.size))

    def add(
        self, lam: npt.NDArray[np.float32], origin: npt.NDArray[np.int32], row: npt.NDArray[np.int64]
    ) -> None:
        """Add the rows of a block; they must be the rows that are left after all cuts.

        Parameters
        ----------
        row : int64[n]   numbers of the rows in the exposure
        """
        lower, mine = self.lower, self._bounds.mine()
        collect_bounds(
            lam, origin, row, lower.value, lower.first, lower.start, mine.high, mine.low, mine.place,
            mine.lowest, mine.rows,
        )  # fmt: skip

    def _collected(self) -> _Bounds:
        return self._bounds.joined(_Bounds.merge)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Number of rows of each slice."""
        return self._collected().rows

    @property
    def lowest_row(self) -> npt.NDArray[np.float32]:
        """Smallest wavelength of each slice."""
        return self._collected().lowest[:, 0]

    def bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return where each line begins to act in each slice.

        Returns
        -------
        bound : float32[1152, n]   wavelength of the lowest row that is hit; infinity if none is
        place : int64[1152, n]   number of the only row with that wavelength that is hit; -1: all
        """
        n, seen = self._lam.size, self._collected()
        bound, place = seen.high[:, :n].copy(), seen.place[:, :n].copy()
        for j in range(1, n):
            take = ~(bound[:, j] > bound[:, j - 1])  # nothing between the two limits
            bound[take, j] = bound[take, j - 1]
            place[take, j] = place[take, j - 1]
        next_row = np.minimum.accumulate(seen.low[:, ::-1], axis=1)[:, ::-1][:, 1:]
        upper = self._lam + self.reach[1]
        below_slice = bound == -np.inf
        bound = np.where(below_slice, seen.lowest[:, :1], bound)
        hit = np.where(below_slice, seen.lowest[:, 1:].astype(np.float64) <= upper, next_row <= upper)
        return np.where(hit, bound, np.float32(np.inf)), np.where(below_slice, -1, place)


@njit(cache=True, nogil=True)
def collect_bounds(lam, origin, row, limit, first, start, high, low, place, lowest, rows):
    """Update what is known about the rows between the lower limits of the lines.

    Parameters
    ----------
    lam : float32[n], origin : int32[n], row : int64[n]
    limit : float64[n_line], increasing
    high, low : float32[1152, n_line + 1]   largest and smallest wavelength in each interval between two
        limits
    place : int64[1152, n_line + 1]   the last row with the largest wavelength
    lowest : float32[1152, 2]   wavelengths of the two lowest rows
    rows : int64[1152]
    """
    for i in range(lam.size):
        key = slice_of(origin[i])
        if key < 0:
            continue
        x = lam[i]
        rows[key] += 1
        if x < lowest[key, 0]:
            lowest[key, 1] = lowest[key, 0]
            lowest[key, 0] = x
        elif x < lowest[key, 1]:
            lowest[key, 1] = x
        j = index_at_or_above(np.float64(x), limit, first, start)
        if x > high[key, j]:
            high[key, j] = x
            place[key, j] = row[i]
        elif x == high[key, j]:
            place[key, j] = max(place[key, j], row[i])
        if x < low[key, j]:
            low[key, j] = x


@njit(cache=True, nogil=True, inline="always")
def slice_of(origin):
    """Return the index of the slice of a row (0 .. 1151), -1 if the origin is not valid."""
    ifu = (origin >> 6) & 0x1F
    number = origin & 0x3F
    if 1 <= ifu <= N_IFU and 1 <= number <= N_SLICE:
        return (ifu - 1) * N_SLICE + number - 1
    return -1


@dataclass(frozen=True)
class LineModel:
    """All that is needed to subtract lines from a row; lines are sorted by wavelength.

    Parameters
    ----------
    lam, flux : float64[n]
    upper : look-up of the upper window limits
    bound, place, lowest : where each line begins to act in each slice (`LineWindows.bounds`), and the lowest
        wavelength of each slice
    lsf : the profiles
    first_row, weight : int32[n] and float64[n]; image row of each line, weight of the next row (image
        flavour)
    scale, shift : float64[n_slice, n]   factor and centre of each profile (image flavour)
    terms : float64[n_slice, n, 9]   each profile, see `lsf_profile.profile_terms` (table flavour)
    """

    lam: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    upper: LineIndex
    bound: npt.NDArray[np.float32]
    place: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.float32]
    lsf: LsfImage | LsfTable
    first_row: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    terms: npt.NDArray[np.float64]


def line_model(lines: SkyLines, lsf: LsfImage | LsfTable, windows: LineWindows) -> LineModel:
    """Prepare lines and profiles for `subtract_lines`; ``windows`` was made with the same lines."""
    order = np.argsort(lines.lam, kind="stable")
    lam = np.ascontiguousarray(lines.lam[order])
    flux = np.ascontiguousarray(lines.flux[order])
    n = lam.size
    first_row, weight = np.zeros(n, dtype=np.int32), np.zeros(n)
    scale, shift = np.zeros((1, n)), np.zeros((1, n))
    terms = np.zeros((1, n, 9))
    if isinstance(lsf, LsfImage):
        scale, shift = (np.zeros((lsf.total.shape[0], n)) for _ in range(2))
        place_lines(lsf.total, lsf.moment, *lsf.grid(), lam, first_row, weight, scale, shift)
    else:
        terms = lsf.terms(lam)
    return LineModel(
        lam, flux, LineIndex.from_values(lam + windows.reach[1]), *windows.bounds(),
        np.ascontiguousarray(windows.lowest_row), lsf,
        first_row, weight, scale, shift, terms,
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
    lam: npt.NDArray[np.float32],
    data: npt.NDArray[np.float32],
    origin: npt.NDArray[np.int32],
    row: npt.NDArray[np.int64],
    model: LineModel,
) -> None:
    """Subtract all lines from the rows of a block, in place; slices without profile stay as they are."""
    upper, lsf = model.upper, model.lsf
    common = (
        lam, data, origin, row, model.lam, model.flux, upper.value, upper.first, upper.start, model.bound,
        model.place, model.lowest, lsf.row,
    )  # fmt: skip
    if isinstance(lsf, LsfImage):
        x_first, x_step, _, _ = lsf.grid()
        margin = x_step + float(np.abs(model.shift).max(initial=0.0))
        subtract_image_lines(
            *common, lsf.samples, x_first, x_step, margin, model.first_row,
            model.weight, model.scale, model.shift,
        )  # fmt: skip
    else:
        subtract_table_lines(*common, lsf.reach[0], model.terms)


@njit(cache=True, nogil=True, inline="always")
def is_hit(lam, row, offset, x_first, bound, place, lowest):
    """Say whether a row not above the window of a line belongs to it."""
    if offset > x_first and lam != lowest:
        return True
    return lam > bound or (lam == bound and (place < 0 or row == place))


@njit(cache=True, nogil=True)
def subtract_image_lines(
    lam, data, origin, row, line_lam, line_flux, limit, first, start, bound, place, lowest, image_of_slice,
    samples, x_first, x_step, margin, first_row, weight, scale, shift,
):  # fmt: skip
    """Subtract lines with profiles from images.

    Parameters
    ----------
    lam, data : float32[n], origin : int32[n], row : int64[n]; data is updated
    line_lam, line_flux : float64[n_line], by wavelength
    limit : float64[n_line]   upper window limits; first, start: their look-up
    bound : float32[1152, n_line], place : int64[1152, n_line], lowest : float32[1152]   see `LineModel`
    image_of_slice : int32[1152]; samples : float32[n_image, n_lambda, n_offset + 2]
    margin : how far below the window the lowest row of the window can still get flux
    first_row : int32[n_line], weight : float64[n_line], scale, shift : float64[n_image, n_line]
    """
    n_line = line_lam.size
    for i in range(lam.size):
        key = slice_of(origin[i])
        if key < 0 or image_of_slice[key] < 0:
            continue
        image = image_of_slice[key]
        x = np.float64(lam[i])
        total = 0.0
        for j in range(index_at_or_above(x, limit, first, start), n_line):
            offset = x - line_lam[j]
            if offset < x_first - margin:
                break
            if is_hit(lam[i], row[i], offset, x_first, bound[key, j], place[key, j], lowest[key]):
                value = sample(
                    samples[image], first_row[j], weight[j], offset + shift[image, j], x_first, x_step
                )
                total += line_flux[j] * (scale[image, j] * value)
        data[i] = np.float32(np.float64(data[i]) - total)


@njit(cache=True, nogil=True, error_model="numpy")
def subtract_table_lines(
    lam, data, origin, row, line_lam, line_flux, limit, first, start, bound, place, lowest, terms_of_slice,
    x_first, terms,
):  # fmt: skip
    """Subtract lines with Gauss-Hermite profiles; arguments as in `subtract_image_lines`.

    Neighbouring rows of a slice, which differ little in wavelength, are treated together.

    Parameters
    ----------
    terms_of_slice : int32[1152]; terms : float64[n_table_row, n_line, 9]   see `lsf_profile.profile_terms`
    """
    n = lam.size
    # not parts of one array: these might overlap for all the compiler knows, and it would take single rows
    x, total = np.empty(GROUP_ROWS), np.empty(GROUP_ROWS)
    offset, factor, value = np.empty(GROUP_ROWS), np.empty(GROUP_ROWS), np.empty(GROUP_ROWS)
    end = 0
    while end < n:
        begin = end
        key = slice_of(origin[begin])
        x_low = x_high = lam[begin]
        while end < n and end - begin < GROUP_ROWS and (origin[end] ^ origin[begin]) & SLICE_BITS == 0:
            x_low, x_high = min(x_low, lam[end]), max(x_high, lam[end])
            x[end - begin] = lam[end]
            total[end - begin] = 0.0
            end += 1
        if key < 0 or terms_of_slice[key] < 0:
            continue
        profile = terms_of_slice[key]
        m = end - begin
        for j in range(index_at_or_above(np.float64(x_low), limit, first, start), line_lam.size):
            flux, centre = line_flux[j], line_lam[j]
            if x_high - centre < x_first - TABLE_MARGIN:
                break
            if x_high - centre <= x_first and x_high < bound[key, j]:
                continue
            all_hit = x_low - centre > x_first and x_high <= limit[j] and x_low > lowest[key]
            for k in range(m):
                offset[k] = x[k] - centre
                factor[k] = flux
            if not all_hit:
                for k in range(m):
                    i = begin + k
                    near = x[k] <= limit[j] and offset[k] >= x_first - TABLE_MARGIN
                    if not near or not is_hit(
                        lam[i], row[i], offset[k], x_first, bound[key, j], place[key, j], lowest[key]
                    ):
                        factor[k] = 0.0
            fill_profiles(offset, m, terms[profile, j], value)
            for k in range(m):
                total[k] += factor[k] * value[k]
        for k in range(m):
            data[begin + k] = np.float32(np.float64(data[begin + k]) - total[k])

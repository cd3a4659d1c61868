# SPDX-License-Identifier: BSD-3-Clause
"""Subtraction of sky lines from pixel-table rows with the line-spread function of their slice.

Which rows a line acts on depends on other rows of their slice (see `line_windows`); these are looked at
first, and after that every row can be treated alone::

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

from muse_core.postproc.lsf.gauss_hermite import fill_profiles
from muse_core.postproc.lsf.images import LsfImage, place_lines, sample, slice_key_of
from muse_core.postproc.lsf.tables import LsfTable
from muse_core.postproc.sky.line_list import SkyLines
from muse_core.postproc.sky.line_windows import LineIndex, LineWindows, index_at_or_above

GROUP_ROWS = 32
SLICE_BITS = 0x7FF  # of the origin: IFU and slice
TABLE_MARGIN = 8.0  # Angstrom below the window, where a Gauss-Hermite profile has vanished


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
    terms : float64[n_slice, n, 9]   each profile, see `gauss_hermite.profile_terms` (table flavour)
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
        key = slice_key_of(origin[i])
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
    terms_of_slice : int32[1152]; terms : float64[n_table_row, n_line, 9]   see `gauss_hermite.profile_terms`
    """
    n = lam.size
    # not parts of one array: these might overlap for all the compiler knows, and it would take single rows
    x, total = np.empty(GROUP_ROWS), np.empty(GROUP_ROWS)
    offset, factor, value = np.empty(GROUP_ROWS), np.empty(GROUP_ROWS), np.empty(GROUP_ROWS)
    end = 0
    while end < n:
        begin = end
        key = slice_key_of(origin[begin])
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

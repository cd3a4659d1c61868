# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of sky lines: spectra of lines, windows in the rows of a slice, subtraction from rows."""

from __future__ import annotations

import numpy as np

from muse_core.data.kernels import last_not_above
from muse_core.data.slices import slice_key_of
from muse_core.framework.kernels import njit
from muse_core.postproc.lsf.gauss_hermite import fill_profiles
from muse_core.postproc.lsf.profile_kernels import hermite_profile, place_line, sample

CELL = 0.5  # Angstrom; look-up cells of a sorted line list
GROUP_ROWS = 32
SLICE_BITS = 0x7FF  # of the origin: IFU and slice
TABLE_MARGIN = 8.0  # Angstrom below the window, where a Gauss-Hermite profile has vanished


@njit(cache=True, nogil=True)
def add_image_lines(
    lam, line_lam, flux, image, total, moment, x_first, x_step, lam_first, lam_step, faint, out
):
    """Add lines to the bins of a spectrum.

    Parameters
    ----------
    lam, out : float64[n_bin]   out is updated
    line_lam, flux : float64[n_line]
    image : float64[n_lambda, n_offset + 2]; total, moment : float64[n_lambda]
    """
    x_last = x_first + (image.shape[1] - 3) * x_step
    limit = 0.0
    for i in range(flux.size):
        limit = max(limit, flux[i])
    limit *= faint
    for i in range(flux.size):
        if flux[i] < limit:
            continue
        k, f, scale, shift = place_line(total, moment, x_first, x_step, lam_first, lam_step, line_lam[i])
        low = last_not_above(lam, line_lam[i] + x_first, 0, lam.size)
        high = last_not_above(lam, line_lam[i] + x_last, 0, lam.size)
        for j in range(low, high + 1):
            out[j] += flux[i] * scale * sample(image, k, f, lam[j] - line_lam[i] + shift, x_first, x_step)


@njit(cache=True, nogil=True)
def add_hermite_lines(lam, line_lam, flux, parameters, reach, faint, out):
    """Add lines with Gauss-Hermite profiles.

    Parameters
    ----------
    parameters : float64[n_line, 7]   see `lsf_table.hermite_profile`
    """
    limit = 0.0
    for i in range(flux.size):
        limit = max(limit, flux[i])
    limit *= faint
    for i in range(flux.size):
        if flux[i] < limit:
            continue
        p = parameters[i]
        low = last_not_above(lam, line_lam[i] - reach, 0, lam.size)
        high = last_not_above(lam, line_lam[i] + reach, 0, lam.size)
        for j in range(low, high + 1):
            out[j] += flux[i] * hermite_profile(
                lam[j] - line_lam[i], p[0], p[1], p[2], p[3], p[4], p[5], p[6]
            )


@njit(cache=True, nogil=True)
def difference_residuals(model, seen, sigma):
    """Return ``(model[k + 1] - model[k] - seen[k]) / sigma[k]``; float64[n_bin], twice float64[n_bin - 1]."""
    out = np.empty(seen.size)
    for k in range(seen.size):
        out[k] = ((model[k + 1] - model[k]) - seen[k]) / sigma[k]
    return out


@njit(cache=True, nogil=True, inline="always")
def index_at_or_above(x, value, first, start):
    """Return the index of the first value >= x (the number of values if there is none)."""
    # a number too large for an integer, and what is no number, must not become an index
    cell = int(min((x - start) * (1.0 / CELL), first.size - 1.0)) if x > start else 0
    j = first[cell]
    while j < value.size and value[j] < x:
        j += 1
    while j > 0 and value[j - 1] >= x:
        j -= 1
    return j


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
        key = slice_key_of(origin[i])
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

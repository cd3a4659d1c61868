# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of the Raman correction: line shapes, sums of products, subtraction."""

from __future__ import annotations

import numpy as np

from muse_core.data.exact_sums import split
from muse_core.data.slices import slice_key_of
from muse_core.framework.kernels import njit
from muse_core.postproc.lsf.profile_kernels import hermite_profile, sample

N_TERM = 7
"""Terms of the model of a band: M * (x^2, xy, y^2, x, y, 1) and a constant."""
POSITION_SCALE = 128.0
"""Positions are divided by this before they enter the sums."""
COARSE, FINE = 2.0**-4, 2.0**-34


@njit(cache=True, nogil=True)
def image_shape_rows(
    lam, origin, line_lam, line_flux, line_group, row, samples, x_first, x_step, reach, first_row, weight,
    scale, shift, out,
):  # fmt: skip
    """Add the line shapes of profiles given as images.

    Parameters
    ----------
    lam : float32[n], origin : int32[n]
    line_lam, line_flux : float64[m], line_group : int64[m]   lines by wavelength
    row : int32[1152], samples : float[n_image, n_lambda, n_offset + 2]   see `lsf.LsfImage`
    x_first, x_step : grid of the offsets; reach : largest offset with a profile
    first_row : int32[m], weight : float64[m]   see `place_lines`
    scale, shift : float64[n_image, m]
    out : float64[2, n]   updated
    """
    for i in range(lam.size):
        key = slice_key_of(origin[i])
        if key < 0 or row[key] < 0:
            continue
        image = row[key]
        x = np.float64(lam[i])
        for j in range(line_lam.size):
            offset = x - line_lam[j]
            if offset > reach:
                continue
            if offset < -reach:
                break
            value = sample(samples[image], first_row[j], weight[j], offset + shift[image, j], x_first, x_step)
            out[line_group[j], i] += line_flux[j] * scale[image, j] * value


@njit(cache=True, nogil=True)
def table_shape_rows(lam, origin, line_lam, line_flux, line_group, row, reach, parameters, out):
    """Add the line shapes of Gauss-Hermite profiles; parameters float64[n, m, 7] of `LsfTable.parameters`."""
    for i in range(lam.size):
        key = slice_key_of(origin[i])
        if key < 0 or row[key] < 0:
            continue
        x = np.float64(lam[i])
        for j in range(line_lam.size):
            offset = x - line_lam[j]
            if offset > reach:
                continue
            if offset < -reach:
                break
            p = parameters[row[key], j]
            value = hermite_profile(offset, p[0], p[1], p[2], p[3], p[4], p[5], p[6])
            out[line_group[j], i] += line_flux[j] * value


@njit(cache=True, nogil=True)
def sum_rows(xpos, ypos, data, shape, coarse, fine):
    """Add the products of all terms, and of the terms with the data; return the number of finite rows.

    Parameters
    ----------
    xpos, ypos, data : float32[n], shape : float64[n]
    coarse, fine : float64[8, 8]
        Updated; multiples of 2^-4 and of 2^-34, whose sums are exact.
        The last column belongs to the data.
    """
    term = np.empty(N_TERM + 1)
    n = 0
    for i in range(data.size):
        value = np.float64(data[i])
        x, y = float(xpos[i]) / POSITION_SCALE, float(ypos[i]) / POSITION_SCALE
        if not (np.isfinite(value) and np.isfinite(x) and np.isfinite(y)):
            continue
        n += 1
        m = shape[i]
        term[0] = m * x * x
        term[1] = m * x * y
        term[2] = m * y * y
        term[3] = m * x
        term[4] = m * y
        term[5] = m
        term[6] = 1.0
        term[7] = value
        for a in range(N_TERM + 1):
            for b in range(N_TERM + 1):
                high, low = split(term[a] * term[b], COARSE, FINE)
                coarse[a, b] += high
                fine[a, b] += low
    return n


@njit(cache=True, nogil=True)
def polynomial_rows(xpos, ypos, data, rows, strength, spatial):
    """Subtract strength * P(x, y) from some rows.

    Parameters
    ----------
    xpos, ypos, data : float32[n]   data is updated
    rows : int64[m], strength : float64[m]   which rows, and f_0 M_0 + f_1 M_1 there
    spatial : float64[5]   coefficients of x^2, xy, y^2, x, y
    """
    for k in range(rows.size):
        i = rows[k]
        x, y = np.float64(xpos[i]), np.float64(ypos[i])
        p = (
            spatial[0] * x * x
            + spatial[1] * x * y
            + spatial[2] * y * y
            + spatial[3] * x
            + spatial[4] * y
            + 1.0
        )
        data[i] = float(data[i]) - p * strength[k]

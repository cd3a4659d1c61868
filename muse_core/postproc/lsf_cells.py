# SPDX-License-Identifier: BSD-3-Clause
"""Gauss-Hermite profiles from a table: for the many rows of an exposure.

An error function and an exponential at four points of each line of each row would be most of the time of a
sky subtraction. The function F of `lsf_table` is made of two functions of u = t / sigma that are the same for
all slices; their Taylor polynomials in cells of 1/64 give a profile to 1e-13 in a sixth of the time. (The
line fit does not use this: its path among neighbouring minima follows the last bits.)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

HERMITE_NORM = tuple(1.0 / math.sqrt(2.0**k * math.factorial(k)) for k in (3, 4, 5, 6))
NORM_3, NORM_4, NORM_5, NORM_6 = HERMITE_NORM
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
CELLS_PER_UNIT = 64
CELLS_REACH = 8  # beyond, the two functions of the table are |u| / 2 and 0 to 1e-16
N_POWERS = 5


def _taylor_cells() -> npt.NDArray[np.float64]:
    """Return Taylor coefficients of the two functions behind F, in cells of 1/64 in u.

    Returns
    -------
    float64[512, 10] : coefficients of r^0, r^1, .. (r is the distance from the centre in cells), in turn of
        ``u/2 erf(u / sqrt 2) + exp(-u^2 / 2) / sqrt(2 pi)`` and of ``exp(-u^2) / sqrt(2 pi)``
    """
    cells = np.zeros((CELLS_PER_UNIT * CELLS_REACH, N_POWERS, 2))
    for i, cell in enumerate(cells):
        u = (i + 0.5) / CELLS_PER_UNIT
        phi = math.exp(-0.5 * u * u) * INV_SQRT_2PI
        bell = math.exp(-u * u) * INV_SQRT_2PI
        erf = math.erf(u * math.sqrt(0.5))
        # derivatives of the Gaussians are Hermite polynomials times the Gaussian
        cell[:, 0] = 0.5 * u * erf + phi, 0.5 * erf, phi, -u * phi, (u * u - 1.0) * phi
        hermite = 1.0, -2 * u, 4 * u**2 - 2, (12 - 8 * u**2) * u, 16 * u**4 - 48 * u**2 + 12
        cell[:, 1] = np.array(hermite) * bell
        cell /= [[math.factorial(k) * CELLS_PER_UNIT**k] for k in range(N_POWERS)]
    return cells.reshape(-1, 2 * N_POWERS)


CELLS = _taylor_cells()


def profile_terms(parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the nine numbers that `profile_at` takes.

    They are the two half distances of the points at which F is needed, 1 / sigma, the coefficients of the
    powers of u in the Hermite terms (0, 2, 4, then 1, 3), and the factor of the second difference.

    Parameters
    ----------
    parameters : float64[..., 7]
        half slit, half bin, sigma, h3, h4, h5, h6
    """
    half_slit, half_bin, sigma, h3, h4, h5, h6 = np.moveaxis(parameters, -1, 0)
    terms = (
        half_slit + half_bin,
        half_slit - half_bin,
        1.0 / sigma,
        12.0 * NORM_6 * h6 - 2.0 * NORM_4 * h4,
        4.0 * NORM_4 * h4 - 48.0 * NORM_6 * h6,
        16.0 * NORM_6 * h6,
        2.0 * NORM_3 * h3 - 12.0 * NORM_5 * h5,
        8.0 * NORM_5 * h5,
        sigma / (4.0 * half_slit * half_bin),
    )
    return np.stack(terms, axis=-1)


@njit(cache=True, nogil=True, inline="always")
def integral_at(t, per_sigma, even_0, even_2, even_4, odd_1, odd_3):
    """Return F(t) / sigma of `lsf_table`; the Hermite terms come as coefficients of the powers of u."""
    u = t * per_sigma
    size = abs(u)
    if not size < CELLS_REACH:  # NaN as well
        return 0.5 * size
    place = size * CELLS_PER_UNIT
    cell = int(place)
    r = place - (cell + 0.5)
    c = CELLS[cell]
    gauss = (((c[8] * r + c[6]) * r + c[4]) * r + c[2]) * r + c[0]
    bell = (((c[9] * r + c[7]) * r + c[5]) * r + c[3]) * r + c[1]
    u2 = u * u
    return gauss + bell * (((even_4 * u2 + even_2) * u2 + even_0) + u * (odd_3 * u2 + odd_1))


@njit(cache=True, nogil=True, inline="always")
def profile_at(x, outer, inner, per_sigma, even_0, even_2, even_4, odd_1, odd_3, factor):
    """Return the profile at an offset from the line, per Angstrom."""
    value = integral_at(x + outer, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    value -= integral_at(x + inner, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    value -= integral_at(x - inner, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    value += integral_at(x - outer, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    return value * factor

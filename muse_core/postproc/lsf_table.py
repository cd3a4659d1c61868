# SPDX-License-Identifier: BSD-3-Clause
"""Line-spread functions given as parameters: a Gauss-Hermite shape folded with slit and pixel.

With ``u = t / sigma`` the double integral of the shape is::

    F(t) = sigma * [ u/2 erf(u / sqrt 2)
                     + (exp(-u^2 / 2) + sum_k h_k H_(k-2)(u) exp(-u^2) / sqrt(2^k k!)) / sqrt(2 pi) ],   k =
                     3..6

with the physicists' Hermite polynomials H, and the profile is its second difference over slit and pixel
width::

    P(x) = [F(x + s + b) - F(x + s - b) - F(x - s + b) + F(x - s - b)] / (4 s b),   s, b = half widths

``exp(-u^2)`` in the Hermite terms is what the C pipeline 2.8.7 does (measured to 2e-15).  The width
``sigma`` and the coefficients ``h_k`` are polynomials of the line wavelength minus 7000 Angstrom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

N_IFU = 24
N_SLICE = 48
LAM_REFERENCE = 7000.0
TABLE_REACH = 7.0  # Angstrom
HERMITE_NORM = tuple(1.0 / math.sqrt(2.0**k * math.factorial(k)) for k in (3, 4, 5, 6))
NORM_3, NORM_4, NORM_5, NORM_6 = HERMITE_NORM
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
CELLS_PER_UNIT = 16
CELLS_REACH = 8  # beyond, the two functions of the table are |u| / 2 and 0 to 1e-16


def _taylor_cells() -> npt.NDArray[np.float64]:
    """Return Taylor coefficients of the two functions behind F, in cells of 1/16 in u.

    An error function and an exponential for every point of every line would be most of the time of a sky
    subtraction. With eight terms the error of F is below 2e-15.

    Returns
    -------
    float64[128, 16] : ``u/2 erf(u / sqrt 2) + exp(-u^2 / 2) / sqrt(2 pi)``, then ``exp(-u^2) / sqrt(2 pi)``,
        eight coefficients each, in units of the cell from its centre
    """
    n = CELLS_PER_UNIT * CELLS_REACH
    cells = np.zeros((n, 16))
    for i in range(n):
        u = (i + 0.5) / CELLS_PER_UNIT
        phi = math.exp(-0.5 * u * u) * INV_SQRT_2PI
        erf = math.erf(u * math.sqrt(0.5))
        # derivatives of a Gaussian are Hermite polynomials times the Gaussian
        normal, physics = [1.0, u], [1.0, 2.0 * u]
        for k in range(1, 7):
            normal.append(u * normal[-1] - k * normal[-2])
            physics.append(2.0 * u * physics[-1] - 2.0 * k * physics[-2])
        gauss = [0.5 * u * erf + phi, 0.5 * erf, *((-1) ** k * normal[k] * phi for k in range(6))]
        bell = [(-1) ** k * physics[k] * math.exp(-u * u) * INV_SQRT_2PI for k in range(8)]
        scale = [1.0 / (math.factorial(k) * CELLS_PER_UNIT**k) for k in range(8)]
        cells[i] = [value * scale[k % 8] for k, value in enumerate([*gauss, *bell])]
    return cells


CELLS = _taylor_cells()


@dataclass(frozen=True)
class LsfTable:
    """Profile parameters of the slices.

    Parameters
    ----------
    row : int32[1152]   which parameters belong to a slice; -1: none
    slit_width, bin_width : float64[n]   Angstrom
    lsf_width : float64[n, m]   polynomial coefficients of sigma
    hermit : four float64[n, m_k]   polynomial coefficients of h_3 .. h_6
    """

    row: npt.NDArray[np.int32]
    slit_width: npt.NDArray[np.float64]
    bin_width: npt.NDArray[np.float64]
    lsf_width: npt.NDArray[np.float64]
    hermit: tuple[npt.NDArray[np.float64], ...]

    @property
    def reach(self) -> tuple[float, float]:
        """Window of a line."""
        return -TABLE_REACH, TABLE_REACH

    @property
    def ifus(self) -> tuple[int, ...]:
        """IFUs that have profiles."""
        return tuple(i + 1 for i in range(N_IFU) if (self.row[i * N_SLICE : (i + 1) * N_SLICE] >= 0).any())

    def parameters(self, lam: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the profile parameters at line wavelengths.

        Returns
        -------
        float64[n_slice, n_line, 7] : half slit, half bin, sigma, h3, h4, h5, h6
        """
        d = np.atleast_1d(np.asarray(lam, dtype=np.float64)) - LAM_REFERENCE
        n = self.slit_width.size
        out = np.empty((n, d.size, 7))
        out[:, :, 0] = self.slit_width[:, np.newaxis] / 2
        out[:, :, 1] = self.bin_width[:, np.newaxis] / 2
        for q, coefficients in enumerate((self.lsf_width, *self.hermit)):
            out[:, :, 2 + q] = np.polynomial.polynomial.polyval(d, coefficients.T, tensor=True)
        return out

    def terms(self, lam: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return what `profile_at` takes at line wavelengths, float64[n_slice, n_line, 9]."""
        parameters = self.parameters(lam)
        return np.stack(profile_terms.py_func(*np.moveaxis(parameters, -1, 0)), axis=-1)

    def profile(self, key: int, lam_line: float, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the profile of a slice at the offsets ``x`` from a line, per Angstrom."""
        x = np.atleast_1d(np.asarray(x, dtype=np.float64))
        if self.row[key] < 0:
            return np.zeros(x.size)
        parameters = self.parameters([lam_line])[self.row[key], 0]
        return np.array([hermite_profile(offset, *parameters) for offset in x])


@njit(cache=True, nogil=True, inline="always")
def double_integral(t, per_sigma, even_0, even_2, even_4, odd_1, odd_3):
    """Return F(t) / sigma, see the head of the module, from the table of its two functions.

    The Hermite terms come as coefficients of the powers of u.
    """
    u = t * per_sigma
    size = abs(u)
    if not size < CELLS_REACH:  # NaN as well
        return 0.5 * size
    place = size * CELLS_PER_UNIT
    cell = int(place)
    r = place - (cell + 0.5)
    c = CELLS[cell]
    gauss = ((((((c[7] * r + c[6]) * r + c[5]) * r + c[4]) * r + c[3]) * r + c[2]) * r + c[1]) * r + c[0]
    bell = c[14] + r * c[15]
    bell = ((((((bell * r + c[13]) * r + c[12]) * r + c[11]) * r + c[10]) * r + c[9]) * r) + c[8]
    u2 = u * u
    return gauss + bell * (((even_4 * u2 + even_2) * u2 + even_0) + u * (odd_3 * u2 + odd_1))


@njit(cache=True, nogil=True, inline="always")
def profile_terms(half_slit, half_bin, sigma, h3, h4, h5, h6):
    """Return the nine numbers that `profile_at` takes, from the parameters of a profile.

    They are the two half distances of the points at which F is needed, 1 / sigma, the coefficients of the
    powers of u in the Hermite terms (0, 2, 4, then 1, 3), and the factor of the second difference.
    """
    return (
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


@njit(cache=True, nogil=True, inline="always")
def profile_at(x, outer, inner, per_sigma, even_0, even_2, even_4, odd_1, odd_3, factor):
    """Return the profile at an offset from the line, per Angstrom."""
    value = double_integral(x + outer, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    value -= double_integral(x + inner, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    value -= double_integral(x - inner, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    value += double_integral(x - outer, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    return value * factor


@njit(cache=True, nogil=True)
def hermite_profile(x, half_slit, half_bin, sigma, h3, h4, h5, h6):
    """Return the profile with the given parameters at an offset from the line, per Angstrom."""
    o, i, v, c0, c2, c4, c1, c3, f = profile_terms(half_slit, half_bin, sigma, h3, h4, h5, h6)
    return profile_at(x, o, i, v, c0, c2, c4, c1, c3, f)

# SPDX-License-Identifier: BSD-3-Clause
"""Gauss-Hermite profiles from a table: for the many rows of an exposure.

An error function and two exponentials at four points of each line of each row would be most of the time of a
sky subtraction. Here they are polynomials without branches, so that the compiler takes eight rows at a time.
(The line fit does not use this: its path among neighbouring minima follows the last bits.)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from muse_core.data.elementary_functions import exponential
from muse_core.framework.kernels import njit

HERMITE_NORM = tuple(1.0 / math.sqrt(2.0**k * math.factorial(k)) for k in (3, 4, 5, 6))
NORM_3, NORM_4, NORM_5, NORM_6 = HERMITE_NORM
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)

# u/2 erf(u / sqrt 2) + phi(u) = u/2 + phi(u) (1 - u M(u)) for u >= 0, with the normal density phi and Mills'
# ratio M; the bracket is a polynomial of (u - _MIDDLE) / (u + _MIDDLE), times phi good to 1.3e-15
_MIDDLE = 5.0
_TAIL = (
    0.035959476378804534,
    -0.13010722727894897,
    0.21315975281567434,
    -0.22781804922682172,
    0.18613336327971525,
    -0.1201915980767033,
    0.06058450132703713,
    -0.0222404857530362,
    0.004922789190948038,
    0.0006114858575327727,
    -0.0002466635811029478,
    0.00044819355251484214,
    0.00021786058413102215,
    2.876092067002129e-05,
)


def profile_terms(parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the nine numbers that `fill_profiles` takes.

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


@njit(inline="always", error_model="numpy")
def integral_at(t, per_sigma, even_0, even_2, even_4, odd_1, odd_3):
    """Return F(t) / sigma of `lsf_table`; the Hermite terms come as coefficients of the powers of u."""
    u = t * per_sigma
    u2 = u * u
    size = abs(u)
    z = (size - _MIDDLE) / (size + _MIDDLE)
    z2 = z * z
    z4 = z2 * z2
    low = (_TAIL[0] + z * _TAIL[1]) + z2 * (_TAIL[2] + z * _TAIL[3])
    middle = (_TAIL[4] + z * _TAIL[5]) + z2 * (_TAIL[6] + z * _TAIL[7])
    high = (_TAIL[8] + z * _TAIL[9]) + z2 * (_TAIL[10] + z * _TAIL[11])
    tail = low + z4 * (middle + z4 * (high + z4 * (_TAIL[12] + z * _TAIL[13])))
    bell = exponential(-0.5 * u2)
    hermite = ((even_4 * u2 + even_2) * u2 + even_0) + u * (odd_3 * u2 + odd_1)
    return 0.5 * size + (tail + hermite * bell) * (bell * INV_SQRT_2PI)


@njit(cache=True, nogil=True, error_model="numpy")
def fill_profiles(x, count, terms, value):
    """Compute the profile, per Angstrom, at some offsets from a line.

    Parameters
    ----------
    x, value : float64[n]
        offsets, and what is filled; the first `count` are used
    terms : float64[9]
        see `profile_terms`
    """
    outer, inner, per_sigma, factor = terms[0], terms[1], terms[2], terms[8]
    even_0, even_2, even_4, odd_1, odd_3 = terms[3], terms[4], terms[5], terms[6], terms[7]
    for k in range(count):
        value[k] = 0.0
    for at, sign in ((outer, 1.0), (inner, -1.0), (-inner, -1.0), (-outer, 1.0)):
        for k in range(count):
            value[k] += sign * integral_at(x[k] + at, per_sigma, even_0, even_2, even_4, odd_1, odd_3)
    for k in range(count):
        value[k] *= factor

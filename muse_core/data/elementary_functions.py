# SPDX-License-Identifier: BSD-3-Clause
# mypy: ignore-errors
"""Elementary functions without branches or calls, so that the compiler can treat several rows at a time.

All functions are good to about one unit in the last place of float64 in the range they are made for; outside
of it they return nonsense, so callers test the range and turn to `math` there. Every result depends on its
arguments only (no fused operations), whether the compiler takes one row at a time or eight.
"""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit

SMALL = 0.05
"""Largest argument (and result) of the `small_` functions [rad]."""
HALF_PI = math.pi / 2
HALF_PI_REST = 6.123233995736766e-17  # pi/2 = HALF_PI + HALF_PI_REST
_TAN_22 = math.tan(math.pi / 8)
_ROUND = 1.5 * 2.0**52  # adding and taking it away rounds to an integer

# atan(t) = t + t z (A[0] + A[1] z + ...), z = t**2, interpolated at Chebyshev nodes: 8e-18 for t <= tan(pi/8)
_A = (
    -0.3333333333333333,
    0.19999999999995516,
    -0.14285714284665682,
    0.11111111015187018,
    -0.09090904575306488,
    0.07692183125376885,
    -0.06664510525508843,
    0.058581409048656254,
    -0.050854078345862384,
    0.039230447784709195,
    -0.01917540471101196,
)


@njit(inline="always", error_model="numpy")
def small_sine(a):
    """Return sin(a) for abs(a) <= SMALL."""
    z = a * a
    return a + a * z * (-1 / 6 + z * (1 / 120 + z * (-1 / 5040 + z * (1 / 362880))))


@njit(inline="always", error_model="numpy")
def small_cosine(a):
    """Return cos(a) for abs(a) <= SMALL."""
    z = a * a
    return 1.0 - z * (1 / 2 - z * (1 / 24 - z * (1 / 720 - z * (1 / 40320))))


@njit(inline="always", error_model="numpy")
def small_arcsine(s):
    """Return asin(s) for abs(s) <= SMALL."""
    z = s * s
    p = 15 / 336 + z * (105 / 3456 + z * (945 / 42240 + z * (10395 / 599040)))
    return s + s * z * (1 / 6 + z * (3 / 40 + z * p))


@njit(inline="always", error_model="numpy")
def small_arctangent(t):
    """Return atan(t) for abs(t) <= SMALL."""
    z = t * t
    p = -1 / 7 + z * (1 / 9 + z * (-1 / 11 + z * (1 / 13)))
    return t + t * z * (-1 / 3 + z * (1 / 5 + z * p))


@njit(inline="always", error_model="numpy")
def arctangent(t):
    """Return atan(t) for abs(t) <= tan(pi/8)."""
    z = t * t
    z2 = z * z
    z4 = z2 * z2
    low = (_A[0] + z * _A[1]) + z2 * (_A[2] + z * _A[3])
    middle = (_A[4] + z * _A[5]) + z2 * (_A[6] + z * _A[7])
    high = (_A[8] + z * _A[9]) + z2 * _A[10]
    return t + t * (z * (low + z4 * (middle + z4 * high)))


@njit(inline="always", error_model="numpy")
def turn_angle(y, x):
    """Return the angle of the point (x, y) in 0 .. 2 pi, for y != 0 (not for y = 0 or NaN)."""
    ay, ax = abs(y), abs(x)
    steep = ay > ax
    low = ax if steep else ay
    high = ay if steep else ax
    beyond = low > _TAN_22 * high  # more than 22.5 deg: from there to 45 deg
    beyond_numerator, beyond_denominator = low - high, low + high
    numerator = beyond_numerator if beyond else low
    denominator = beyond_denominator if beyond else high
    a = arctangent(numerator / denominator)
    octant = a + math.pi / 4
    a = octant if beyond else a
    complement = HALF_PI - a
    a = complement if steep else a
    supplement = math.pi - a
    a = supplement if x < 0.0 else a
    rest = 2.0 * math.pi - a
    return rest if y < 0.0 else a


@njit(inline="always", error_model="numpy")
def sine_cosine(a):
    """Return sin(a) and cos(a) for abs(a) <= 1.2 pi."""
    n = (a * (2.0 / math.pi) + _ROUND) - _ROUND
    r = (a - n * HALF_PI) - n * HALF_PI_REST
    z = r * r
    # Taylor coefficients, adapted to abs(r) <= pi/4 in the last places (as in many mathematical libraries)
    p = -1.98412698298579493134e-4 + z * (
        2.75573137070700676789e-6 + z * (-2.50507602534068634195e-8 + z * 1.58969099521155010221e-10)
    )
    s = r + r * z * (-1.66666666666666324348e-1 + z * (8.33333333332248946124e-3 + z * p))
    q = 2.48015872894767294178e-5 + z * (
        -2.75573143513906633035e-7 + z * (2.08757232129817482790e-9 + z * -1.13596475577881948265e-11)
    )
    c = 1.0 - (0.5 * z - z * z * (4.16666666666666019037e-2 + z * (-1.38888888888741095749e-3 + z * q)))
    odd = abs(n) == 1.0
    back = abs(n) == 2.0
    sine = c if odd else s
    cosine = s if odd else c
    minus_sine, minus_cosine = -sine, -cosine
    sine = minus_sine if back | (n == -1.0) else sine
    cosine = minus_cosine if back | (n == 1.0) else cosine
    return sine, cosine


@njit(inline="always", error_model="numpy")
def exponential(x):
    """Return exp(x); beyond +-700 the value there."""
    x = -700.0 if x < -700.0 else x
    x = 700.0 if x > 700.0 else x
    shifted = x * 1.4426950408889634 + _ROUND
    n = shifted - _ROUND
    r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10  # ln 2 in two parts
    r2 = r * r
    r4 = r2 * r2
    low = (1 / 2 + r * (1 / 6)) + r2 * (1 / 24 + r * (1 / 120))
    middle = (1 / 720 + r * (1 / 5040)) + r2 * (1 / 40320 + r * (1 / 362880))
    high = (1 / 3628800 + r * (1 / 39916800)) + r2 * (1 / 479001600 + r * (1 / 6227020800))
    # the last bits of the shifted number are n: moved to the exponent they make 2**n
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return (1.0 + (r + r2 * (low + r4 * (middle + r4 * high)))) * power

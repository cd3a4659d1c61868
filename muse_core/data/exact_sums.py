# SPDX-License-Identifier: BSD-3-Clause
"""Sums that do not depend on the order of their terms, on blocks or on threads.

A sum of multiples of one unit is exact as long as it has fewer digits than its type. So a value is rounded
to a multiple of a coarse unit, what is left of it to a multiple of a fine one, and each part has a sum of its
own. Two parts in float64 (`split`) do where values are of one kind and rounding to the fine unit is harmless;
four limbs in int64 (`add_to_limbs`) hold values from 2**-81 to 2**46, so that terms can be taken away again
without a trace.
"""

from __future__ import annotations

import numpy as np

from muse_core.framework.kernels import njit

N_LIMBS = 4
LIMB_UNITS = (2.0**16, 2.0**-16, 2.0**-48, 2.0**-80)
LARGEST = 2.0**46
"""Limbs take values below this, 2**31 of them."""
_UNIT_1, _UNIT_2, _UNIT_3, _UNIT_4 = LIMB_UNITS
_ROUND = 1.5 * 2.0**52  # adding and taking it away rounds to an integer, faster than rint


@njit(cache=True, nogil=True, inline="always")
def split(value, coarse, fine):
    """Return a value as a multiple of a coarse unit and a multiple of a fine one (powers of two).

    The parts of many values may be added in any order: the sums are exact while they stay below 2**53 units.

    >>> split(1.3, 0.25, 0.0625)
    (1.25, 0.0625)
    """
    high = np.rint(value * (1.0 / coarse)) * coarse
    return high, np.rint((value - high) * (1.0 / fine)) * fine


@njit(cache=True, nogil=True)
def add_to_limbs(limbs, k, value):
    """Add a value below `LARGEST` to the sum in the four limbs that begin at ``k`` (``limbs`` : int64[n])."""
    rest = value
    if abs(rest) >= 0.5 * _UNIT_1:
        n = (rest * (1.0 / _UNIT_1) + _ROUND) - _ROUND
        limbs[k] += np.int64(n)
        rest -= n * _UNIT_1
    n = (rest * (1.0 / _UNIT_2) + _ROUND) - _ROUND
    limbs[k + 1] += np.int64(n)
    rest -= n * _UNIT_2
    if rest != 0.0:
        n = (rest * (1.0 / _UNIT_3) + _ROUND) - _ROUND
        limbs[k + 2] += np.int64(n)
        rest -= n * _UNIT_3
        if rest != 0.0:
            limbs[k + 3] += np.int64((rest * (1.0 / _UNIT_4) + _ROUND) - _ROUND)

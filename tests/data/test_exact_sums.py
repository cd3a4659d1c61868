# SPDX-License-Identifier: BSD-3-Clause
"""Sums that depend on nothing but their terms, and the search in sorted values."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from muse_core.data.exact_sums import LIMB_UNITS, add_to_limbs, split
from muse_core.data.kernels import last_not_above

pytestmark = pytest.mark.kernel


@pytest.mark.unit
def test_parts_make_up_the_value():
    values = np.random.default_rng(1).normal(0, 1e4, 1000)
    for value in values:
        high, low = split(value, 2.0**-8, 2.0**-40)
        assert high * 2**8 == round(high * 2**8)
        assert low * 2.0**40 == round(low * 2.0**40)
        assert abs(value - (high + low)) <= 2.0**-41


@pytest.mark.law
def test_limbs_hold_the_exact_sum_and_give_terms_back():
    rng = np.random.default_rng(2)
    values = rng.normal(size=300) * 10.0 ** rng.uniform(-9, 12, 300)
    limbs = np.zeros(4, np.int64)
    for value in values:
        add_to_limbs(limbs, 0, value)

    def total():
        return sum(int(limb) * Fraction(unit) for limb, unit in zip(limbs, LIMB_UNITS, strict=True))

    exact = sum((Fraction(value) for value in values), Fraction(0))
    assert abs(total() - exact) <= 300 * Fraction(2) ** -81
    before = limbs.copy()
    add_to_limbs(limbs, 0, 1234.567)
    add_to_limbs(limbs, 0, -1234.567)
    np.testing.assert_array_equal(limbs, before)


@pytest.mark.unit
def test_last_value_not_above():
    values = np.array([1.0, 2.0, 2.0, 3.0])
    found = [last_not_above(values, x, 0, 4) for x in (0.0, 1.0, 1.5, 2.0, 2.5, 9.0)]
    assert found == [0, 0, 0, 2, 2, 3]
    assert last_not_above(values, 9.0, 1, 3) == 2

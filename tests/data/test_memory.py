# SPDX-License-Identifier: BSD-3-Clause
"""Memory that is used again."""

import numpy as np
import pytest

from muse_core.data.memory import SMALLEST, borrow

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("size", [3, SMALLEST])
def test_sizes_may_be_numbers_of_numpy(size):
    assert borrow(np.int64(size), np.float32).shape == (size,)
    assert borrow((2, np.int64(size)), np.float32).shape == (2, size)

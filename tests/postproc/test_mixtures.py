# SPDX-License-Identifier: BSD-3-Clause
"""Which exposures belong to one field."""

from __future__ import annotations

import pytest

from muse_core.postproc.combination.checks import separate_fields
from muse_core.postproc.exposure.row_limits import RowLimits

pytestmark = pytest.mark.unit


def field(x: float, y: float = 0.0) -> RowLimits:
    return RowLimits((x, x + 1.0), (y, y + 1.0), (4750.0, 9350.0), (1, 24), (1, 48))


@pytest.mark.parametrize(
    ("places", "groups"),
    [
        ([(0, 0)], [[0]]),
        ([(0, 0), (0.5, 0.5)], [[0, 1]]),
        ([(0, 0), (2, 0)], [[0], [1]]),
        ([(0, 0), (5, 0), (0.5, 0), (5.5, 0)], [[0, 2], [1, 3]]),
        ([(0, 0), (1.6, 0), (0.8, 0)], [[0, 1, 2]]),  # the third joins the others
        ([(0, 0), (0.5, 3)], [[0], [1]]),
    ],
)
def test_fields_that_overlap_hang_together(places, groups):
    assert separate_fields([field(*place) for place in places]) == groups

# SPDX-License-Identifier: BSD-3-Clause
"""Image statistics: the same as numpy's, whatever the values look like."""

import numpy as np
import pytest

from muse_core.detector.statistics import image_statistics

pytestmark = pytest.mark.kernel

RNG = np.random.default_rng(8)
IMAGES = {
    "noise": RNG.normal(1e4, 50, (300, 401)),
    "even": RNG.normal(-3, 2, (100, 200)),
    "constant": np.full((60, 70), 5.0),
    "whole numbers": RNG.integers(0, 3, (90, 100)),
    "rising": np.linspace(0, 1, 40000).reshape(200, 200),
    "one pixel": np.array([[7.0]]),
    # the sample takes every other pixel of an image this large, and here sees only one of two levels
    "pattern": np.tile([0.0, 10.0], (500, 300)),
}


@pytest.mark.unit
@pytest.mark.parametrize("name", IMAGES)
def test_same_as_numpy(name):
    image = IMAGES[name].astype(np.float32)
    found, wide = image_statistics(image), image.astype(float)
    assert found["MEDIAN"] == np.median(wide)
    assert (found["MIN"], found["MAX"]) == (wide.min(), wide.max())
    assert found["MEAN"] == pytest.approx(wide.mean(), rel=1e-12, abs=1e-9)
    assert found["SUM"] == pytest.approx(wide.sum(), rel=1e-12, abs=1e-6)
    expected = wide.std(ddof=1) if wide.size > 1 else 0.0
    assert found["STDEV"] == pytest.approx(expected, rel=1e-9, abs=1e-9)

# SPDX-License-Identifier: BSD-3-Clause
"""Trails in quick images of the exposures."""

from __future__ import annotations

import numpy as np
import pytest

from muse_core.postproc.combination.unconfirmed import unconfirmed_places
from muse_core.resampling.exposure_rejection import ExposureRejection


@pytest.mark.parametrize("pointings", [1, 2])
def test_a_trail_is_found_in_a_mosaic_too(pointings):
    """Where no pixel has data of all exposures, the noise is that where three of them meet."""
    rng = np.random.default_rng(4)
    images = [rng.normal(size=(60, 60 * pointings)).astype(np.float32) for _ in range(3 * pointings)]
    for number, image in enumerate(images):
        elsewhere = np.arange(image.shape[1]) // 60 != number // 3
        image[:, elsewhere] = np.nan
    images[1][30] += 12.0
    found = unconfirmed_places(images, ExposureRejection(4.0))
    assert found[1][30, :60].mean() > 0.9
    # beside it some noise, with its margin of a pixel: the scatter about a median of three is known roughly
    assert found[1][:28, :60].mean() < 0.05
    assert all(mask.mean() < 0.05 for number, mask in enumerate(found) if number != 1)

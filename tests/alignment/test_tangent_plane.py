# SPDX-License-Identifier: BSD-3-Clause
"""The small TAN projection against astropy's, and as its own inverse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muse_core.data.tangent_plane import TanWcs

pytestmark = pytest.mark.unit
projections = st.builds(
    lambda ra, dec, angle, scale, flip: TanWcs(
        (40.5, -3.0),
        (ra, dec),
        (
            (-scale * np.cos(angle), flip * scale * np.sin(angle)),
            (scale * np.sin(angle), flip * scale * np.cos(angle)),
        ),
    ),
    st.floats(-10.0, 370.0),
    st.floats(-89.0, 89.0),
    st.floats(-3.2, 3.2),
    st.sampled_from([5.5e-5, 7e-6]),
    st.sampled_from([1.0, -1.0]),
)


@settings(max_examples=60, deadline=None)
@given(projections)
def test_sky_positions_equal_those_of_wcslib(wcs):
    from astropy.wcs import WCS

    full = WCS(naxis=2)
    full.wcs.crpix, full.wcs.crval, full.wcs.cd = wcs.crpix, wcs.crval, np.array(wcs.cd)
    full.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    full.wcs.set()
    x, y = np.meshgrid(np.linspace(-50, 350, 5), np.linspace(-50, 350, 5))
    ra, dec = wcs.sky(x, y)
    ra0, dec0 = full.all_pix2world(x, y, 1)
    turn = (ra - ra0 + 180.0) % 360.0 - 180.0
    # wcslib loses digits near the reference point, where its native latitude is close to 90 degrees
    assert np.abs(turn * np.cos(np.radians(dec))).max() * 3600 < 1e-6
    assert np.abs(dec - dec0).max() * 3600 < 1e-6


@settings(max_examples=60, deadline=None)
@given(projections)
def test_pixels_come_back_by_both_ways(wcs):
    x, y = np.meshgrid(np.linspace(-50, 350, 7), np.linspace(-50, 350, 7))
    for back in (wcs.pixel(*wcs.sky(x, y)), wcs.pixel_of_directions(wcs.directions(x, y))):
        np.testing.assert_allclose(back[0], x, atol=2e-7)
        np.testing.assert_allclose(back[1], y, atol=2e-7)


def test_the_far_side_of_the_sphere_has_no_pixels():
    wcs = TanWcs((1.0, 1.0), (10.0, 0.0), ((-1e-4, 0.0), (0.0, 1e-4)))
    assert np.isnan(wcs.pixel(190.0, 0.0)[0])
    opposite = TanWcs((1.0, 1.0), (190.0, 0.0), ((-1e-4, 0.0), (0.0, 1e-4)))
    assert np.isnan(wcs.pixel_of_directions(opposite.directions(1.0, 1.0))[0])


def test_longitudes_stay_continuous_across_zero():
    wcs = TanWcs((1.0, 1.0), (0.001, 5.0), ((-1e-4, 0.0), (0.0, 1e-4)))
    ra, _ = wcs.sky(np.arange(1.0, 60.0), 1.0)
    assert ra.min() < 0 < ra.max()
    assert np.all(np.diff(ra) < 0)

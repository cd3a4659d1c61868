# SPDX-License-Identifier: BSD-3-Clause
"""The projection with the rounding errors of the C recipe: its positions to the last digit."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.alignment.images.checks import inspect_field
from muse_core.data.tangent_plane import TanWcs
from muse_core.framework.errors import Problems
from tests.alignment.test_golden import unpack
from tests.golden import golden_set

WCS = TanWcs((30.5, 41.25), (150.1, -49.3), ((6e-6, 3e-6), (3e-6, -6e-6)))


@pytest.mark.golden
@pytest.mark.parametrize("name", ["flagged2", "rotated3"])
def test_positions_of_the_c_recipe(name, tmp_path):
    folder = golden_set("exp_align") / name
    frames = unpack(folder, tmp_path)
    lists = sorted((folder / "default").glob("SOURCE_LIST*.fits"))
    count = 0
    for (path, _), reference in zip(frames, lists, strict=True):
        wcs = inspect_field(path, need_exptime=False, problems=Problems()).wcs
        for row in fits.getdata(reference, 1):
            ra, dec = wcs.sky_by_native_angles(float(row["X"]), float(row["Y"]))
            # bit by bit with the same C library, to the last digit with others
            assert np.allclose((ra, dec), (row["RA"], row["DEC"]), rtol=2.3e-16, atol=0)
            count += 1
    assert count > 10


def test_agreement_with_the_exact_projection():
    rng = np.random.default_rng(1)
    for x, y in rng.uniform(-200, 300, (50, 2)):
        exact = [float(v) for v in WCS.sky(x, y)]
        for radians in (False, True):
            assert np.allclose(WCS.sky_by_native_angles(x, y, radians=radians), exact, rtol=0, atol=1e-11)
        assert np.allclose(WCS.pixel_by_native_angles(*exact), (x, y), rtol=0, atol=1e-2)


def test_noise_of_a_small_field():
    """What it is there for: 1e-5 pixels and more of noise, where the exact projection has 1e-9."""
    sky = [float(v) for v in WCS.sky(60.0, 20.0)]
    assert 1e-7 < np.hypot(*np.subtract(WCS.pixel_by_native_angles(*sky), (60.0, 20.0))) < 1e-2


def test_reference_point_and_far_side():
    assert WCS.sky_by_native_angles(*WCS.crpix) == pytest.approx(WCS.crval, abs=1e-12)
    with pytest.raises(ValueError, match="one tangent plane"):
        WCS.pixel_by_native_angles(330.1, 49.3)

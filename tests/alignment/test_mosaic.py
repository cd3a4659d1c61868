# SPDX-License-Identifier: BSD-3-Clause
"""The preview: nothing lost, nothing counted twice."""

import numpy as np
import pytest

from muse_core.alignment.preview.grid import plan_mosaic
from muse_core.alignment.preview.mosaic import Mosaic
from muse_core.data.tangent_plane import TanWcs

pytestmark = pytest.mark.law


def projection(ra=150.0, dec=-20.0, angle=0.0, scale=5.5e-5, size=60):
    a = np.radians(angle)
    cd = ((-scale * np.cos(a), scale * np.sin(a)), (scale * np.sin(a), scale * np.cos(a)))
    return TanWcs((size / 2, size / 2), (ra, dec), cd)


def build(projections, shapes, preview_cut=False, exposure_map=False):
    mosaic = Mosaic(plan_mosaic(projections, shapes, preview_cut=preview_cut), exposure_map=exposure_map)
    for n, (wcs, shape) in enumerate(zip(projections, shapes, strict=True)):
        data = np.full(shape, 2.0**n, dtype=np.float32)
        mosaic.add(data, np.zeros(shape, dtype=bool), wcs, 100.0 * (n + 1))
    return mosaic


def test_an_equal_grid_gives_the_image_back():
    wcs = projection()
    grid = plan_mosaic([wcs], [(50, 60)], preview_cut=False)
    mosaic = Mosaic(grid)
    data = np.random.default_rng(1).normal(size=(50, 60)).astype(np.float32)
    bad = np.zeros(data.shape, dtype=bool)
    bad[10, 20] = True
    mosaic.add(data, bad, wcs)
    preview = mosaic.preview()
    assert np.isfinite(preview).sum() == data.size - 1
    assert np.sort(preview[np.isfinite(preview)]).tolist() == np.sort(data[~bad]).tolist()


@pytest.mark.parametrize("angle", [0.0, 25.0, 90.0, 180.0, 217.0])
def test_every_pixel_of_a_rotated_reference_is_inside(angle):
    shape = (60, 60)
    projections = [projection(angle=angle), projection(ra=150.002, angle=angle + 10)]
    mosaic = build(projections, shape_list := [shape, shape])
    preview = mosaic.preview()
    # equal pixel sizes: each exposure covers its area in output pixels to within its outline
    for n in range(2):
        bit = np.nan_to_num(preview).astype(int) // 2**n % 2
        assert bit.sum() == pytest.approx(3600, rel=0.01)
    if angle not in (0.0, 180.0):
        cut = build(projections, shape_list, preview_cut=True).preview()
        assert np.isfinite(cut).sum() < np.isfinite(preview).sum()


def test_unrotated_grids_contain_the_grid_of_the_c_recipe():
    projections = [projection(), projection(ra=150.0007, dec=-20.0004)]
    shapes = [(50, 60), (50, 60)]
    ours, copied = (build(projections, shapes, preview_cut=c) for c in (False, True))
    low = np.array(ours.grid.wcs.crpix) - np.array(copied.grid.wcs.crpix)
    assert np.all(low == np.round(low))
    x, y = low.astype(int)
    ny, nx = copied.grid.shape
    np.testing.assert_array_equal(ours.preview()[y : y + ny, x : x + nx], copied.preview())


def test_exposure_times_add_up():
    mosaic = build([projection(), projection()], [(50, 60), (50, 60)], exposure_map=True)
    assert np.unique(mosaic.exposure_map()[np.isfinite(mosaic.exposure_map())]).tolist() == [300.0]
    assert np.unique(mosaic.preview()[np.isfinite(mosaic.preview())]).tolist() == [3.0]


def test_large_grids_give_the_same_pixels(monkeypatch):
    projections, shapes = [projection(angle=20), projection(ra=150.001)], [(50, 60), (40, 44)]
    wanted = build(projections, shapes).preview()
    monkeypatch.setattr("muse_core.alignment.preview.mosaic.KEPT_PIXELS", 10)
    np.testing.assert_array_equal(build(projections, shapes).preview(), wanted)


def test_opposite_sides_of_the_sky_have_no_common_plane():
    with pytest.raises(ValueError, match="tangent plane"):
        plan_mosaic([projection(), projection(ra=330.0, dec=20.0)], [(60, 60)] * 2, preview_cut=False)

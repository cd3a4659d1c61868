# SPDX-License-Identifier: BSD-3-Clause
"""Smoothing, masks and vignetting against slow twins and exact cases."""

import numpy as np
import pytest

from muse_core.detector.illum import fit_illum
from muse_core.framework import Defects, InputError
from muse_core.twilight.filters import exclude_edges, masked_gaussian, masked_median
from muse_core.twilight.model import fit_twilight, white_image
from muse_core.twilight.smooth import SupportError, fit_polynomial, good_mask, smooth_plane
from muse_core.twilight.vignetting import EdgeSmoothing, _gaussian_reach, align_mask, fit_vignetting, nfm_mask

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


def test_good_mask_grows_along_x_only():
    white = np.ones((5, 12), np.float32)
    white[2, 5] = np.nan
    white[0, 1] = np.nan
    bad = ~good_mask(white)
    expected = np.zeros((5, 12), bool)
    expected[:, [0, -1]] = True
    expected[2, 3:8] = True
    expected[0, [1, 2, 3]] = True
    assert np.array_equal(bad, expected)


def test_median_and_gaussian_agree_with_slow_twins():
    rng = np.random.default_rng(0)
    image = rng.normal(10, 2, (14, 11)).astype(np.float32)
    image[3, 3] = np.nan
    good = rng.random(image.shape) < 0.7
    good[3, 3] = True
    good[:5, 8:] = False
    median, gauss = np.empty_like(image), np.empty_like(image)
    masked_median(image, good, 3, 2, median)
    usable = good & ~np.isnan(image)
    masked_gaussian(np.nan_to_num(image), usable, 4, 1.7, gauss)
    for y in range(14):
        for x in range(11):
            part = (slice(max(y - 3, 0), y + 4), slice(max(x - 2, 0), x + 3))
            values = image[part][usable[part]]
            if values.size:
                assert median[y, x] == pytest.approx(np.median(values), rel=1e-6)
            else:
                assert np.isnan(median[y, x])
            yy, xx = np.nonzero(usable)
            near = (abs(yy - y) <= 4) & (abs(xx - x) <= 4)
            w = np.exp(-0.5 * ((yy[near] - y) ** 2 + (xx[near] - x) ** 2) / 1.7**2)
            assert gauss[y, x] == pytest.approx((w * image[yy[near], xx[near]]).sum() / w.sum(), rel=1e-6)
    lonely = np.zeros(image.shape, bool)
    masked_median(image, lonely, 3, 2, median)
    assert np.isnan(median).all()


def test_edges_remove_the_pixel_farther_from_one():
    image = np.ones((4, 5), np.float32)
    image[1, 2], image[1, 3] = 1.05, 1.01
    region = np.ones(image.shape, bool)
    exclude_edges(image, 0.02, region)
    assert np.argwhere(~region).tolist() == [[1, 2]]


def test_polynomial_is_exact_and_ignores_last_row_and_column():
    y, x = np.mgrid[1:31, 1:41].astype(float)
    image = 2 + 0.01 * x - 0.002 * y + 1e-4 * x * y**2 - 1e-5 * x**2 * y
    exact = image.copy()
    image[-1], image[:, -1] = 99, -99
    region = np.ones(image.shape, bool)
    region[5:9, 7:30] = False
    image[5:9, 7:30] = np.nan
    assert np.allclose(fit_polynomial(image, region, 2, 2), exact, rtol=1e-10)


@pytest.mark.parametrize(("xorder", "yorder", "columns"), [(5, 1, 4), (30, 30, 20), (2, 2, 0)])
def test_order_beyond_the_data_is_refused(xorder, yorder, columns):
    region = np.zeros((20, 20), bool)
    region[:, :columns] = True
    with pytest.raises(SupportError, match="lower orders"):
        fit_polynomial(np.ones((20, 20)), region, xorder, yorder)


def test_mask_of_another_size_keeps_its_corner():
    mask = np.zeros((20, 30), int)
    mask[15:, 25:] = 4
    mask[0, 0] = 1  # in another quadrant: dropped
    smaller, larger = align_mask(mask, (16, 24)), align_mask(mask, (24, 40))
    for out in (smaller, larger):
        assert out.sum() == 25
        assert out[-5:, -5:].all()
    mask[:] = 0
    mask[:4, :6] = 1
    assert align_mask(mask, (24, 40))[:4, :6].all()
    assert align_mask(mask, (24, 40)).sum() == 24
    assert nfm_mask((50, 3), 22).sum() == 23 * 3


@pytest.mark.parametrize("method", ["polyfit", "median", "gaussian"])
def test_bright_corner_is_corrected(method):
    y, x = np.mgrid[0:60, 0:60].astype(float)
    truth = 1 + 0.2 * np.exp(-(((x - 59) ** 2 + (y - 59) ** 2) / 300))
    good = np.ones((60, 60), bool)
    area = np.hypot(x - 59, y - 59) < 35
    edge = fit_vignetting(truth.astype(np.float32), good, area, EdgeSmoothing(method, 5, 5, 0))
    error = np.abs(edge.correction / truth - 1)
    assert error[area & (x < 57) & (y < 57)].max() < (0.005 if method == "polyfit" else 0.02)
    assert (edge.correction[~area] == 1).all()
    assert (edge.correction >= 1).all()


def test_narrow_field_keeps_only_the_rising_rows():
    profile = np.ones(40, np.float32)
    profile[30:] = np.linspace(0.98, 0.5, 10)
    ratio = np.repeat(profile[:, None], 20, axis=1)
    smoothing = EdgeSmoothing("median", 1, 1)
    edge = fit_vignetting(
        ratio,
        np.ones((40, 20), bool),
        nfm_mask((40, 20), 22),
        smoothing,
        narrow_field=True,
    )
    # measured rule: once the running maximum from the top exceeds 0.9, rows below that maximum are dropped
    assert np.allclose(edge.correction[:, 10], np.minimum(profile, 1))
    assert edge.region[17:].all()
    dipped = ratio.copy()
    dipped[20:24] = 0.97
    edge = fit_vignetting(
        dipped,
        np.ones((40, 20), bool),
        nfm_mask((40, 20), 22),
        smoothing,
        narrow_field=True,
    )
    assert (edge.correction[20:24] == 1).all()
    assert not edge.region[20:24].any()


def test_flat_cube_gives_one():
    cube = np.full((3, 20, 30), 7.0, np.float32)
    cube[1] *= 3
    cube[:, 4, 5] = np.nan
    model = fit_twilight(cube, white_image(cube), None)
    assert np.allclose(model.planes, 1, atol=3e-7)
    assert np.allclose(model.ratio[model.good], 1, atol=5e-7)
    assert model.vignetting is None


def test_empty_plane_is_interpolated():
    y, x = np.mgrid[0:20, 0:30]
    cube = np.stack([1 + slope * x for slope in (0.001, 0.002, 0.003, 0.004)]).astype(np.float32)
    whole = fit_twilight(cube, white_image(cube), None)
    cube[1] = np.nan
    model = fit_twilight(cube, white_image(cube), None)
    assert model.filled == (1,)
    assert np.allclose(model.planes[1], (whole.planes[0] + whole.planes[2]) / 2, rtol=1e-6)
    cube[3] = np.nan
    assert np.array_equal(fit_twilight(cube, white_image(cube), None).planes[3], whole.planes[2])
    with pytest.raises(SupportError, match="no plane"):
        fit_twilight(cube * np.nan, white_image(cube), None)


@pytest.mark.law
def test_scale_of_a_plane_does_not_matter():
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:30, 0:40]
    plane = (1 + 0.001 * x - 0.002 * y + 0.01 * rng.standard_normal(x.shape)).astype(np.float32)
    good, none = np.ones(x.shape, bool), np.zeros(x.shape, bool)
    a = smooth_plane(plane, good, none, 2, 2).image
    b = smooth_plane(plane * 1024, good, none, 2, 2).image
    assert np.allclose(a, b, rtol=2e-7)
    assert a.mean(dtype=float) == pytest.approx(1, abs=1e-6)


def test_white_ignores_holes():
    cube = np.stack([np.full((2, 2), v, np.float32) for v in (1, 2, 6)])
    cube[2, 0, 0] = np.nan
    cube[:, 1, 1] = np.nan
    assert np.array_equal(white_image(cube), np.array([[1.5, 3], [3, np.nan]], np.float32), equal_nan=True)


def test_illum_factors():
    medians = np.linspace(0.9, 1.1, 48)
    model = fit_illum(medians)
    assert model.factors.mean() == pytest.approx(1)
    assert np.ptp(model.factors * medians) < 1e-12
    medians[7] = np.nan
    assert fit_illum(medians).factors[7] == 1
    medians[3] = 0
    with pytest.raises(InputError, match="first ones: 4"):
        fit_illum(medians)


def _steps_in_a_corner():
    rng = np.random.default_rng(4)
    ratio = (1.2 + 0.1 * rng.standard_normal((20, 24))).astype(np.float32)
    vignetted = np.zeros(ratio.shape, bool)
    vignetted[10:, 12:] = True
    return ratio, np.ones(ratio.shape, bool), vignetted


@pytest.mark.parametrize(
    ("method", "xpar", "ypar", "fails"),
    [
        ("median", 5, 3, False),
        ("median", 4, 5, True),
        ("median", 5, 4, True),
        ("gaussian", 8, 8, False),  # window of 19 pixels
        ("gaussian", 10, 9, True),  # of 23
        ("polyfit", 2, 2, False),
    ],
)
def test_filters_that_fail_in_the_c_pipeline(method, xpar, ypar, fails):
    """There nothing is smoothed; with its defects here, too."""
    ratio, good, vignetted = _steps_in_a_corner()
    smoothing = EdgeSmoothing(method, xpar, ypar, 0.0)
    ours = fit_vignetting(ratio, good, vignetted, smoothing).correction
    defects = Defects.only("vignetting_filter_fails")
    theirs = fit_vignetting(ratio, good, vignetted, smoothing, defects=defects).correction
    raw = np.where(vignetted, np.maximum(ratio, 1), 1)
    assert np.array_equal(theirs, raw) == fails
    assert np.array_equal(ours, theirs) != fails
    assert ours[vignetted].std() < 0.8 * raw[vignetted].std()


@pytest.mark.parametrize(("fwhm", "reach"), [(1, 1), (3, 3), (5, 5), (5.5, 7), (6, 7), (7.5, 9), (10, 11)])
def test_reach_of_the_gaussian(fwhm, reach):
    """Measured with the C recipe for these widths."""
    assert _gaussian_reach(fwhm) == reach


def test_cube_that_ends_before_an_empty_plane():
    cube = np.ones((4, 20, 24), np.float32)
    cube[2] = np.nan
    model = fit_twilight(cube, white_image(cube), None, defects=Defects.only("ends_at_empty_plane"))
    assert model.planes.shape == (2, 20, 24)
    assert model.filled == ()


@pytest.mark.parametrize("method", ["polyfit", "median", "gaussian"])
def test_a_mask_beside_the_illuminated_area_changes_nothing(method):
    ratio, good, vignetted = _steps_in_a_corner()
    edge = fit_vignetting(ratio, good & ~vignetted, vignetted, EdgeSmoothing(method))
    assert (edge.correction == 1).all()
    assert not edge.region.any()

# SPDX-License-Identifier: BSD-3-Clause
import numpy as np
import pytest
from product_helpers import Grid, grid_of, open_golden, pixel_grid

from muse_core.resampling.cube_cards import plane_wavelengths
from muse_core.resampling.quality import (
    SourceWidths,
    measure_sources,
    pixel_steps_arcsec,
    profile_width,
    qc_from_plane,
    quality_plane,
    source_cards,
    source_mask,
)
from tests.golden import golden_set

pytestmark = pytest.mark.unit


def star_field(positions, seed=3, sigma_pix=1.8, peak=200.0, noise=1.0, shape=(40, 60)):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    image = rng.normal(0.0, noise, shape)
    for cx, cy in positions:
        image += peak * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / sigma_pix**2)
    return image.astype(np.float32)


def test_stars_are_found_and_measured():
    positions = [(12, 10), (40, 18), (25, 31)]
    sources = measure_sources(star_field(positions, noise=0.2))
    assert sorted(zip(sources.x.tolist(), sources.y.tolist(), strict=True)) == sorted(positions)
    assert sources.threshold == 5.0
    # 2.3548 sigma; linear interpolation between pixels and noise of 0.1 % of the peak
    np.testing.assert_allclose(sources.width_x, 2.3548 * 1.8, rtol=0.02)
    np.testing.assert_allclose(sources.width_y, 2.3548 * 1.8, rtol=0.02)


@pytest.mark.law
def test_scaling_and_transposition():
    image = star_field([(12, 10), (40, 18), (25, 31)])
    first = measure_sources(image)
    scaled = measure_sources(image * np.float32(4.0))
    np.testing.assert_array_equal(first.x, scaled.x)
    np.testing.assert_array_equal(first.width_x, scaled.width_x)
    turned = measure_sources(image.T)
    order, turned_order = np.argsort(first.x), np.argsort(turned.y)
    np.testing.assert_array_equal(first.x[order], turned.y[turned_order])
    np.testing.assert_allclose(first.width_x[order], turned.width_y[turned_order], rtol=1e-12)


def test_cards():
    image = star_field([(12, 10), (40, 18), (25, 31)])
    cards = {key: value for key, value, _ in qc_from_plane(image, 6898.49072265625, (0.2, 0.3))}
    sources = measure_sources(image)
    assert cards["ESO QC SCIPOST LAMBDA"] == 6898.491
    assert cards["ESO QC SCIPOST NDET"] == cards["ESO QC SCIPOST FWHM NVALID"] == 3
    widths = np.concatenate([sources.width_x * 0.2, sources.width_y * 0.3])
    assert cards["ESO QC SCIPOST FWHM MEDIAN"] == pytest.approx(np.median(widths), rel=1e-6)
    deviation = np.median(np.abs(widths - np.median(widths)))
    assert cards["ESO QC SCIPOST FWHM MAD"] == pytest.approx(deviation, rel=1e-5)


def test_two_sources_have_no_median():
    image = star_field([(12, 10), (40, 18)])
    cards = {key: value for key, value, _ in qc_from_plane(image, 5000.0, (0.2, 0.2))}
    assert cards["ESO QC SCIPOST NDET"] == 2
    assert cards["ESO QC SCIPOST FWHM1 X"] > 0.0
    assert cards["ESO QC SCIPOST FWHM MEDIAN"] == cards["ESO QC SCIPOST FWHM MAD"] == 0.0


@pytest.mark.parametrize(
    "image", [np.full((9, 9), np.nan), np.ones((9, 9)), np.zeros((1, 1)), np.zeros((0, 4))]
)
def test_no_sources(image):
    cards = {key: value for key, value, _ in qc_from_plane(image, 5000.0, (0.2, 0.2))}
    assert cards == {
        "ESO QC SCIPOST LAMBDA": 5000.0,
        "ESO QC SCIPOST NDET": 0,
        "ESO QC SCIPOST POS0 X": -1.0,
        "ESO QC SCIPOST POS0 Y": -1.0,
        "ESO QC SCIPOST FWHM0 X": -1.0,
        "ESO QC SCIPOST FWHM0 Y": -1.0,
    }


def test_lower_thresholds_are_tried():
    # a star that only just stands out: its 3 x 3 core is above 3 but not above 4 mean deviations
    rng = np.random.default_rng(8)
    image = rng.choice([-1.0, 0.0, 1.0], size=(41, 41))
    image[20:23, 20:23] = 2.4
    assert not source_mask(image, 4.0).any()
    sources = measure_sources(image)
    assert sources.threshold == 3.0
    assert (sources.x.tolist(), sources.y.tolist()) == ([22], [22])


@pytest.mark.parametrize(
    ("profile", "centre", "expected"),
    [
        # values returned by the CPL library
        ([0, 0, 0, 0, 0, 10, 45, 80, 100, 80, 45, 10, 0, 0, 0, 0, 0], 8, 2 * 1.8571428571),
        ([0, 0, 0, 0, -10, 30, 80, 100, 80, 30, -10, 0, 0, 0, 0], 7, 2 * 1.6333333333),
        ([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 90, 80, 70, 60, 50, 40, 30, 20, 10, -10], 10, 10.0),
        ([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 20], 10, 9.0),
        ([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 90, 80, 70, 60, 50, 40, 30, 20, 10, 40], 10, 8.8333333),
        ([0, 100, 0, 0], 1, -1.0),
        # the centre is not the top of the smoothed profile, or level with a neighbour
        ([0, 4, 0, 0, 0], 1, 0.666667),
        ([0, 3, 4, 0, 0], 1, 1.638889),
        ([0, 0, 2, 3, 0, 0], 2, 1.819444),
        ([5, 7, 4, 6, 3], 1, 0.972222),
        ([1, 4, 3, 5, 0, 2], 2, 3.088889),
        ([6, 2, 3, 2, 6, 1], 2, 0.5),
        ([0, 2, 9, 4, 6, 1, 0], 4, 3.371429),
        ([0, 0, 5, 8, 3, 2, 4, 0], 3, 1.866667),
        ([-4, -7, -2, -6, -7], 2, -1.0),
        ([3, 9, 2, 1, 0, 0], 0, -1.0),
    ],
)
def test_widths_as_the_library_gives_them(profile, centre, expected):
    assert profile_width(np.array(profile, dtype=float), centre) == pytest.approx(expected, abs=1e-6)


def test_both_widths_are_given_up_together():
    places, widths = np.array([10, 20]), np.array([[3.0, -1.0], [4.0, 5.0]])
    sources = SourceWidths(5.0, places, places, *widths)
    cards = {key: value for key, value, _ in source_cards(sources, 5000.0, (0.2, 0.5))}
    found = [cards[f"ESO QC SCIPOST FWHM{k} {axis}"] for k in (1, 2) for axis in "XY"]
    assert found == pytest.approx([0.6, 2.0, -1.0, -1.0])
    assert cards["ESO QC SCIPOST FWHM NVALID"] == 1


def test_steps():
    assert pixel_steps_arcsec(Grid()) == pytest.approx((0.2, 0.2))
    assert pixel_steps_arcsec(pixel_grid()) == pytest.approx((0.2, 0.2))
    turned = 0.2 / 3600 * np.array([[-0.8, 0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    assert pixel_steps_arcsec(Grid(cd=turned)) == pytest.approx((0.2, 0.2))


RUNS = [
    "basic/out_default",
    "basic/out_lanczos",
    "basic/out_linear",
    "basic/out_nocr",
    "basic/out_quadratic",
    "basic/out_renka",
    "basic/out_steps",
    "multi/out_fwhm",
    "multi/out_simple",
    "multi/out_sdpCube",
    "model/out_model",
]


@pytest.mark.golden
@pytest.mark.parametrize("run", RUNS)
def test_golden_keywords(run):
    name, folder = run.split("/")
    golden = open_golden(golden_set(f"scipost_{name}") / folder / "DATACUBE_FINAL.fits")
    grid = grid_of(golden["DATA"].header)
    k = quality_plane(grid.nz)
    cards = qc_from_plane(golden["DATA"].data[k], plane_wavelengths(grid)[k], pixel_steps_arcsec(grid))
    header = golden[0].header
    assert [key for key, _, _ in cards] == [key for key in header if key.startswith("ESO QC")]
    for key, value, _ in cards:
        assert value == pytest.approx(header[key], rel=2e-7), key  # last of seven digits

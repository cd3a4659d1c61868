# SPDX-License-Identifier: BSD-3-Clause
import math

import numpy as np
import pytest
from astropy.io import fits
from product_helpers import FLUX, Grid, grid_of, open_golden, pixel_grid, primary

from muse_core.resampling.collapse import FilterSet, white_filter
from muse_core.resampling.phase3 import (
    NO_LIMIT,
    apply_cards,
    background_noise,
    centre_position,
    covered_spaxels,
    histogram_mode,
    identity_cards,
    limiting_magnitude,
    pixel_noise,
    resolution_in_pixels,
    resolving_power,
    sdp_cards,
    sky_resolution,
    smooth_image,
    strehl_fwhm,
    zero_point,
)
from tests.golden import golden_set

pytestmark = pytest.mark.unit


def exposure(**cards):
    header = fits.Header()
    values = {
        "EXPTIME": 600.0,
        "MJD-OBS": 57800.25,
        "ESO TEL IA FWHMLIN": 0.8,
        "ESO TEL AIRM START": 1.15137977973092,
        "ESO TEL AIRM END": 1.1776111779292,
        "ESO TEL AMBI FWHM START": 0.8,
        "ESO TEL AMBI FWHM END": 0.9,
        **cards,
    }
    for key, value in values.items():
        if value is not None:
            header[f"HIERARCH {key}" if " " in key else key] = value
    return header


def test_pixel_noise_is_the_most_frequent_variance():
    rng = np.random.default_rng(3)
    stat = np.abs(rng.normal(9.0, 0.4, (3, 40, 40))).astype(np.float32)
    stat[0, :5] = np.nan
    assert pixel_noise(stat) == pytest.approx(3.0, rel=0.04)
    # centre of a bin of 0.04, as in the products of the C pipeline
    assert pixel_noise(np.full((1, 4, 4), 4.0)) == pytest.approx(math.sqrt(4.02))
    assert pixel_noise(np.full((1, 4, 4), 25.0)) == pytest.approx(math.sqrt(25.02))


def test_large_variances_are_outside_of_the_c_histogram():
    rng = np.random.default_rng(3)
    stat = np.abs(rng.normal(400.0, 10.0, (3, 60, 60)))
    assert pixel_noise(stat) == pytest.approx(20.0, rel=0.04)
    assert pixel_noise(stat, fixed_histogram=True) == pytest.approx(math.sqrt(0.02))


@pytest.mark.law
def test_noise_scales_with_the_data():
    rng = np.random.default_rng(4)
    image = rng.normal(10.0, 1.0, (80, 90))
    image[30:36, 40:46] += 50.0
    noise = background_noise(smooth_image(image, (3.2, 3.2)))
    assert background_noise(smooth_image(image * 7.0, (3.2, 3.2))) == pytest.approx(7.0 * noise, rel=1e-6)
    # the scatter below the mode about its own median is 0.6 of the whole one, the correction makes 1.66 of it
    kernel_sigma = 3.2 / 2.3548
    smoothed = 1.0 / (2.0 * math.sqrt(math.pi) * kernel_sigma)
    assert noise == pytest.approx(smoothed, rel=0.2)
    difference = limiting_magnitude(image * 7.0, (3.2, 3.2), 5000.0, 6000.0) - limiting_magnitude(
        image, (3.2, 3.2), 5000.0, 6000.0
    )
    assert difference == pytest.approx(-2.5 * math.log10(7.0), abs=1e-6)


@pytest.mark.law
def test_smoothing_keeps_a_constant_and_skips_gaps():
    image = np.full((20, 30), 5.0)
    image[5:9, 7] = np.nan
    image[:, 15:] = np.nan
    smoothed = smooth_image(image, (3.4, 3.4))
    assert np.nanmax(np.abs(smoothed - 5.0)) < 1e-12
    assert np.isfinite(smoothed[6, 7])
    assert np.isfinite(smoothed[:, 17]).all()
    assert np.isnan(smoothed[:, 18:]).all()


def test_mode_and_degenerate_images():
    values = np.random.default_rng(5).normal(3.0, 0.1, 20000)
    assert histogram_mode(values) == pytest.approx(3.0, abs=0.03)
    assert histogram_mode(np.full(10, 2.0)) == 2.0
    assert limiting_magnitude(np.full((9, 9), np.nan), (3.0, 3.0), 5000.0, 5100.0) == NO_LIMIT
    assert limiting_magnitude(np.full((9, 9), 1.0), (3.0, 3.0), 5000.0, 5100.0) == NO_LIMIT
    assert limiting_magnitude(np.ones((9, 9)), (1e-4, 1e-4), 5000.0, 5100.0) == NO_LIMIT
    assert limiting_magnitude(np.ones((9, 9)), (3.0, np.inf), 5000.0, 5100.0) == NO_LIMIT


@pytest.mark.parametrize(
    ("strehl", "fwhm", "error"),
    [
        # products of the C pipeline
        (0.0, 0.09637396, 0.0187384238597583),
        (5.0, 0.0712634990861571, 0.0104611944907919),
        (20.0, 0.0502546804752146, 0.0100279049756675),
        (80.0, 0.0298037693793599, 0.0100016548297429),
        (95.0, 0.0298037693793599, 0.0100016548297429),
    ],
)
def test_strehl_ratio(strehl, fwhm, error):
    assert strehl_fwhm(strehl) == pytest.approx((fwhm, error), rel=1e-12)


def test_sky_resolution():
    single = sky_resolution([exposure()], narrow_field=False)
    assert single.fwhm == pytest.approx(0.646078548890071, rel=1e-6)
    assert single.error == pytest.approx(0.304138126514911)
    assert single.measured and single.error_measured
    second = exposure(**{"ESO TEL IA FWHMLIN": None})
    mixed = sky_resolution([exposure(), second], narrow_field=False)
    assert mixed.fwhm == pytest.approx((single.fwhm + 0.853823) / 2)
    assert (mixed.error, mixed.error_measured) == (0.495547, False)
    worse = exposure(EXPTIME=300.0, **{"ESO TEL IA FWHMLIN": 0.945})
    other = sky_resolution([worse], narrow_field=False).fwhm
    both = sky_resolution([exposure(), worse], narrow_field=False).fwhm
    assert both == pytest.approx((2 * single.fwhm + other) / 3)
    assert sky_resolution([exposure()], narrow_field=True).fwhm == 0.15
    strehl = sky_resolution([exposure(**{"ESO DRS MUSE RTC STREHL": 22.0})], narrow_field=True)
    assert strehl.fwhm == pytest.approx(0.0488309554691377)
    names = "ESO DRS MUSE RTC STREHL", "ESO DRS MUSE RTC STREHERR"
    pair = [exposure(**dict(zip(names, values, strict=True))) for values in ((20.0, 2.0), (40.0, 4.0))]
    several = sky_resolution(pair, narrow_field=True)
    assert (several.fwhm, several.error) == pytest.approx((0.047533494789831, 0.0100192500681895))  # 2.8.7


def test_identity():
    headers = [
        exposure(**{"ESO OBS ID": 12345, "ESO OBS PROG ID": "60.A-9100(A)", "ARCFILE": "a.fits"}),
        exposure(**{"ESO OBS ID": 999, "ESO OBS PROG ID": "60.A-9999(B)", "ARCFILE": "b.fits"}),
    ]
    cards = {key: value for key, value, _ in identity_cards(headers, ["IMAGE_FOV_0001.fits"])}
    assert cards == {
        "OBID1": 999,
        "OBID2": 12345,
        "PROG_ID": "MULTI",
        "PROGID1": "60.A-9100(A)",
        "PROGID2": "60.A-9999(B)",
        "PROV1": "a.fits",
        "PROV2": "b.fits",
        "ASSON1": "IMAGE_FOV_0001.fits",
    }


@pytest.mark.parametrize(("narrow", "spaxels"), [(False, 90000.0), (True, 88327.84)])
def test_exposure_time_of_combined_cubes(narrow, spaxels):
    options = {
        "narrow_field": narrow,
        "data_unit": FLUX,
        "covered": 3000,
        "noise": 2.0,
        "white_image": None,
        "image_files": [],
        "software": "x",
    }
    one = {key: value for key, value, _ in sdp_cards([exposure()], Grid(), **options)}
    assert (one["EXPTIME"], one["TEXPTIME"], one["ABMAGLIM"]) == (600.0, 600.0, NO_LIMIT)
    two = {key: value for key, value, _ in sdp_cards([exposure(), exposure()], Grid(), **options)}
    assert two["EXPTIME"] == pytest.approx(1200.0 * spaxels / 3000)
    assert two["PIXNOISE"] == 2e-20
    options["data_unit"] = "count"
    counts = {key: value for key, value, _ in sdp_cards([exposure()], Grid(), **options)}
    assert (counts["FLUXCAL"], counts["PIXNOISE"]) == ("UNCALIBRATED", 2.0)


def test_positions_and_curves():
    assert centre_position(pixel_grid(nx=150, ny=25)) == pytest.approx((74.5, -25.0))
    assert resolving_power(6898.49) == pytest.approx(2950.434, rel=1e-5)
    assert resolving_power(1000.0) == 1674.77
    # narrow field, from products of the C pipeline
    for wavelength, power in ((4600.323, 1740.0), (6000.3232421875, 2196.12283203125), (9320.0, 3450.0)):
        assert resolving_power(wavelength, narrow_field=True) == pytest.approx(power)
    assert zero_point(7149.70068359375, 7164.70068359375) == pytest.approx(28.3169847, abs=1e-6)


def test_cards_go_before_the_eso_keywords():
    header = primary(RA=1.0, EXPTIME=600.0)
    header["HIERARCH ESO INS MODE"] = "WFM-NOAO-N"
    apply_cards(header, [("RA", 2.0, "new"), ("OBID1", 5, ""), ("PROG_ID", "x", "")])
    assert list(header)[-5:] == ["RA", "EXPTIME", "OBID1", "PROG_ID", "ESO INS MODE"]
    assert header["RA"] == 2.0


@pytest.mark.golden
def test_golden_keywords():
    multi = golden_set("scipost_multi")
    golden = open_golden(multi / "out_sdpCube" / "DATACUBE_FINAL.fits")
    headers = [open_golden(multi / f"PIXTABLE_OBJECT_{i:04d}-12.fits")[0].header for i in (1, 2)]
    grid = grid_of(golden["DATA"].header)
    images = FilterSet([white_filter()], grid)
    images.add_planes(0, golden["DATA"].data, golden["STAT"].data)
    cards = sdp_cards(
        headers,
        grid,
        narrow_field=False,
        data_unit=FLUX,
        covered=covered_spaxels(golden["DATA"].data),
        noise=pixel_noise(golden["STAT"].data),
        white_image=images.images[0].image(),
        image_files=["IMAGE_FOV_0001.fits"],
        software="muse/2.8.7",
    )
    header = golden[0].header
    assert [key for key, _, _ in cards] == [key for key in header if key in {card[0] for card in cards}]
    for key, value, _ in cards:
        if isinstance(value, float):
            assert value == pytest.approx(header[key], rel=1e-6), key
        else:
            assert value == header[key].strip() if isinstance(value, str) else value == header[key], key


@pytest.mark.law
def test_resolution_along_the_axes_of_pixels_that_are_not_square():
    step = np.array([0.3, 0.2]) / 3600.0
    for angle in np.radians([0.0, 30.0, 90.0]):
        turned = np.array([[-math.cos(angle), math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        assert resolution_in_pixels(0.6, turned * step) == pytest.approx((2.0, 3.0))
    assert resolution_in_pixels(0.6, np.diag(step), longer_step=True) == pytest.approx((2.0, 2.0))
    # the C recipe's for a grid turned by 30 degrees, from its debug messages
    turn = np.array([[-math.sqrt(0.75), 0.5], [0.5, math.sqrt(0.75)]]) * step
    step_of_c = 0.27838821814150555
    assert resolution_in_pixels(step_of_c, turn, longer_step=True) == pytest.approx((1.0, 1.0))
    # noise is smoothed less along the long side of a pixel
    image = np.random.default_rng(6).normal(size=(200, 200))
    smoothed = smooth_image(image, (2.0, 4.0))
    along_x = np.std(np.diff(smoothed, axis=1))
    assert along_x > 1.5 * np.std(np.diff(smoothed, axis=0))

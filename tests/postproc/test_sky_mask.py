# SPDX-License-Identifier: BSD-3-Clause
"""Sky masks: the two limits, and which rows lie on a mask."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from muse_core.framework import InputError, RecipeError
from muse_core.postproc.white_light.sky_mask import SkyMask, fit_sky_mask, load_sky_mask

pytestmark = [pytest.mark.unit, pytest.mark.kernel]


def image(seed=1, shape=(20, 30)):
    return np.random.default_rng(seed).normal(100, 5, shape).astype(np.float32)


@pytest.mark.parametrize(("fraction", "ignore"), [(0.1, 0.05), (0.75, 0.05), (1.0, 0.0), (0.5, 0.25)])
def test_limits_are_ranks_and_exclusive(fraction, ignore):
    data = image()
    data[3, 4:9] = np.nan
    mask = fit_sky_mask(data, fraction, ignore, x_low=2.5, y_low=-3.0)
    values = np.sort(data[np.isfinite(data)])
    n = values.size
    low = values[max(int(np.floor(ignore * n + 0.5)), 1) - 1]
    high = values[int(np.floor((ignore + fraction * (1 - ignore)) * n + 0.5)) - 1]
    assert (mask.low, mask.threshold) == (low, high)
    np.testing.assert_array_equal(mask.mask != 0, (data > low) & (data < high))
    assert mask.crval == (2.5, -3.0)
    assert mask.n_sky == mask.mask.sum()


def test_flagged_pixels_are_left_out():
    data, good = image(), np.ones((20, 30), bool)
    data[0, 0], good[0, 0] = 100.0, False
    assert fit_sky_mask(data, 1.0, 0.0, x_low=0, y_low=0, good=good).mask[0, 0] == 0


def test_an_empty_image_is_refused():
    with pytest.raises(RecipeError, match="no valid pixel"):
        fit_sky_mask(np.full((3, 3), np.nan, np.float32), 0.5, 0.05, x_low=0, y_low=0)


def test_rows_take_the_nearest_pixel_and_rows_outside_are_selected():
    pixels = np.zeros((3, 4), np.uint8)
    pixels[1, 2] = 1
    mask = SkyMask(pixels, "linear", crval=(10.0, 20.0))
    x = np.array([12.0, 11.51, 11.49, 12.49, 12.51, 12.0, 9.4, 14.6], np.float32)
    y = np.array([21.0, 21.0, 21.0, 21.49, 21.0, 19.51, 21.0, 21.0], np.float32)
    expected = [True, True, False, True, False, False, True, True]
    assert mask.select(x, y).tolist() == expected


def test_celestial_selection_agrees_with_a_full_projection():
    rng = np.random.default_rng(5)
    pixels = (rng.random((60, 70)) > 0.5).astype(np.uint8)
    cd = ((-1.3e-4, 2.9e-5), (2.9e-5, 1.3e-4))
    mask = SkyMask(pixels, "celestial", crpix=(35.3, 30.8), crval=(150.1003, -30.2002), cd=cd)
    wcs = WCS(naxis=2)
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cd = mask.crpix, mask.crval, np.array(cd)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    ra = 150.1003 + rng.uniform(-0.008, 0.008, 5000)
    dec = -30.2002 + rng.uniform(-0.007, 0.007, 5000)
    px, py = wcs.wcs_world2pix(ra, dec, 1)
    ix, iy = np.floor(px + 0.5).astype(int) - 1, np.floor(py + 0.5).astype(int) - 1
    inside = (ix >= 0) & (ix < 70) & (iy >= 0) & (iy < 60)
    expected = np.ones(ra.size, bool)
    expected[inside] = pixels[iy[inside], ix[inside]] != 0
    assert 0 < inside.sum() < ra.size
    np.testing.assert_array_equal(mask.select(ra, dec), expected)


def test_a_mask_without_coordinates_selects_everything(tmp_path):
    path = tmp_path / "mask.fits"
    fits.PrimaryHDU(np.eye(5, dtype=np.uint8)).writeto(path)
    mask = load_sky_mask(path)
    assert mask.kind == "none"
    assert mask.select(np.zeros(4, np.float32), np.zeros(4, np.float32)).all()


def test_a_mask_beside_the_field_is_refused():
    mask = SkyMask(np.ones((3, 4), np.uint8), "linear", crval=(10.0, 20.0))
    x = np.full(5, 300.0, np.float32)
    mask.check_overlap()
    assert mask.select(x, x).all()
    with pytest.raises(RecipeError, match="none of 5 rows lies on its image of 4 x 3 pixels"):
        mask.check_overlap()
    mask.select(x, x)
    mask.select(np.full(1, 11.0, np.float32), np.full(1, 21.0, np.float32))
    mask.check_overlap()


def write_mask(path, data, **cards):
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(cards)
    hdu.writeto(path, overwrite=True)
    return path


WCS_CARDS = {"CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": 3.0, "CRVAL2": 4.0}


def test_kinds_of_coordinates(tmp_path):
    data, path = np.ones((4, 5), np.uint8), tmp_path / "m.fits"
    cd = {"CD1_1": 1.0, "CD2_2": 1.0}
    linear = load_sky_mask(write_mask(path, data, CTYPE1="PIXEL", CTYPE2="PIXEL", **WCS_CARDS, **cd))
    assert (linear.kind, linear.crval) == ("linear", (3.0, 4.0))
    tan = load_sky_mask(write_mask(path, data, CTYPE1="RA---TAN", CTYPE2="DEC--TAN", **WCS_CARDS, **cd))
    assert tan.kind == "celestial"
    sin = load_sky_mask(write_mask(path, data, CTYPE1="RA---SIN", CTYPE2="DEC--SIN", **WCS_CARDS, **cd))
    assert (sin.kind, sin.ctype) == ("unsupported", ("RA---SIN", "DEC--SIN"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda p: p.write_bytes(b"not a FITS file"), "expected a FITS image"),
        (lambda p: write_mask(p, np.zeros((3, 3), np.uint8)), "at least one non-zero pixel"),
        (lambda p: fits.PrimaryHDU().writeto(p), "an image in one of its extensions"),
        (
            lambda p: write_mask(p, np.ones((3, 3), np.uint8), CTYPE1="RA---TAN", CTYPE2="DEC--TAN"),
            "non-zero determinant",
        ),
    ],
)
def test_bad_masks(tmp_path, content, message):
    path = tmp_path / "bad.fits"
    content(path)
    with pytest.raises(InputError, match=message):
        load_sky_mask(path)


def test_keywords_that_are_no_numbers_are_named(tmp_path):
    path = write_mask(
        tmp_path / "mask.fits", np.ones((4, 5)), CTYPE1="PIXEL", CTYPE2="PIXEL", **WCS_CARDS, CD1_1=1.0
    )
    with fits.open(path, mode="update") as hdus:
        hdus[-1].header["CD1_2"] = 1 + 2j
    with pytest.raises(InputError, match=r"keyword CD1_2: expected a finite number"):
        load_sky_mask(path)

# SPDX-License-Identifier: BSD-3-Clause
"""Regridding, rescaling, comparison of grids, corrections."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import imphot
from imphot.engines.moffat import moffat_profile
from imphot.images.opening import as_sky_image
from imphot.images.sky_image import SkyImage, flux_unit_factor


def image_of(values, cd=None, unit="ELECTRONS/S", crval=(53.0, -27.0), **cards):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], crval
    wcs.wcs.crpix = [0.5 * (values.shape[1] + 1), 0.5 * (values.shape[0] + 1)]
    wcs.wcs.cd = np.array([[-0.2, 0], [0, 0.2]]) / 3600 if cd is None else cd
    out = SkyImage(values, wcs=wcs, unit=unit)
    out.data_header.update(cards)
    return out


def turned(step, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[-c, s], [s, c]]) * step / 3600


@pytest.mark.golden
def test_close_to_the_recorded_regridding(golden):
    hst, muse = (str(golden / "pairs" / f"g12_small_{kind}.fits") for kind in ("hst", "muse"))
    found = imphot.regrid_hst_like_muse(imphot.rescale_hst_like_muse(hst, muse), muse)
    record = as_sky_image(str(golden / "pairs" / "g12_small_hstgrid.fits"))
    assert imphot.image_grids_aligned(found, record)
    # the record is blurred a little more by its two linear interpolations: 1 % in the peaks of stars
    assert np.abs(found.values - record.values).max() < 0.01 * record.values.max()
    assert found.values.sum() == pytest.approx(record.values.sum(), rel=2e-3)


@pytest.mark.law
@pytest.mark.parametrize("angle", [0.0, 40.0])
def test_flux_and_position_are_kept(angle):
    """A broad Gaussian: known position, known flux, hardly touched by the low-pass."""
    iy, ix = np.mgrid[:801, :801]
    sigma = 20.0
    hst = image_of(
        np.exp(-((iy - 412.3) ** 2 + (ix - 390.6) ** 2) / (2 * sigma**2)) + 1.0, turned(0.03, angle)
    )
    muse = image_of(np.zeros((90, 90)), turned(0.2, 5.0))
    out = imphot.regrid_hst_like_muse(hst, muse, inplace=False)
    area = (0.2 / 0.03) ** 2
    light = out.values - area
    assert light.sum() == pytest.approx(2 * np.pi * sigma**2, rel=1e-4)
    y, x = np.mgrid[:90, :90]
    centre = (light * x).sum() / light.sum(), (light * y).sum() / light.sum()
    expected = muse.wcs.all_world2pix(*hst.wcs.all_pix2world(390.6, 412.3, 0), 0)
    assert np.hypot(*np.subtract(centre, expected)) * 0.2 < 1e-4  # arcsec


@pytest.mark.law
def test_blank_pixels_are_masked():
    rng = np.random.default_rng(1)
    values = rng.random((600, 600)) + 1
    values[300:310, 300:310] = 0.0
    values[0, 0] = np.nan
    hst = image_of(values, turned(0.05, 0.0))
    muse = image_of(np.zeros((100, 100)), turned(0.2, 0.0))
    out = imphot.regrid_hst_like_muse(hst, muse, inplace=False)
    iy, ix = np.nonzero(out.mask)
    assert out.mask[50:52, 50:52].all()
    assert 9 <= out.mask.sum() <= 36 and iy.min() > 45 and ix.max() < 56
    assert np.isfinite(out.values).all()


@pytest.mark.law
def test_frame_smaller_than_the_field():
    hst = image_of(np.random.default_rng(1).random((200, 200)) + 1, turned(0.05, 0.0))
    muse = image_of(np.zeros((100, 100)), turned(0.2, 0.0))
    out = imphot.regrid_hst_like_muse(hst, muse, inplace=False)
    assert out.mask[0, 0] and not out.mask[50, 50]
    assert (~out.mask).sum() == pytest.approx(50**2, rel=0.1)


@pytest.mark.unit
def test_no_overlap():
    hst = image_of(np.ones((50, 50)), crval=(10.0, 20.0))
    with pytest.raises(imphot.UserError, match="overlap|same part of the sky"):
        imphot.regrid_hst_like_muse(hst, image_of(np.zeros((50, 50))))


@pytest.mark.unit
def test_cube_as_template(tmp_path):
    cube = np.zeros((3, 40, 40), np.float32)
    header = image_of(cube[0]).wcs_header()
    header.update({"CTYPE3": "AWAV", "CRVAL3": 5000.0, "CD3_3": 1.25, "CRPIX3": 1.0, "CUNIT3": "Angstrom"})
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube, header, "DATA")]).writeto(tmp_path / "cube.fits")
    hst = image_of(np.ones((400, 400)), turned(0.05, 0.0))
    assert imphot.regrid_hst_like_muse(hst, str(tmp_path / "cube.fits"), inplace=False).shape == (40, 40)


@pytest.mark.unit
def test_rescale():
    hst = image_of(np.full((5, 5), 2.0), FILTER="F775W")
    muse = image_of(np.zeros((5, 5)), unit="10**(-20)*erg/s/cm**2/Angstrom")
    out = imphot.rescale_hst_like_muse(hst, muse, inplace=False)
    np.testing.assert_allclose(out.values, 2.0 * 9.74)
    assert out.unit == muse.unit and hst.values[0, 0] == 2.0
    assert imphot.rescale_hst_like_muse(hst, muse) is hst and hst.values[0, 0] == pytest.approx(19.48)
    flux = image_of(np.full((5, 5), 3e-18), unit="erg/s/cm**2/Angstrom")
    np.testing.assert_allclose(imphot.rescale_hst_like_muse(flux, muse).values, 300.0)
    assert flux_unit_factor("10**(-20)*erg/s/cm**2/Angstrom") == pytest.approx(1e-20)
    assert flux_unit_factor("ELECTRONS/S") is None and flux_unit_factor("") is None


@pytest.mark.unit
def test_filters(peer_misc, tmp_path):
    for name, record in peer_misc["hst_filters"].items():
        info = imphot.HstFilterInfo(name)
        assert {k: getattr(info, k) for k in record} == record
    values = np.zeros((3, 3))
    assert imphot.HstFilterInfo(image_of(values, FILTER1="CLEAR1L", FILTER2="f814w")).filter_name == "F814W"
    header = imphot.HstFilterInfo(
        image_of(values, FILTER1=28, FILTNAM1="F606W", INSTRUME="WFPC2", PHOTFLAM=1.9e-18, PHOTPLAM=6001.3)
    )
    assert (header.photflam, header.source) == (1.9e-18, "header")
    assert header.abmag_zero == pytest.approx(23.0, abs=0.02)
    with pytest.raises(imphot.UserError, match="comes from WFPC2"):
        imphot.HstFilterInfo(image_of(values, FILTNAM1="F606W", INSTRUME="WFPC2"))
    with pytest.raises(imphot.UserError, match=r"Unrecognized filter \(F999W\)"):
        imphot.HstFilterInfo(image_of(values, FILTER="F999W"))
    with pytest.raises(imphot.UserError, match="No filter name"):
        imphot.HstFilterInfo(image_of(values))
    with pytest.raises(imphot.UserError, match="Unrecognized filter name"):
        imphot.HstFilterInfo("F123X")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("size", "cd", "move", "aligned"),
    [
        (150, turned(0.2, 0.0), 0.0, True),
        (150, turned(0.2, 0.0), 0.005, True),
        (150, turned(0.2, 0.0), 0.015, False),
        (150, turned(0.2, 0.1), 0.0, False),
        (150, turned(0.2002, 0.0), 0.0, False),
        (60, turned(0.2, 0.1), 0.0, False),
        (60, turned(0.2002, 0.0), 0.0, False),
        (149, turned(0.2, 0.0), 0.0, False),
    ],
)
def test_grids(size, cd, move, aligned):
    first = image_of(np.zeros((max(size, 150) if size > 100 else size,) * 2))
    second = image_of(np.zeros((size, size)), cd)
    if size == 149:
        assert not imphot.image_grids_aligned(first, second)
        return
    second.wcs.wcs.crval = second.wcs.wcs.crval + [0, move / 3600]
    assert imphot.image_grids_aligned(first, second) is aligned


class Fit:
    """Just what apply_corrections looks at."""

    def __init__(self, dx, dy, scale, bg):
        self.dx, self.dy = imphot.FittedValue(value=dx), imphot.FittedValue(value=dy)
        self.scale, self.bg = imphot.FittedValue(value=scale), imphot.FittedValue(value=bg)


@pytest.mark.golden
def test_corrections_as_recorded(golden, peer_misc):
    record = peer_misc["corrections"]
    fit = Fit(**record["fit"])
    name = str(golden / "pairs" / "g02_typical_muse.fits")
    for words in ("xy", "scale", "zero", "scale,zero", "xy,scale,zero"):
        expected = record[{"xy,scale,zero": "all_wcs"}.get(words, words)]
        out = imphot.apply_corrections(name, fit, words)
        np.testing.assert_allclose(out.wcs.wcs.crpix, expected["crpix"], atol=1e-9)
        for place, value in expected["data"].items():
            y, x = (int(n) for n in place.split(","))
            assert out.values[y, x] == pytest.approx(value, rel=1e-5, abs=1e-6)
        assert out.var[75, 75] == pytest.approx(expected["var_75_75"], rel=1e-5)


@pytest.mark.law
def test_corrections():
    iy, ix = np.mgrid[:90, :100]
    truth = moffat_profile(((iy - 40.3) ** 2 + (ix - 52.8) ** 2) * 0.04, 0.68, 2.5)
    moved = moffat_profile(((iy - 42.0) ** 2 + (ix - 51.3) ** 2) * 0.04, 0.68, 2.5)
    im = image_of(moved * 0.9 + 5.0, unit="")
    fit = Fit(-1.5 * 0.2, 1.7 * 0.2, 0.9, 5.0)
    out = imphot.apply_corrections(im, fit, " xy, scale ,ZERO", resample=True)
    # no smoothing: the peak is kept to 0.2 %, against 8 % lost by the un-prefiltered quadratic spline
    assert np.abs(out.values - truth)[~out.mask].max() < 0.002 * truth.max()
    assert out.wcs.wcs.crpix[0] == im.wcs.wcs.crpix[0] and out.var is None
    assert im.values[0, 0] == pytest.approx(moved[0, 0] * 0.9 + 5)
    same = imphot.apply_corrections(im, fit, inplace=True)
    assert same is im
    with pytest.raises(imphot.UserError, match="Unknown corrections"):
        imphot.apply_corrections(im, fit, "xy,flux")

# SPDX-License-Identifier: BSD-3-Clause
"""Inputs that cannot work: always a UserError that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

import imphot
from imphot.images import as_sky_image


def changed(pair, change):
    muse = as_sky_image(pair[1]).copy()
    change(muse)
    return muse


@pytest.mark.unit
@pytest.mark.parametrize("method", ["fourier", "image"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"regions": ["image; -box(40,40,500,500,0)"]}, "exclude the whole image"),
        ({"regions": ['fk5; circle(10,10,3")']}, "None of the regions to include"),
        ({"extramask": np.ones((80, 80))}, "All pixels"),
        ({"extramask": np.ones((3, 3))}, "wrong dimensions"),
        ({"extramask": "nomask.fits"}, "Error reading mask file"),
        ({"regions": "no.reg"}, "Region file error"),
        ({"fix_dx": "abc"}, "not a number"),
        ({"fix_fwhm": -1.0}, "outside the allowed range"),
        ({"star": (1, 2)}, "tuple"),
        ({"init_dx": 400.0}, "larger than the image|no data|overlap"),
        ({"method": "magic"}, "Unknown method"),
        ({"margin": -1.0}, "margin"),
    ],
)
def test_options(pair, regridded, method, options, text):
    arguments = {"method": method, "fix_beta": 2.5, **options}
    with pytest.raises(imphot.UserError, match=text):
        imphot.fit_image_photometry(regridded if method == "fourier" else pair[0], pair[1], **arguments)


@pytest.mark.unit
def test_images(pair, tmp_path):
    def fit(hst, muse):
        return imphot.fit_image_photometry(hst, muse, method="image", fix_beta=2.5)

    nan = changed(pair, lambda m: (m.values.fill(np.nan), m.mask.fill(True)))
    with pytest.raises(imphot.UserError, match="All pixels of the MUSE image"):
        fit(pair[0], nan)
    far = changed(pair, lambda m: m.wcs.wcs.set() or setattr(m.wcs.wcs, "crval", [10.0, 10.0]))
    with pytest.raises(imphot.UserError, match="overlap|same part"):
        fit(pair[0], far)
    near = changed(pair, lambda m: setattr(m.wcs.wcs, "crval", m.wcs.wcs.crval + [0, 60.0 / 3600]))
    with pytest.raises(imphot.UserError, match="overlap|no data"):
        fit(pair[0], near)
    novar = changed(pair, lambda m: m.var.fill(0.0))
    with pytest.raises(imphot.UserError, match="without variance"):
        fit(pair[0], novar)
    hst = fits.open(pair[0])
    hst[0].header["FILTER"] = "F999W"
    with pytest.raises(imphot.UserError, match="F999W"):
        fit(hst, pair[1])
    hst[0].data[:] = np.nan
    hst[0].header["FILTER"] = "F775W"
    with pytest.raises(imphot.UserError, match="no data"):
        fit(hst, pair[1])
    hst.close()
    fits.PrimaryHDU(np.ones((9, 9))).writeto(tmp_path / "plain.fits")
    for hst_file, muse_file in (
        (str(tmp_path / "plain.fits"), pair[1]),
        (pair[0], str(tmp_path / "plain.fits")),
    ):
        with pytest.raises(imphot.UserError, match="no celestial coordinates"):
            fit(hst_file, muse_file)
    (tmp_path / "text.fits").write_text("not a FITS file", encoding="utf-8")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    for name in ("none.fits", str(tmp_path / "text.fits"), str(tmp_path / "empty.fits")):
        with pytest.raises(imphot.UserError, match="HST file"):
            fit(name, pair[1])
        with pytest.raises(imphot.UserError, match="MUSE file"):
            fit(pair[0], name)
    for thing in (3, None, np.ones((3, 3)), (np.ones((3, 3)), None)):
        with pytest.raises(imphot.UserError):
            fit(pair[0], thing)


@pytest.mark.unit
def test_small_errors_of_the_grid_are_noticed(pair, regridded):
    for turn in (0.1, -0.1):
        muse = as_sky_image(pair[1]).copy()
        c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        muse.wcs.wcs.cd = muse.wcs.wcs.cd @ np.array([[c, -s], [s, c]])
        with pytest.raises(imphot.UserError, match="not aligned"):
            imphot.fit_image_photometry(regridded, muse)
    muse = as_sky_image(pair[1]).copy()
    muse.wcs.wcs.cd = muse.wcs.wcs.cd * 1.001
    with pytest.raises(imphot.UserError, match="not aligned"):
        imphot.fit_image_photometry(regridded, muse)


@pytest.mark.unit
def test_unsupported_shape_is_named_and_the_rest_used(pair, caplog):
    regions = ["fk5; polygon(1,2,3,4,5,6)", "image; -circle(40,40,10)"]
    fit = imphot.fit_image_photometry(*pair, method="image", fix_beta=2.5, regions=regions)
    assert fit.npix == pytest.approx(6400 - 314, abs=10)
    assert "line 1" in caplog.text and "polygon" in caplog.text


@pytest.mark.unit
def test_images_without_variance_or_name(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    muse = as_sky_image(pair[1])
    image = (muse.values, None, None, muse.wcs)
    hst = as_sky_image(pair[0])
    hst.data_header["FILTER"] = "F775W"
    fit = imphot.fit_image_photometry(hst, image, method="image", fix_beta=2.5, save=True, apply=True)
    assert (
        fit.name == "muse"
        and (tmp_path / "muse_aligned.fits").exists()
        and (tmp_path / "muse_image.fits").exists()
    )
    weighted = imphot.fit_image_photometry(*pair, method="image", fix_beta=2.5)
    assert fit.dx.value == pytest.approx(weighted.dx.value, abs=1e-4)
    assert fit.dx.stdev == pytest.approx(weighted.dx.stdev, rel=0.02)

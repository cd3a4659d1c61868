# SPDX-License-Identifier: BSD-3-Clause
"""Inputs that cannot work: always a UserError that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

import imphot
from imphot.images.opening import as_sky_image


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
        ({"fix_dx": np.nan}, "fix_dx is not a finite number"),
        ({"init_dy": "inf"}, "init_dy is not a finite number"),
        ({"min_scale": "some"}, "min_scale is not a number"),
        ({"taper": None}, "taper is not a number"),
        ({"hst_fwhm": None}, "hst_fwhm is not a number"),
        ({"regions": 5}, "unknown kind"),
        ({"extramask": 7}, "unknown kind"),
        ({"mask_points": -1.5}, "must not be negative"),
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


@pytest.mark.unit
def test_words_and_lists_for_options(pair, regridded, star):
    """The word none, other cases of letters, lists in place of arrays."""
    plain = imphot.fit_image_photometry(regridded, pair[1], fix_beta="2.5", fix_dx="none", min_scale="0")
    assert plain.beta.fixed and plain.beta.value == 2.5 and not plain.dx.fixed
    upper = imphot.fit_image_photometry(regridded, pair[1], fix_beta=2.5, regions="NotStar", star=star)
    lower = imphot.fit_image_photometry(regridded, pair[1], fix_beta=2.5, regions="notstar", star=star)
    assert upper.summary() == lower.summary() != plain.summary()
    mask = np.zeros((80, 80))
    mask[:10] = 1.0
    given = [imphot.fit_image_photometry(*pair, method="image", extramask=m) for m in (mask, mask.tolist())]
    assert given[0].npix == given[1].npix == 70 * 80
    moved = [imphot.apply_corrections(pair[1], plain, words) for words in ("xy,zero", ["xy", "zero"])]
    assert np.array_equal(moved[0].values, moved[1].values)


@pytest.mark.unit
def test_options_of_the_other_engine_are_named(pair, regridded, caplog):
    imphot.fit_image_photometry(regridded, pair[1], fix_beta=2.5, mask_points=1.5)
    assert "no effect" in caplog.text
    for psf in ("psf.fits", np.zeros((5, 5)), np.ones(5)):
        with pytest.raises(imphot.UserError, match="HST PSF"):
            imphot.fit_image_photometry(*pair, method="image", hst_psf=psf)


@pytest.mark.unit
def test_scale_at_its_limit_is_flagged(pair, caplog):
    fit = imphot.fit_image_photometry(*pair, method="image", fix_beta=2.5, min_scale=1.3)
    assert fit.flag & 64 and not fit.flag & 2
    assert fit.scale.value == pytest.approx(1.3, abs=1e-3) and np.isnan(fit.scale.stdev)
    assert "scale at its lower limit" in caplog.text

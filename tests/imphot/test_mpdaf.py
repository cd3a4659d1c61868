# SPDX-License-Identifier: BSD-3-Clause
"""mpdaf images and cubes go in, and come out where they did before; the real pair that mpdaf carries."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import imphot
from imphot.images.opening import as_sky_image

pytestmark = pytest.mark.filterwarnings("ignore")  # mpdaf and its units speak up on import and on reading


def mpdaf_images(pair):
    from mpdaf.obj import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image(pair[0]), Image(pair[1])


@pytest.mark.unit
def test_images(pair, tmp_path):
    hst, muse = mpdaf_images(pair)
    original = hst.data.sum()
    assert imphot.rescale_hst_like_muse(hst, muse) is hst
    assert hst.data.sum() == pytest.approx(9.74 * original, rel=1e-5)
    out = imphot.regrid_hst_like_muse(hst, muse, inplace=False)
    assert out is not hst and out.shape == muse.shape and hst.shape != muse.shape
    assert imphot.image_grids_aligned(out, muse)
    expected = imphot.regrid_hst_like_muse(imphot.rescale_hst_like_muse(pair[0], pair[1]), pair[1])
    np.testing.assert_allclose(out.data.filled(0), expected.values, rtol=1e-4, atol=1e-4)
    out.write(str(tmp_path / "out.fits"))
    assert imphot.image_grids_aligned(str(tmp_path / "out.fits"), pair[1])
    fit = imphot.fit_image_photometry(out, muse, fix_beta=2.5)
    same = imphot.fit_image_photometry(expected, pair[1], fix_beta=2.5)
    assert fit.dx.value == pytest.approx(same.dx.value, abs=1e-5) and fit.name == "field_muse"
    fixed = imphot.apply_corrections(muse, fit)
    assert type(fixed) is type(muse) and fixed is not muse
    np.testing.assert_allclose(
        fixed.wcs.wcs.wcs.crpix - muse.wcs.wcs.wcs.crpix, [fit.dx.value / 0.2, fit.dy.value / 0.2]
    )
    np.testing.assert_allclose(fixed.data, (muse.data - fit.bg.value) / fit.scale.value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fixed.var, muse.var / fit.scale.value**2, rtol=1e-5)
    assert imphot.apply_corrections(muse, fit, resample=True, inplace=True) is muse


@pytest.mark.unit
@pytest.mark.parametrize("method", [None, "image"])
def test_fits_of_mpdaf_images_and_files_agree(pair, regridded, star, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = (regridded if method is None else pair[0], pair[1])
    images = mpdaf_images(names)
    for function, options in (
        (imphot.fit_image_photometry, {"fix_beta": 2.5, "save": True, "apply": True}),
        (imphot.fit_star_photometry, {"star": star, "apply": True}),
        (imphot.fit_image_and_star_photometry, {"star": star, "apply": True, "resample": True}),
    ):
        found = [np.atleast_1d(function(*given, method=method, **options)) for given in (images, names)]
        for one, other in zip(*found, strict=True):
            assert one.dx.value == pytest.approx(other.dx.value, abs=2e-6)
            assert one.scale.value == pytest.approx(other.scale.value, abs=2e-6)
    sky = as_sky_image(images[1])
    fit = found[0][0]
    assert isinstance(imphot.apply_corrections(sky, fit), type(sky))


@pytest.mark.unit
def test_cube(tmp_path):
    from mpdaf.obj import Cube

    from tests.imphot.test_bandpass import write_cube

    rng = np.random.default_rng(1)
    name = write_cube(tmp_path / "c.fits", rng.random((20, 6, 7)), rng.random((20, 6, 7)) + 0.5)
    lam, curve = np.array([5003.0, 5010.0, 5018.0]), np.array([0.2, 1.0, 0.1])
    image = imphot.bandpass_image(Cube(name), lam, curve)
    plain = imphot.bandpass_image(name, lam, curve)
    assert type(image).__name__ == "Image"
    np.testing.assert_allclose(image.data, plain.values, rtol=1e-9)
    np.testing.assert_allclose(image.var, plain.var, rtol=1e-9)


@pytest.mark.unit
def test_hubble_deep_field_south(tmp_path):
    """The packaged MUSE and WFPC2 images: both engines agree as well as a 20 arcsec field allows."""
    folder = Path(find_spec("mpdaf").origin).parent / "data" / "obj"
    hst, muse = str(folder / "HST-HDFS.fits"), str(folder / "IMAGE-HDFS-1.34.fits")
    grid = imphot.regrid_hst_like_muse(imphot.rescale_hst_like_muse(hst, muse), muse)
    assert 9000 < (~grid.mask).sum() < 10100  # 20 x 20 arcsec
    fourier = imphot.fit_image_photometry(grid, muse, fix_beta=2.5)
    image = imphot.fit_image_photometry(hst, muse, method="image", fix_beta=2.5)
    # the index is not 2.5, and WFPC2 and MUSE do not agree on the coordinates; nothing else is wrong
    assert image.flag == 128 | 256
    assert image.rms_error < fourier.rms_error
    for fit in (fourier, image):
        assert (
            np.hypot(fit.dx.value, fit.dy.value) < 0.2
            and 0.55 < fit.fwhm.value < 0.75
            and 0.7 < fit.scale.value < 0.9
        )
    plain = as_sky_image(muse).copy()
    plain.filename = str(tmp_path / "m.fits")
    moved = imphot.apply_corrections(plain, image)
    again = imphot.fit_image_photometry(hst, moved, method="image", fix_beta=2.5)
    assert np.hypot(again.dx.value, again.dy.value) < 5e-3 and again.scale.value == pytest.approx(
        1.0, abs=5e-3
    )

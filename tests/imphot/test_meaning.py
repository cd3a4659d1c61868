# SPDX-License-Identifier: BSD-3-Clause
"""Images and cubes that can be read but mean nothing, and what products say of what was not measured."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from astropy.io import fits

import imphot
from imphot.hst.cubes import open_cube
from muse_core.framework import InputError, RecipeError, run_recipe
from tests.imphot.test_bandpass import write_cube

pytestmark = pytest.mark.unit
LAM = [7000.0, 8000.0]


def changed(pair, tmp_path, change, name="changed.fits"):
    path = tmp_path / name
    shutil.copy(pair[1], path)
    with fits.open(path, mode="update") as hdus:
        change(hdus)
    return path


def run(pair, muse, tmp_path, *more, **options):
    folder = tmp_path / "out"
    folder.mkdir(exist_ok=True)
    frames = [(muse, "IMAGE_FOV"), (pair[0], "HST_IMAGE"), *more]
    return run_recipe("muse_imphot", frames, {"nproc": 1, **options}, workdir=folder)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7e10])
def test_images_without_light(pair, tmp_path, value):
    muse = changed(pair, tmp_path, lambda hdus: hdus["DATA"].data.fill(value))
    with pytest.raises(RecipeError, match=r"changed\.fits.*All pixels of the MUSE image have the value"):
        run(pair, muse, tmp_path)
    for method in ("image", "star"):
        with pytest.raises(imphot.UserError, match="there is no light"):
            if method == "image":
                imphot.fit_image_photometry(pair[0], muse, method="image")
            else:
                imphot.fit_star_photometry(pair[0], muse, (150.1, -27.8, 3.0), method="image")


@pytest.mark.parametrize("name", ["STAT", "DQ"])
def test_planes_of_other_size(pair, tmp_path, name):
    def change(hdus):
        names = [hdu.name for hdu in hdus]
        if name in names:
            hdus[name].data = hdus[name].data[:-2]
        else:
            hdus.append(fits.ImageHDU(np.zeros((5, 5), np.uint8), name=name))

    with pytest.raises(RecipeError, match=f"{name} of the MUSE file .* has the size"):
        run(pair, changed(pair, tmp_path, change), tmp_path)


def test_files_without_their_data(pair, tmp_path):
    muse = changed(pair, tmp_path, lambda hdus: hdus.__delitem__("DATA"))
    with pytest.raises(RecipeError, match="holds no image"):
        run(pair, muse, tmp_path)
    cube = write_cube(
        tmp_path / "cube.fits", np.ones((5, 8, 8)), np.ones((5, 8, 8)), first=7000.0, step=100.0
    )
    with fits.open(cube, mode="update") as hdus:
        del hdus["DATA"]
    with pytest.raises(imphot.UserError, match="holds no cube"), open_cube(str(cube)):
        pass


def test_logarithmic_cubes(tmp_path):
    """The weights of planes that grow with wavelength: a cube of wavelengths gives the mean wavelength."""
    number = np.arange(200)
    lam = 7000.0 * np.exp(5.0 * number / 7000.0)
    values = np.broadcast_to(lam[:, None, None], (200, 6, 6)).astype(np.float32)
    cube = write_cube(tmp_path / "cube.fits", values, np.ones(values.shape), first=7000.0, step=5.0)
    with fits.open(cube, mode="update") as hdus:
        hdus["DATA"].header["CTYPE3"] = "AWAV-LOG"
    image = imphot.bandpass_image(str(cube), [7100.0, 7101.0, 7899.0, 7900.0], [0.0, 1.0, 1.0, 0.0])
    assert float(image.values.mean()) == pytest.approx(7500.0, abs=0.1)
    with open_cube(str(cube)) as source:
        np.testing.assert_allclose(source.wavelengths()[0], lam, rtol=1e-12)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("CTYPE3", "FREQ", "is FREQ, not wavelengths"),
        ("CUNIT3", "furlong", "no unit of wavelengths"),
        ("CUNIT3", "kg", "no unit of wavelengths"),
        ("CD3_3", -1.25, "do not increase"),
        ("CRVAL3", "x", "no wavelengths"),
    ],
)
def test_cubes_without_wavelengths(tmp_path, key, value, words):
    cube = write_cube(
        tmp_path / "cube.fits", np.ones((5, 8, 8)), np.ones((5, 8, 8)), first=7000.0, step=100.0
    )
    with fits.open(cube, mode="update") as hdus:
        hdus["DATA"].header[key] = value
    with pytest.raises(imphot.UserError, match=words), open_cube(str(cube)):
        pass


def test_a_scale_that_is_held_at_nothing(pair):
    for value in (0.0, -1.0):
        with pytest.raises(imphot.UserError, match="fix_scale must be positive"):
            imphot.fit_image_photometry(pair[0], pair[1], method="image", fix_scale=value)


def test_pipes_are_refused_at_once(pair, tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    for call in (
        lambda: imphot.fit_image_photometry(pair[0], str(tmp_path / "pipe.fits")),
        lambda: imphot.bandpass_image(str(tmp_path / "pipe.fits"), LAM, [1.0, 1.0]),
        lambda: imphot.fit_image_photometry(pair[0], pair[1], regions=tmp_path / "pipe.fits", method="image"),
        lambda: imphot.fit_image_photometry(
            pair[0], pair[1], extramask=str(tmp_path / "pipe.fits"), method="image"
        ),
    ):
        with pytest.raises(imphot.UserError, match="pipe"):
            call()


def test_names_in_other_letters_and_frames_that_are_used(pair, tmp_path):
    muse = changed(pair, tmp_path, lambda hdus: None, name="Objekt_\u00e4\u03b1.fits")
    other = tmp_path / "F606W.fits"
    shutil.copy(pair[0], other)
    with fits.open(other, mode="update") as hdus:
        hdus[0].header["FILTER"] = "F606W"
    curves = tmp_path / "filters.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("lambda", "D", array=LAM)], name="X")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(curves)
    more = ((other, "HST_IMAGE"), (curves, "FILTER_LIST"))
    products = run(pair, muse, tmp_path, *more, filter=fits.getval(pair[0], "FILTER"), fix_beta="2.5")
    header = fits.getheader(next(p.path for p in products if p.tag == "IMPHOT_TABLE"))
    assert fits.getdata(tmp_path / "out" / "IMPHOT_TABLE.fits", 1)["NAME"][0] == "Objekt_??"
    assert [header[key] for key in header if key.startswith("ESO PRO REC1 CAL") and key.endswith("CATG")] == [
        "HST_IMAGE"
    ]
    assert "ESO QC IMPHOT BETA ERR" not in header  # held
    assert header["ESO QC IMPHOT FWHM ERR"] > 0


def test_names_of_filters_count_as_they_are_written(tmp_path):
    from muse_core.photometry.settings import read_filter

    def curve(name, low):
        columns = [
            fits.Column("lambda", "D", array=[low, low + 100]),
            fits.Column("throughput", "D", array=[1, 1]),
        ]
        hdu = fits.BinTableHDU.from_columns(columns)
        hdu.header["EXTNAME"] = name
        return hdu

    path = tmp_path / "filters.fits"
    fits.HDUList([fits.PrimaryHDU(), curve("Johnson_V", 5000.0), curve("JOHNSON_V", 6000.0)]).writeto(path)
    assert read_filter(path, "Johnson_V")[0][0] == 5000.0
    assert read_filter(path, "JOHNSON_V")[0][0] == 6000.0
    with pytest.raises(imphot.UserError, match="choose one of JOHNSON_V, Johnson_V"):
        read_filter(path, "johnson_v")


@pytest.mark.parametrize("mjd", [0.0, 1e9])
def test_dates_that_cannot_be(pair, tmp_path, mjd):
    def change(hdus):
        hdus[0].header["MJD-OBS"] = mjd

    with pytest.raises(InputError, match=r"changed\.fits: keyword MJD-OBS"):
        run(pair, changed(pair, tmp_path, change), tmp_path)


@pytest.mark.parametrize(
    ("shape", "value", "words"), [((2001, 2001), 1.0, "at most 4000000 pixels"), ((9, 9), 0.0, "light")]
)
def test_images_of_a_psf(pair, tmp_path, shape, value, words):
    path = tmp_path / "psf.fits"
    fits.PrimaryHDU(np.full(shape, value, np.float32)).writeto(path)
    with pytest.raises(RecipeError, match=rf"psf\.fits: HST_PSF: .*{words}"):
        run(pair, pair[1], tmp_path, (path, "HST_PSF"))

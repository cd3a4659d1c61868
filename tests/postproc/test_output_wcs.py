# SPDX-License-Identifier: BSD-3-Clause
"""OUTPUT_WCS in every form that FITS allows gives the grid that is meant, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from muse_core.data.output_wcs import find_output_wcs, output_wcs_as_c, read_output_wcs
from muse_core.framework import Frame, InputError
from muse_core.resampling.grid import celestial_grid, distance_from_data, override_grid

pytestmark = pytest.mark.unit

ANGLE = np.radians(30.0)
STEP = 0.4 / 3600
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
CD = TURN @ np.diag([-STEP, STEP])
LIMITS = ((150.09, 150.11), (-30.21, -30.19), (4750.0, 9350.0))


def keywords(**changes) -> fits.Header:
    """The grid of all tests: CD matrix, degrees and Angstrom."""
    header = fits.Header()
    axes = (
        ("RA---TAN", "deg", 150.1, 70.0),
        ("DEC--TAN", "deg", -30.2, 45.0),
        ("AWAV", "Angstrom", 5905.0, 1.0),
    )
    for axis, (kind, unit, value, pixel) in enumerate(axes, 1):
        header[f"CTYPE{axis}"], header[f"CUNIT{axis}"] = kind, unit
        header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = value, pixel
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = CD[i - 1, j - 1]
    header["CD3_3"] = 2.5
    for key, value in changes.items():
        if value is None:
            header.remove(key)
        else:
            header[key] = value
    return header


def without_cd(header: fits.Header) -> fits.Header:
    for key in [key for key in header if key.startswith("CD")]:
        header.remove(key)
    return header


def pc_and_cdelt() -> fits.Header:
    header = without_cd(keywords())
    header["CDELT1"], header["CDELT2"], header["CDELT3"] = -STEP, STEP, 2.5
    pc = np.diag([-1 / STEP, 1 / STEP]) @ CD
    header["PC1_1"], header["PC1_2"], header["PC2_1"], header["PC2_2"] = pc.ravel()
    return header


def crota() -> fits.Header:
    header = without_cd(keywords())
    header["CDELT1"], header["CDELT2"], header["CDELT3"] = -STEP, STEP, 2.5
    header["CROTA2"] = 30.0
    return header


def arcseconds() -> fits.Header:
    header = keywords(CUNIT1="arcsec", CUNIT2="arcsec", CRVAL1=150.1 * 3600, CRVAL2=-30.2 * 3600)
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        header[key] *= 3600
    return header


FORMS = {
    "CD": keywords,
    "PC and CDELT": pc_and_cdelt,
    "CROTA": crota,
    "arcsec": arcseconds,
    "metres": lambda: keywords(CUNIT3="m", CRVAL3=5.905e-7, CD3_3=2.5e-10),
    "nanometres": lambda: keywords(CUNIT3="nm", CRVAL3=590.5, CD3_3=0.25),
    "unit A": lambda: keywords(CUNIT3="A"),
    "LINEAR": lambda: keywords(CTYPE3="LINEAR"),
    "astropy": lambda: WCS(keywords()).to_header(),
    "no units": lambda: keywords(CUNIT1=None, CUNIT2=None, CUNIT3=None),
}


def frame(path, header, shape=(10, 90, 140), extension=False) -> Frame:
    image = (fits.ImageHDU if extension else fits.PrimaryHDU)(np.zeros(shape, "u1"), header=header)
    fits.HDUList([fits.PrimaryHDU(), image] if extension else [image]).writeto(
        path / "wcs.fits", overwrite=True
    )
    return Frame(path / "wcs.fits", "OUTPUT_WCS")


def grid_of(header: fits.Header):
    return override_grid(celestial_grid(LIMITS, (150.1, -30.2), (0.2, 0.2, 1.25), (5e-5, 5e-5)), header)


@pytest.mark.parametrize("extension", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_all_forms_mean_the_same_grid(tmp_path, name, extension):
    grid = grid_of(read_output_wcs(frame(tmp_path, FORMS[name](), extension=extension)))
    assert (grid.nx, grid.ny, grid.nz) == (140, 90, 10)
    np.testing.assert_allclose(grid.matrix, CD, rtol=1e-12)  # degrees and radians in between
    np.testing.assert_allclose(grid.crval, (150.1, -30.2, 5905.0), rtol=1e-13)
    np.testing.assert_allclose(grid.crpix, (70.0, 45.0, 1.0), rtol=1e-13)
    assert grid.dlambda == 2.5
    assert grid.ctype[2] == "AWAV"


def test_cdelt_alone(tmp_path):
    header = without_cd(keywords())
    header["CDELT1"], header["CDELT2"], header["CDELT3"] = -STEP, STEP, 2.5
    grid = grid_of(read_output_wcs(frame(tmp_path, header)))
    np.testing.assert_allclose(grid.matrix, np.diag([-STEP, STEP]), rtol=1e-12)


def test_our_own_form_is_taken_to_the_last_bit(tmp_path):
    given = frame(tmp_path, keywords(CRVAL3=4749.9135742187, CD3_3=1.25))
    assert read_output_wcs(given) == find_output_wcs(given)


@pytest.mark.parametrize("extension", [False, True])
def test_c_passes_over_a_pc_matrix_only(tmp_path, extension):
    """PCOUNT, which every extension has, is none."""
    assert output_wcs_as_c(frame(tmp_path, keywords(), extension=extension)) is not None
    assert output_wcs_as_c(frame(tmp_path, pc_and_cdelt(), extension=extension)) is None


def test_logarithmic_wavelengths(tmp_path):
    header = keywords(CTYPE3="AWAV-LOG", CUNIT3="nm", CRVAL3=590.5, CD3_3=0.25)
    grid = grid_of(read_output_wcs(frame(tmp_path, header)))
    assert grid.log_wavelength
    assert (grid.crval[2], grid.dlambda) == (5905.0, 2.5)


@pytest.mark.parametrize("name", ["CD", "PC and CDELT", "arcsec"])
def test_an_image_leaves_the_wavelengths_to_the_data(tmp_path, name):
    header = FORMS[name]()
    for key in [key for key in header if "3" in key]:
        header.remove(key)
    grid = grid_of(read_output_wcs(frame(tmp_path, header, (90, 140))))
    np.testing.assert_allclose(grid.matrix, CD, rtol=1e-12)
    assert (grid.nx, grid.ny) == (140, 90)
    assert grid.crval[2] == 4750.0
    assert grid.dlambda == 1.25


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"CTYPE3": "WAVE"}, "wavelengths in air"),
        ({"CTYPE3": "FREQ", "CUNIT3": "Hz"}, "CTYPE3"),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}, "GLON-TAN"),
        ({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}, "RA---SIN"),
        ({"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN"}, "DEC--TAN"),
        ({"CUNIT3": "furlong"}, "CUNIT3"),
        ({"CD1_1": 0.0, "CD1_2": 0.0}, "singular|matrix"),
        ({"CD1_3": 1e-5}, "wavelength axis of its own"),
        ({"CD3_3": -2.5, "CUNIT3": "nm"}, "increase"),
        ({"CD3_3": -2.5}, "increase"),
        ({"CRVAL3": -1.0}, "increase"),
        ({"CRVAL1": "150 1 0"}, "keyword CRVAL1: expected a number"),
        ({"CRPIX2": True}, "keyword CRPIX2: expected a number"),
        ({"CD1_2": "abc"}, "keyword CD1_2: expected a number"),
        ({"CTYPE1": "PIXEL", "CTYPE2": "PIXEL", "CUNIT1": "", "CUNIT2": "", "CTYPE3": "WAVE"}, "in air"),
        ({"RADESYS": "FK4"}, "FK4"),
        ({"LONPOLE": 90.0}, "LONPOLE"),
    ],
)
def test_what_a_cube_cannot_have_is_refused(tmp_path, changes, text):
    with pytest.raises(InputError, match=text):
        read_output_wcs(frame(tmp_path, keywords(**changes)))


def test_a_grid_beside_the_data_is_told():
    grid = grid_of(keywords(NAXIS1=140, NAXIS2=90, NAXIS3=10))
    assert distance_from_data(grid, LIMITS) == ""
    far = grid_of(keywords(NAXIS1=140, NAXIS2=90, NAXIS3=10, CRVAL1=151.1))
    assert "pixels" in distance_from_data(far, LIMITS)
    assert "degrees" in distance_from_data(grid_of(keywords(NAXIS3=10, CRVAL1=330.0)), LIMITS)
    red = grid_of(keywords(NAXIS1=140, NAXIS2=90, NAXIS3=10, CRVAL3=9905.0))
    assert "Angstrom" in distance_from_data(red, LIMITS)

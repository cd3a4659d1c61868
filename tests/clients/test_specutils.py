# SPDX-License-Identifier: BSD-3-Clause
"""specutils knows our spectra and cubes without being told what they are; jdaviz asks the same readers."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from specutils import Spectrum, SpectrumList

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit

FLUX = 1e-20 * u.erg / u.s / u.cm**2 / u.Angstrom


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Paths of the products of muse_scipost with a sky model, by file name."""
    folder = tmp_path_factory.mktemp("spectra")
    simulation = simulate_scipost(folder / "in", seed=5, n_ifu=1, slices=8, lambda_range=(6285.0, 6330.0))
    (folder / "out").mkdir()
    options = {"skymethod": "model", "save": "cube,skymodel"}
    frames = simulation.frames(without=("SKY_CONTINUUM",))
    return {p.path.name: p.path for p in run_recipe("muse_scipost", frames, options, workdir=folder / "out")}


@pytest.mark.parametrize(
    ("name", "column"), [("SKY_SPECTRUM_0001.fits", "data"), ("SKY_CONTINUUM_0001.fits", "flux")]
)
@pytest.mark.parametrize("reader", [Spectrum, SpectrumList])
def test_spectra_are_recognised(products, name, column, reader):
    read = reader.read(products[name])
    spectrum = read[0] if reader is SpectrumList else read
    table = fits.getdata(products[name], 1)
    assert spectrum.flux.unit == FLUX
    assert np.array_equal(spectrum.flux.value, table[column])
    assert np.array_equal(spectrum.spectral_axis.to_value("Angstrom"), table["lambda"])


@pytest.mark.parametrize("reader", [Spectrum, SpectrumList])
def test_a_cube_is_recognised(products, reader):
    read = reader.read(products["DATACUBE_FINAL.fits"])
    cube = read[0] if reader is SpectrumList else read
    with fits.open(products["DATACUBE_FINAL.fits"]) as hdus:
        header = hdus["DATA"].header
        plane = np.arange(header["NAXIS3"])
        lam = header["CRVAL3"] + (plane + 1 - header["CRPIX3"]) * header["CD3_3"]
        assert np.array_equal(cube.flux.value, hdus["DATA"].data, equal_nan=True)
    assert cube.flux.unit == FLUX
    assert np.allclose(cube.spectral_axis.to_value("Angstrom"), lam, rtol=1e-12, atol=0.0)


def test_variances_of_a_cube_are_read_when_they_are_named(products):
    path = products["DATACUBE_FINAL.fits"]
    cube = Spectrum.read(path, uncertainty_hdu="STAT", uncertainty_type="var")
    assert cube.uncertainty.unit == FLUX**2
    assert np.array_equal(cube.uncertainty.array, fits.getdata(path, "STAT"), equal_nan=True)

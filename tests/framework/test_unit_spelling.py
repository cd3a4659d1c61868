# SPDX-License-Identifier: BSD-3-Clause
"""Units of products: astropy and mpdaf read them, and they are what the C recipes mean."""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from muse_core.framework import run_recipe
from muse_core.framework.unit_spelling import (
    FLUX_UNIT,
    c_spelling,
    factors,
    readable,
    respell_file,
    same_unit,
)
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit

FLUX = 1e-20 * u.erg / u.s / u.cm**2 / u.Angstrom


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FLUX_UNIT, FLUX),
        (f"({FLUX_UNIT})**2", FLUX**2),
        ("(count)**2", u.count**2),
        ("(adu)**2", u.adu**2),
        ("count", u.count),
        ("Angstrom**2", u.Angstrom**2),
        ("10**(-20)*erg/(s cm^2 arcsec^2)", FLUX * u.Angstrom / u.arcsec**2),
        ("10**(-20)erg.s**(-1).cm**(-2).angstrom**(-1)", FLUX),
        ("(10**(-20)*erg/(s cm^2 arcsec^2))**2", (FLUX * u.Angstrom / u.arcsec**2) ** 2),
    ],
)
@pytest.mark.parametrize("standard", [None, "fits"])
def test_units_of_the_c_recipes_become_readable(text, expected, standard):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unit = u.Unit(readable(text), format=standard)
    assert unit.is_equivalent(expected)
    assert unit.to(expected) == pytest.approx(1.0, rel=1e-12)
    assert readable(readable(text)) == readable(text)


@pytest.mark.parametrize(
    "text", ["", "boolean", "ELECTRONS/S", "(count)**2/s", "a/(b", "a/b/", "1/s/m", "x)**2"]
)
def test_other_texts_stay_as_they_are(text):
    assert readable(text) == text
    assert c_spelling(text) == text


@pytest.mark.parametrize(
    "text",
    [
        FLUX_UNIT,
        readable(FLUX_UNIT),
        "10**-20 Angstrom-1 cm-2 erg s-1",
        "10**(-20)erg.s**(-1).cm**(-2).angstrom**(-1)",
    ],
)
def test_one_unit_in_all_spellings(text):
    assert same_unit(text, FLUX_UNIT)
    assert not same_unit(text, "count")
    assert not same_unit(text, f"({FLUX_UNIT})**2")
    assert not same_unit(text, FLUX_UNIT.replace("20", "17"))


@given(st.text("10*(-2).^/ergscmA", max_size=40))
def test_any_text_is_survived(text):
    assert factors(text) is None or readable(text)
    assert readable(readable(text)) == readable(text)


def test_only_the_cards_of_units_change(tmp_path):
    path = tmp_path / "a.fits"
    image = fits.ImageHDU(np.arange(6.0).reshape(2, 3), name="DATA")
    image.header["BUNIT"] = (f"({FLUX_UNIT})**2", "it's a variance")
    image.header["OBJECT"] = FLUX_UNIT
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("lambda", "1D", unit="Angstrom", array=[1.0]),
            fits.Column("data", "1D", unit=FLUX_UNIT, array=[2.0]),
        ]
    )
    fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(path)
    before, size = fits.getheader(path, 1), path.stat().st_size
    respell_file(path)
    assert path.stat().st_size == size
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert hdus[1].header["BUNIT"] == "10**(-40)*erg**2/(s**2*cm**4*Angstrom**2)"
        assert hdus[1].header.comments["BUNIT"] == "it's a variance"
        assert [tuple(c) for c in hdus[1].header.cards if c.keyword != "BUNIT"] == [
            tuple(c) for c in before.cards if c.keyword != "BUNIT"
        ]
        assert hdus[2].columns.units == ["Angstrom", "10**(-20)*erg/(s*cm**2*Angstrom)"]
        assert hdus[1].data.sum() == 15.0


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Everything muse_scipost makes, calibrated."""
    folder = tmp_path_factory.mktemp("units")
    simulation = simulate_scipost(
        folder / "in", seed=5, n_ifu=1, slices=8, lambda_range=(6285.0, 6330.0), sky_mask="pixel"
    )
    (folder / "out").mkdir()
    options = {
        "skymethod": "simple",
        "save": "cube,individual,positioned,combined,skymodel",
        "filter": "white,RED",
    }
    return run_recipe("muse_scipost", simulation.frames(), options, workdir=folder / "out")


def units(path):
    """All units in a file, by extension and keyword."""
    with fits.open(path) as hdus:
        return {
            (hdu.name, key): hdu.header[key]
            for hdu in hdus
            for key in hdu.header
            if key == "BUNIT" or key.startswith("TUNIT")
        }


def test_all_units_of_a_reduction_can_be_read(products):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = {
            p.path.name: {key: u.Unit(text) for key, text in units(p.path).items()}
            for p in products
            if not p.tag.startswith("PIXTABLE")
        }
    assert read["DATACUBE_FINAL.fits"] == {("DATA", "BUNIT"): FLUX, ("STAT", "BUNIT"): FLUX**2}
    assert read["IMAGE_FOV_0001.fits"]["DATA", "BUNIT"] == FLUX
    assert FLUX**2 in read["SKY_SPECTRUM_0001.fits"].values()
    assert sum(len(found) for found in read.values()) > 7


def test_pixel_tables_keep_the_spelling_that_c_compares(products):
    for product in products:
        if product.tag.startswith("PIXTABLE"):
            assert units(product.path)["data", "BUNIT"] == FLUX_UNIT
            assert units(product.path)["stat", "BUNIT"] == f"({FLUX_UNIT})**2"


def test_checksums_and_md5_are_those_of_the_written_file(products):
    for product in products:
        with fits.open(product.path, checksum=True) as hdus:  # a wrong sum is a warning, an error here
            md5 = hashlib.md5()
            content = product.path.read_bytes()
            for hdu in hdus:
                info = hdu.fileinfo()
                md5.update(content[info["datLoc"] : info["datLoc"] + info["datSpan"]])
            assert md5.hexdigest() == hdus[0].header["DATAMD5"]


def test_mpdaf_reads_cube_and_pixel_table(products):
    from mpdaf.drs import PixTable
    from mpdaf.obj import Cube, Image

    paths = {p.path.name: str(p.path) for p in products}
    cube = Cube(paths["DATACUBE_FINAL.fits"])
    assert (cube.unit, cube.wave.unit) == (FLUX, u.Angstrom)
    assert Image(paths["IMAGE_FOV_0001.fits"]).unit == FLUX
    with pytest.warns(u.UnitsWarning, match="multiple slashes"):
        table = PixTable(paths["PIXTABLE_REDUCED_0001.fits"])
    assert table.unit_data == FLUX
    table.hdulist.close()

# SPDX-License-Identifier: BSD-3-Clause
"""musetools quicklook, compare and why."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.report.comparison import compare_files
from muse_core.simulate.scipost import simulate_scipost
from muse_core.tools import main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run of muse_scipost: its inputs and products."""
    folder = tmp_path_factory.mktemp("tools")
    simulation = simulate_scipost(folder / "in", seed=6, n_ifu=1, slices=12, lambda_range=(6850.0, 6862.0))
    (folder / "out").mkdir()
    options = {"skymethod": "simple", "save": "cube,skymodel,individual", "crsigma": 9.0}
    products = run_recipe("muse_scipost", simulation.frames(), options, workdir=folder / "out")
    return folder, {product.tag: product.path for product in products}


@pytest.mark.parametrize(
    "tag", ["DATACUBE_FINAL", "IMAGE_FOV", "PIXTABLE_REDUCED", "SKY_SPECTRUM", "SKY_MASK"]
)
def test_quicklook(made, tmp_path, monkeypatch, capsys, tag):
    _, products = made
    monkeypatch.chdir(tmp_path)
    assert main(["quicklook", str(products[tag])]) == 0
    picture = tmp_path / f"{products[tag].stem}.png"
    assert picture.stat().st_size > 10_000
    assert main(["quicklook", str(products[tag])]) == 1  # nothing of the user's is overwritten
    assert "--overwrite" in capsys.readouterr().err
    assert main(["quicklook", str(products[tag]), "--overwrite"]) == 0


def test_quicklook_of_anything_else(made, capsys):
    folder, _ = made
    assert main(["quicklook", str(next((folder / "in").glob("*response*.fits")))]) == 1
    assert "musetools report" in capsys.readouterr().err


def test_equal_files_are_the_same(made, capsys):
    _, products = made
    for tag in ("DATACUBE_FINAL", "PIXTABLE_REDUCED", "SKY_SPECTRUM"):
        assert main(["compare", str(products[tag]), str(products[tag])]) == 0
        assert capsys.readouterr().out.strip() == "the data are the same"


def test_differences_in_numbers_and_on_a_page(made, tmp_path, capsys):
    _, products = made
    other = tmp_path / "other.fits"
    shutil.copy(products["DATACUBE_FINAL"], other)
    with fits.open(other, mode="update") as hdus:
        hdus["DATA"].data[3, 5, 6] += 2.0
        hdus["DATA"].data[4, 5, 6] = np.nan
        hdus[0].header["OBJECT"] = "another"
        error = float(np.sqrt(hdus["STAT"].data[3, 5, 6]))
    found = compare_files(products["DATACUBE_FINAL"], other)
    data = next(numbers for numbers in found.numbers if numbers.name == "DATA")
    assert (data.different, data.not_finite) == (2, 1)
    assert data.largest == pytest.approx(2.0, rel=1e-5)
    assert data.chi > 0
    assert data.chi < 2.0 / error
    assert ("PRIMARY", "OBJECT", "SYNTH", "another") in found.keywords
    assert np.count_nonzero(found.maps["DATA"][np.isfinite(found.maps["DATA"])]) == 1
    page = tmp_path / "page.html"
    assert main(["compare", str(products["DATACUBE_FINAL"]), str(other), "-o", str(page)]) == 1
    text = capsys.readouterr().out
    assert "DATA: 2 of" in text
    assert "PRIMARY OBJECT: SYNTH | another" in text
    assert "Difference: DATA" in page.read_text()
    assert main(["compare", str(products["IMAGE_FOV"]), str(products["DATACUBE_FINAL"])]) == 1
    assert "pixels" in capsys.readouterr().out


def test_why_a_product_is_what_it_is(made, tmp_path, capsys):
    folder, products = made
    assert main(["why", str(products["DATACUBE_FINAL"])]) == 0
    text = capsys.readouterr().out
    assert "DATACUBE_FINAL of muse_scipost" in text
    assert "crsigma = 9" in text
    assert "STD_RESPONSE" in text
    again = tmp_path / "again"
    wanted = ["why", str(products["DATACUBE_FINAL"]), "--rerun", str(again)]
    assert main([*wanted, "--inputs", str(folder / "in")]) == 0
    assert "the data are the same" in capsys.readouterr().out
    assert (again / "DATACUBE_FINAL.fits").exists()
    assert main(["why", str(products["DATACUBE_FINAL"]), "--rerun", str(tmp_path / "b")]) == 1
    assert "--inputs" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    raw = next((folder / "in").glob("*response*.fits"))
    assert main(["why", str(raw)]) == 1
    assert "the name of a recipe" in capsys.readouterr().err


def test_why_takes_the_input_that_the_checksum_tells(tmp_path, capsys):
    from muse_core.framework.record import FileRecord
    from muse_core.tools.why import _find

    for number, checksum in enumerate(("", "other", "right")):
        (tmp_path / str(number)).mkdir()
        header = fits.Header([("DATAMD5", checksum)] if checksum else [])
        fits.PrimaryHDU(header=header).writeto(tmp_path / str(number) / "a[1].fits")
    assert _find(FileRecord("a[1].fits", "X", checksum="right"), [tmp_path, tmp_path]).parent.name == "2"
    assert _find(FileRecord("a[1].fits", "X", checksum="none"), [tmp_path]).parent.name == "0"
    assert capsys.readouterr().out == ""
    assert _find(FileRecord("a[1].fits", "X"), [tmp_path, tmp_path]).parent.name == "0"
    assert "3 files of this name" in capsys.readouterr().out

# SPDX-License-Identifier: BSD-3-Clause
"""Quality pages: what they say, that they need nothing else, that nothing in them is taken for HTML."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, run_recipe
from muse_core.framework.record import FileRecord, RunRecord, record_from_header
from muse_core.report.page import Page, Section, table
from muse_core.report.products import page_of_products
from muse_core.report.slices import slice_image
from muse_core.simulate.scipost import simulate_scipost
from muse_core.tools import main

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """Products of muse_scipost with its page."""
    folder = tmp_path_factory.mktemp("page")
    simulation = simulate_scipost(
        folder / "in", seed=4, n_ifu=2, slices=16, lambda_range=(6850.0, 6880.0), object_name=EVIL, seeing=0.7
    )
    (folder / "out").mkdir()
    options = {"skymethod": "simple", "save": "cube,skymodel,individual", "skymodel_fraction": 0.3}
    products = run_recipe("muse_scipost", simulation.frames(), options, workdir=folder / "out", report=True)
    return folder / "out", products


def test_page_of_muse_scipost(reduced):
    folder, products = reduced
    page = (folder / "muse_scipost_report.html").read_text()
    for title in (
        "Field",
        "Spectra of the brightest objects",
        "Background and noise",
        "Coverage and weights",
        "Sky",
        "Slices",
    ):
        assert re.search(rf"<h2 [^>]*>{title}", page), title
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "skymodel_fraction=0.3" in page
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    for product in products:
        assert product.path.name in page
    assert re.search(r"Rows left out as cosmic rays in each spaxel, all wavelengths: \d+\.", page)
    assert page.count('class="half"') + page.count('alt="map of ') >= 3


def test_record_for_programs(reduced):
    folder, products = reduced
    record = json.loads((folder / "muse_scipost_run.json").read_text())
    assert record["recipe"] == "muse_scipost"
    assert record["changed"]["skymodel_fraction"] == "0.3"
    assert {file["tag"] for file in record["inputs"]} >= {"PIXTABLE_OBJECT", "STD_RESPONSE"}
    assert [file["name"].rsplit("/")[-1] for file in record["products"]] == [p.path.name for p in products]
    assert all(file["checksum"] for file in record["products"])
    assert record["wall_s"] > 0
    assert record["steps"]["sky subtraction"] > 0
    header = fits.getheader(next(p.path for p in products if p.tag == "DATACUBE_FINAL"))
    assert record["quality"]["QC SCIPOST NDET"] == header["ESO QC SCIPOST NDET"]


def test_no_page_without_being_asked(reduced, tmp_path):
    _, products = reduced
    tables = [(p.path, p.tag) for p in products if p.tag == "PIXTABLE_REDUCED"]
    copy = tmp_path / "second.fits"
    with fits.open(tables[0][0]) as hdus:
        hdus[0].header["DATE-OBS"] = "2026-01-01T00:00:00.000"
        hdus.writeto(copy)
    frames = [*tables, (copy, "PIXTABLE_REDUCED")]
    for report in (False, True):
        folder = tmp_path / str(report)
        folder.mkdir()
        run_recipe("muse_exp_combine", frames, {"exposures": "image"}, workdir=folder, report=report)
        names = {path.name for path in folder.iterdir()}
        assert ("muse_exp_combine_report.html" in names) == report
        assert ("muse_exp_combine_run.json" in names) == report
    page = (tmp_path / "True" / "muse_exp_combine_report.html").read_text()
    assert "Mean number of exposures" in page


def test_pages_of_products_afterwards(reduced, tmp_path, capsys):
    """The header tells what the run was, as with products of the C recipes."""
    _, products = reduced
    wanted = [p.path for p in products if p.tag in ("DATACUBE_FINAL", "SKY_MASK", "SKY_SPECTRUM")]
    target = tmp_path / "page.html"
    assert main(["report", *map(str, wanted), "-o", str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    page = target.read_text()
    assert "<h1>muse_scipost</h1>" in page
    assert "skymodel_fraction" in page
    assert "STD_RESPONSE" in page
    recipe, html = page_of_products([p.path for p in products if p.tag == "IMAGE_FOV"])
    assert recipe == "muse_scipost"
    assert "Filter white." in html


def test_what_is_no_product_is_named(tmp_path, capsys):
    path = tmp_path / "other.fits"
    fits.PrimaryHDU().writeto(path)
    with pytest.raises(InputError, match=r"other\.fits: keyword ESO PRO CATG"):
        page_of_products([path])
    assert main(["report", str(tmp_path / "absent.fits")]) == 1
    assert "absent.fits" in capsys.readouterr().err


def test_all_text_is_escaped():
    record = RunRecord(EVIL, parameters={EVIL: EVIL}, warnings=[EVIL], quality={EVIL: EVIL})
    record.inputs = [FileRecord(EVIL, EVIL)]
    record.products = [FileRecord(EVIL, EVIL)]
    page = Page(EVIL, [EVIL], [(EVIL, EVIL)], [Section(EVIL, (EVIL, table((EVIL,), [(EVIL,)])))])
    html = page.html(record)
    assert EVIL not in html
    assert html.count("<script>") == 1


def test_the_verdict_counts_what_needs_a_look():
    record = RunRecord("r", quality={"QC SCIPOST FWHM MEDIAN": 9.0, "QC SCIPOST NDET": 3})
    assert "One point needs a look." in Page("").html(record)
    assert "Nothing stands out." in Page("").html(RunRecord("r"))
    assert "2 points need a look." in Page("", ["a"]).html(record)


def test_record_of_a_header_with_several_recipes():
    header = fits.Header()
    for number, name in ((1, "muse_scibasic"), (2, "muse_scipost"), (10, "muse_exp_combine")):
        header[f"HIERARCH ESO PRO REC{number} ID"] = name
    header["HIERARCH ESO PRO REC10 PARAM1 NAME"] = "save"
    header["HIERARCH ESO PRO REC10 PARAM1 VALUE"] = "cube"
    header["HIERARCH ESO PRO REC10 RAW1 NAME"] = "a.fits"
    header["HIERARCH ESO PRO REC10 RAW1 CATG"] = "PIXTABLE_REDUCED"
    record = record_from_header(header, [])
    assert record.recipe == "muse_exp_combine"
    assert record.parameters == {"save": "cube"}
    assert record.inputs == [FileRecord("a.fits", "PIXTABLE_REDUCED", "RAW")]


def test_slices_against_wavelength(reduced):
    """A slice with more light than the others is a stripe."""
    _, products = reduced
    path = next(Path(p.path) for p in products if p.tag == "PIXTABLE_REDUCED")
    image, edges, slices = slice_image(path, 20)
    assert image.shape == (32, 20)
    assert len(slices) == 32
    assert np.all(np.diff(edges) > 0)
    assert abs(np.nanmedian(image)) < 0.2 * np.nanstd(image) + 1e-6


def test_pages_of_single_steps(reduced, tmp_path):
    """Each step shows the table, or the cube, that it makes."""
    folder, _ = reduced
    tables = [
        (path, "PIXTABLE_OBJECT") for path in sorted((folder.parent / "in").glob("PIXTABLE_OBJECT*.fits"))
    ]
    for recipe, title in (("muse_scipost_correct_dar", "Slices"), ("muse_scipost_make_cube", "Field")):
        out = tmp_path / recipe
        out.mkdir()
        run_recipe(recipe, tables[:1], {}, workdir=out, report=True)
        assert re.search(rf"<h2 [^>]*>{title}", (out / f"{recipe}_report.html").read_text())


def test_a_fault_of_the_page_does_not_cost_the_products(reduced, tmp_path, monkeypatch, caplog):
    folder, _ = reduced
    table = sorted((folder.parent / "in").glob("PIXTABLE_OBJECT*.fits"))[0]

    def broken(_):
        raise ZeroDivisionError("nothing to draw")

    monkeypatch.setattr("muse_core.report.cube.page_of_files", broken)
    made = run_recipe(
        "muse_scipost_correct_dar", [(table, "PIXTABLE_OBJECT")], {}, workdir=tmp_path, report=True
    )
    assert all(product.path.exists() for product in made)
    assert "the quality page could not be made: ZeroDivisionError: nothing to draw" in caplog.text
    assert not (tmp_path / "muse_scipost_correct_dar_report.html").exists()


def test_what_was_not_done_is_said_once():
    record = RunRecord("r", quality={"QC SCIPOST CALIBRATED FLUX": False})
    html = Page("", ["QC SCIPOST CALIBRATED FLUX: no (no response)"]).html(record)
    assert "One point needs a look." in html


def test_a_damaged_table_is_named(reduced, tmp_path, capsys):
    _, products = reduced
    table = next(p.path for p in products if p.tag == "PIXTABLE_REDUCED")
    short = tmp_path / "short.fits"
    short.write_bytes(table.read_bytes()[:-40_000])
    assert main(["report", str(short)]) == 1
    assert "short.fits" in capsys.readouterr().err

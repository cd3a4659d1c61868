# SPDX-License-Identifier: BSD-3-Clause
"""muse_scibasic as a whole: products, options, laws."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.pixtable import open_pixtable
from muse_core.framework import run_recipe
from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_science import simulate_raw_science
from tests.basic.runs import SHIFT, columns, run, without

TABLE = "PIXTABLE_OBJECT_0001-02.fits"
ONE = {"nifu": 2, "skylines": "none", "saveimage": False}


@pytest.mark.unit
def test_products_are_complete(tiny_products):
    names = [
        f"{tag}_{k:04d}-{ifu:02d}.fits"
        for tag in ("OBJECT_RED", "PIXTABLE_OBJECT")
        for k in (1, 2)
        for ifu in (1, 2, 3)
    ]
    assert list(tiny_products) == names
    with fits.open(tiny_products["OBJECT_RED_0002-03.fits"], checksum=True) as hdus:
        assert [h.name for h in hdus] == ["CHAN03", "DATA", "DQ", "STAT"]
        head = hdus[0].header
        assert head["ESO DRS MUSE OVSC1 POLY NCOEFF"] > 1
        assert head["ESO QC SCIBASIC NSATURATED"] == (hdus["DQ"].data == 0x1000).sum() > 0
        assert hdus["DATA"].header["BUNIT"] == "count"
        assert not any("PRSC" in key or "OVSCX" in key for key in head)
    with fits.open(tiny_products["PIXTABLE_OBJECT_0002-03.fits"], checksum=True) as hdus:
        head = hdus[0].header
        assert head["ESO PRO CATG"] == "PIXTABLE_OBJECT"
        assert head["ESO PRO REC1 RAW1 NAME"] == "object1.fits"
        assert head["ESO PRO REC1 PARAM26 NAME"] == "merge"
        assert "ESO PRO REC1 PARAM27 NAME" not in head
        assert head["ESO DRS MUSE PIXTABLE TYPE"] == "GEOFULL"
        assert head["ESO DRS MUSE PIXTABLE EXP0 IFU03 SLICE48 XOFFSET"] > 0
        assert not any(key.startswith("ESO DRS MUSE OVSC") for key in head)
        flat = hdus["PIXTABLE_FLAT_FIELD"].data
        assert np.all(np.diff(flat["lambda"]) > 0)
        assert np.isfinite(flat["data"]).all()


@pytest.mark.unit
def test_tables_can_be_opened(tiny_products):
    table = open_pixtable(tiny_products[TABLE])
    assert table.rows == fits.getheader(tiny_products[TABLE], "data")["NAXIS2"]


@pytest.mark.law
def test_sky_lines_tell_the_wavelengths(tiny_products):
    for name, path in tiny_products.items():
        if name.startswith("PIXTABLE"):
            found = fits.getheader(path)["ESO QC SCIBASIC LAMBDA SHIFT"]
            assert found == pytest.approx(-SHIFT, abs=0.05)  # few pixels of 7.7 Angstrom


@pytest.mark.law
def test_threads_and_memory_do_not_matter(tiny, tiny_products, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "1")
    for name, path in run(tiny.raw, tmp_path, threads=1).items():
        with fits.open(path) as one, fits.open(tiny_products[name]) as other:
            for a, b in zip(one, other, strict=True):
                assert a.header.get("DATASUM") == b.header.get("DATASUM")
    assert all(path.suffix == ".fits" for path in tmp_path.iterdir())


@pytest.mark.law
def test_masters_may_be_merged_or_not(tiny_products, tmp_path):
    from tests.basic.conftest import TINY

    single = simulate_raw_science(
        tmp_path / "set", TINY, n_stars=2, shift=SHIFT, skyflats=0, illum=False, merged=False,
        calibrations=False,
    )  # fmt: skip
    products = run(single.raw, tmp_path, nifu=2)
    for name, values in columns(products[TABLE]).items():
        assert np.array_equal(values, columns(tiny_products[TABLE])[name])


@pytest.mark.law
def test_cropping_leaves_out_rows_and_no_more(tmp_path):
    """The detector sees more than the range of the mode; the rest of the table stays as it is."""
    setup = RawSetup(nx=144, ny=40, ifus=(2,), lambda_min=4500.0, lambda_max=9500.0)
    frames = simulate_raw_science(
        tmp_path / "set", setup, n_stars=1, skyflats=0, illum=False, calibrations=False
    ).raw
    whole = columns(run(frames, tmp_path / "a", crop=False, **ONE)[TABLE])
    cut = columns(run(frames, tmp_path / "b", **ONE)[TABLE])
    inside = (whole["lambda"] >= 4750) & (whole["lambda"] <= 9350)
    assert 0 < inside.sum() < inside.size
    for name, values in cut.items():
        assert np.array_equal(values, whole[name][inside]), name


@pytest.mark.unit
def test_one_ifu_has_files_of_its_own(tiny, tmp_path):
    """With ``merge``, too, as the C recipe has it."""
    products = run(tiny.raw, tmp_path, merge=True, nifu=2, resample=True)
    tags = ("OBJECT_RED", "OBJECT_RESAMPLED", "PIXTABLE_OBJECT")
    assert set(products) == {f"{tag}_000{number}-02.fits" for tag in tags for number in (1, 2)}


@pytest.mark.unit
def test_merged_images_are_those_of_the_ifus(tiny, tiny_products, tmp_path):
    products = run(tiny.raw, tmp_path, merge=True, resample=True)
    assert [name for name in products if not name.startswith("PIX")] == [
        f"OBJECT_{kind}_{k:04d}.fits" for kind in ("RED", "RESAMPLED") for k in (1, 2)
    ]
    with fits.open(products["OBJECT_RED_0001.fits"], checksum=True) as merged:
        assert len(merged) == 1 + 3 * 3
        with fits.open(tiny_products["OBJECT_RED_0001-02.fits"]) as single:
            for name in ("DATA", "DQ", "STAT"):
                assert np.array_equal(merged[f"CHAN02.{name}"].data, single[name].data)
            key = "ESO DRS MUSE OVSC3 MEAN"
            assert merged["CHAN02.DATA"].header[key] == single[0].header[key]
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".fits"]
    run(tiny.raw, tmp_path / "single", resample=True, nifu=2)
    with fits.open(tmp_path / "single" / "OBJECT_RESAMPLED_0001-02.fits") as single:
        with fits.open(products["OBJECT_RESAMPLED_0001.fits"]) as merged:
            assert np.array_equal(merged["CHAN02.DATA"].data, single["DATA"].data)
        assert single["DATA"].header["CD2_2"] == 1.25


@pytest.mark.unit
def test_tables_of_one_extension(tiny, tmp_path):
    plain = columns(run(tiny.raw, tmp_path / "a", **ONE)[TABLE])
    path = run(tiny.raw, tmp_path / "b", table_layout="table", **ONE)[TABLE]
    with fits.open(path) as hdus:
        for name, values in plain.items():
            assert np.array_equal(hdus[1].data[name], values)
        assert hdus[0].header["ESO PRO REC1 PARAM27 VALUE"] == "table"


@pytest.mark.unit
def test_reduced_images_lead_to_the_same_table(tiny, tiny_products, tmp_path):
    tables = [f for f in tiny.raw if f[1] in ("TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")]
    images = [(tiny_products[f"OBJECT_RED_{k:04d}-02.fits"], "REDUCED") for k in (1, 2)]
    products = run([*images, *tables], tmp_path, nifu=2)
    assert list(products) == [
        f"{tag}_{k:04d}-02.fits" for tag in ("PIXTABLE_REDUCED", "REDUCED_RED") for k in (1, 2)
    ]
    again = columns(products["PIXTABLE_REDUCED_0001-02.fits"])
    for name, values in columns(tiny_products[TABLE]).items():
        assert np.array_equal(again[name], values)
    head = fits.getheader(products["PIXTABLE_REDUCED_0001-02.fits"])
    assert head["ESO PRO REC2 ID"] == "muse_scibasic"
    with fits.open(products["PIXTABLE_REDUCED_0001-02.fits"]) as hdus:
        assert "PIXTABLE_FLAT_FIELD" not in [h.name for h in hdus]


@pytest.mark.law
def test_combined_exposures(tiny, tmp_path):
    """The mean of two exposures has the mean of their data and a quarter of the sum of their variances."""
    options = {"nifu": 2, "skylines": "none"}
    singles = run(tiny.raw, tmp_path / "a", **options)
    mean = run(tiny.raw, tmp_path / "b", combine="average", **options)
    assert list(mean) == ["OBJECT_RED_0001-02.fits", TABLE]
    with fits.open(mean["OBJECT_RED_0001-02.fits"]) as hdus:
        parts = [fits.open(singles[f"OBJECT_RED_{k:04d}-02.fits"]) for k in (1, 2)]
        good = (parts[0]["DQ"].data | parts[1]["DQ"].data) == 0
        data = sum(part["DATA"].data.astype(float) for part in parts) / 2
        stat = sum(part["STAT"].data.astype(float) for part in parts) / 4
        assert np.allclose(hdus["DATA"].data[good], data[good], rtol=1e-6, atol=1e-4)
        assert np.allclose(hdus["STAT"].data[good], stat[good], rtol=1e-6)
        for part in parts:
            part.close()


@pytest.mark.unit
def test_cosmic_rays_are_flagged(tiny, tiny_products, tmp_path, caplog):
    with caplog.at_level("INFO"):
        products = run(tiny.raw, tmp_path, cr="dcr", nifu=2)
    assert "affected pixels in image 1" in caplog.text
    before = fits.getdata(tiny_products["OBJECT_RED_0001-02.fits"], "DQ")
    with fits.open(products["OBJECT_RED_0001-02.fits"]) as hdus:
        new = (hdus["DQ"].data & 0x20) > 0
        assert np.array_equal(hdus["DQ"].data & ~0x20, before)
        # eight hits, some of them on other flags; in slices six pixels wide some of the sky lines, too
        assert 4 <= new.sum() <= 0.01 * new.size


@pytest.mark.unit
def test_report_is_written(tiny, tmp_path):
    run_recipe("muse_scibasic", tiny.raw, {}, workdir=tmp_path, threads=2, report=True)
    text = (tmp_path / "muse_scibasic_report.html").read_text()
    assert text.count("data:image/png") == 4
    assert "OBJECT 2" in text


@pytest.mark.unit
def test_laser_mode(tmp_path):
    setup = RawSetup(nx=144, ny=40, ifus=(4,), mode="WFM-AO-N", lambda_min=4600.0, lambda_max=9400.0)
    raw = simulate_raw_science(tmp_path / "set", setup, n_stars=1, skyflats=0, calibrations=False).raw
    products = run(raw, tmp_path, skylines="none")
    table = columns(products["PIXTABLE_OBJECT_0001-04.fits"])
    assert table["lambda"].min() >= 4700
    assert table["lambda"].max() <= 9350
    notch = (table["lambda"] > 5805) & (table["lambda"] < 5966)
    assert (table["dq"][notch] == 0x08000000).all()
    assert not (table["dq"][~notch] & 0x08000000).any()
    head = fits.getheader(products["PIXTABLE_OBJECT_0001-04.fits"])
    assert head["ESO DRS MUSE PIXTABLE ILLUM MEAN"] == pytest.approx(1)
    flat = columns(run(without(raw, "ILLUM"), tmp_path, skylines="none")["PIXTABLE_OBJECT_0001-04.fits"])
    s = table["origin"] & 63
    bright = np.abs(flat["data"]) > 5
    ratio = table["data"][bright] / flat["data"][bright]
    factors = [head[f"ESO DRS MUSE PIXTABLE ILLUM{number}"] for number in range(2, 48)]
    assert np.ptp(factors) > 0.05
    for number, factor in zip(range(2, 48), factors, strict=True):
        own = ratio[s[bright] == number]
        assert own.size > 20
        assert np.allclose(own, factor, rtol=1e-5)

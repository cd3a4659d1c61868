# SPDX-License-Identifier: BSD-3-Clause
"""IFUs and exposures that cannot be used, and what the headers then say."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import RecipeError, run_recipe
from tests.twilight.conftest import frames_of
from tests.twilight.recipe_runs import OPTIONS, data_of, edited, keywords, replaced, run


@pytest.mark.unit
def test_no_ifu_is_special(tiny, tmp_path, caplog, monkeypatch):
    def spoil(hdus):
        for h in hdus:
            if h.name == "CHAN01":
                h.data[:] = 65535

    frames = replaced(frames_of(tiny), "ILLUM", edited(tiny / "illum.fits", tmp_path / "illum.fits", spoil))
    with caplog.at_level("WARNING"):
        products = run(frames, tmp_path)
    assert "IFU 1 not used" in caplog.text
    assert "1 of 3 IFUs not used: 1" in caplog.text
    words = keywords(products["TWILIGHT_CUBE"])
    assert words["ESO QC TWILIGHT COMPLETE"] is False
    with pytest.raises(RecipeError, match="1 of 3 IFUs not used"):
        run_recipe("muse_twilight", frames, OPTIONS, workdir=tmp_path, strict=True)
    assert "ESO DRS MUSE FLAT FLUX SKY1" not in words
    assert "ESO DRS MUSE FLAT FLUX SKY3" in words
    monkeypatch.setenv("MUSE_RECIPES_COMPAT", "1")
    with pytest.raises(RecipeError, match="IFU 1"):
        run(frames, tmp_path)


@pytest.mark.unit
def test_missing_ifus_of_calibrations_are_reported(tiny, tmp_path, caplog):
    def drop(hdus):
        del hdus[[h.name for h in hdus].index("CHAN02")]

    frames = replaced(frames_of(tiny), "TRACE_TABLE", edited(tiny / "trace.fits", tmp_path / "t.fits", drop))
    with caplog.at_level("WARNING"):
        products = run(frames, tmp_path)
    assert "IFU 2 not used: no TRACE_TABLE with CHAN02" in caplog.text
    assert len([k for k in keywords(products["TWILIGHT_CUBE"]) if "SKY" in k]) == 2


@pytest.mark.unit
@pytest.mark.parametrize("tag", ["TRACE_TABLE", "WAVECAL_TABLE"])
def test_a_slice_that_failed_is_left_out(tiny, tmp_path, caplog, tag):
    """With SliceNo 0 and NaN, as the recipes write it; the level of the IFU does not depend on it."""

    def fail(hdus):
        table = hdus["CHAN02"]
        for name in table.columns.names:
            table.data[name][6] = 0 if name == "SliceNo" else np.nan

    whole = data_of(run(frames_of(tiny), tmp_path)["TWILIGHT_CUBE"])["data"]
    ((source, _),) = [frame for frame in frames_of(tiny) if frame[1] == tag]
    frames = replaced(frames_of(tiny), tag, edited(source, tmp_path / "t.fits", fail))
    with caplog.at_level("WARNING"):
        products = run(frames, tmp_path)
    assert "IFU 2: slice 7 has no trace or no wavelength solution: it is left out" in caplog.text
    seen = data_of(products["TWILIGHT_CUBE"])["data"]
    np.testing.assert_allclose(seen, whole, rtol=0.01)  # its rows are two per cent of those of the IFU


@pytest.mark.unit
def test_exposures_that_do_not_match_are_skipped(tiny, tmp_path, caplog, monkeypatch):
    def other_chip(hdus):
        hdus["CHAN02"].header["HIERARCH ESO DET CHIP ID"] = "another"

    odd = edited(tiny / "sky1.fits", tmp_path / "odd.fits", other_chip)
    frames = [(odd if f[0].name == "sky1.fits" else f[0], f[1]) for f in frames_of(tiny)]
    with caplog.at_level("WARNING"):
        products = run(frames, tmp_path)
    assert "CHIP ID" in caplog.text
    assert "ESO QC TWILIGHT2 INPUT1 MEAN" not in keywords(products["DATACUBE_SKYFLAT"])
    fourth = [*frames, (tiny / "sky1.fits", "SKYFLAT")]
    products = run(fourth, tmp_path)
    names = keywords(products["DATACUBE_SKYFLAT"])
    assert "ESO QC TWILIGHT2 INPUT2 MEAN" not in names
    assert "ESO QC TWILIGHT2 INPUT4 MEAN" in names
    monkeypatch.setenv("MUSE_RECIPES_COMPAT", "1")
    counted = keywords(run(fourth, tmp_path)["DATACUBE_SKYFLAT"])
    assert "ESO QC TWILIGHT2 INPUT3 MEAN" in counted
    assert "ESO QC TWILIGHT2 INPUT4 MEAN" not in counted


def test_header_is_that_of_a_sky_flat_that_was_used(tiny, tmp_path):
    """The first IFU is missing in the first sky flat."""

    def drop(hdus):
        hdus[0].header["OBJECT"] = "without the first IFU"
        del hdus[[h.name for h in hdus].index("CHAN01")]

    odd = edited(tiny / "sky0.fits", tmp_path / "odd.fits", drop)
    frames = [(odd if path.name == "sky0.fits" else path, tag) for path, tag in frames_of(tiny)]
    frames.append((tiny / "sky1.fits", "SKYFLAT"))
    for path in run(frames, tmp_path).values():
        assert fits.getheader(path)["OBJECT"] != "without the first IFU"


def test_headers_name_what_was_used(tiny, tmp_path):
    """Sky flats before the ILLUM, whatever the order of the set; none that no IFU used."""

    def spoil(hdus):
        for ifu in (1, 2, 3):
            hdus[f"CHAN{ifu:02d}"].header["HIERARCH ESO DET CHIP ID"] = "another"

    def more_keywords(hdus):
        hdus[0].header["HIERARCH ESO QC FOO"] = "primary"
        hdus[0].header["HIERARCH ESO INS FOO"] = "primary"
        for key in ("ESO QC FOO", "ESO INS FOO", "ESO QC BAR"):
            hdus["CHAN01"].header[f"HIERARCH {key}"] = "channel"
        hdus["CHAN01"].header["BARKEY"] = 7
        hdus["CHAN01"].header["CRPIX1"] = 1.0

    odd = edited(tiny / "sky1.fits", tmp_path / "odd.fits", spoil)
    first = edited(tiny / "sky0.fits", tmp_path / "first.fits", more_keywords)
    names = {"sky0.fits": first}
    frames = [(names.get(path.name, path), tag) for path, tag in frames_of(tiny)]
    frames = [f for f in frames if f[1] == "ILLUM"] + [f for f in frames if f[1] != "ILLUM"]
    for path in run([*frames, (odd, "SKYFLAT")], tmp_path).values():
        header = fits.getheader(path)
        found = {
            header[f"ESO PRO REC1 RAW{i} NAME"]: header[f"ESO PRO REC1 RAW{i} CATG"] for i in (1, 2, 3, 4)
        }
        assert list(found) == ["first.fits", "sky1.fits", "sky2.fits", "illum.fits"]
        assert found["illum.fits"] == "ILLUM"
        assert header["ESO PRO DATANCOM"] == 4
        assert (header["ESO QC FOO"], header["ESO QC BAR"], header["ESO INS FOO"]) == (
            "channel", "channel", "primary",
        )  # fmt: skip
        assert header["BARKEY"] == 7
        assert "CRPIX1" not in header

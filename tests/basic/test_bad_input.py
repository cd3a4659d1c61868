# SPDX-License-Identifier: BSD-3-Clause
"""What a user can get wrong, and IFUs that fail."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, ParameterError, RecipeError, run_recipe
from tests.basic.runs import edited, path_of, replaced, run, without

pytestmark = pytest.mark.unit
QUICK = {"skylines": "none", "saveimage": False}


def one_exposure(tiny):
    first = path_of(tiny.raw, "OBJECT")
    return [(first, "OBJECT"), *without(tiny.raw, "OBJECT")]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"nifu": 25}, "nifu"),
        ({"nifu": -2}, "nifu"),
        ({"overscan": "median"}, "overscan"),
        ({"skybinsize": 0.0}, "skybinsize"),
        ({"skybinsize": 1e-9}, "skybinsize"),
        ({"skyhalfwidth": 0.0}, "skyhalfwidth"),
        ({"skyhalfwidth": -1.0}, "skyhalfwidth"),
        ({"skyreject": "inf,15,1"}, "skyreject"),
        ({"skyreject": "15,15,inf"}, "skyreject"),
        ({"resample": True, "dlambda": 1e-5}, "dlambda"),
        ({"skylines": "5577.3,oxygen"}, "oxygen"),
        ({"skyreject": "1,2,3,4"}, "skyreject"),
        ({"dlambda": -1.0}, "dlambda"),
        ({"xbox": 0}, "xbox"),
        ({"thres": -1.0}, "thres"),
        ({"cr": "lacosmic2"}, "cr"),
        ({"combine": "mode"}, "combine"),
    ],
)
def test_bad_parameters(tiny, tmp_path, settings, text):
    with pytest.raises(ParameterError, match=text):
        run(tiny.raw, tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_before_anything_is_done(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "astroscrappy", None)
    with pytest.raises(ParameterError, match="pip install astroscrappy"):
        run(tiny.raw, tmp_path, lacosmic=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tag",
    ["OBJECT", "MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE"],
)
def test_missing_inputs_are_named(tiny, tmp_path, tag):
    with pytest.raises(InputError, match=tag):
        run(without(tiny.raw, tag), tmp_path)
    assert not list(tmp_path.iterdir())


def test_illum_alone_is_no_exposure(tiny, tmp_path):
    """The C recipe ends without product and without error."""
    frames = [(path, "ILLUM" if tag == "OBJECT" else tag) for path, tag in one_exposure(tiny)]
    with pytest.raises(InputError, match="OBJECT, STD, SKY, ASTROMETRY or REDUCED"):
        run(frames, tmp_path)


def test_two_illums_are_refused(tiny, tmp_path):
    first = path_of(tiny.raw, "OBJECT")
    with pytest.raises(InputError, match="at most one"):
        run([*tiny.raw, (first, "ILLUM"), (first, "ILLUM")], tmp_path)


def test_ifu_that_is_not_there(tiny, tmp_path):
    with pytest.raises(InputError, match=r"CHAN07.*CHAN01, CHAN02, CHAN03"):
        run(tiny.raw, tmp_path, nifu=7)


def test_all_faults_are_told_together(tiny, tmp_path):
    junk = tmp_path / "junk.fits"
    junk.write_text("no FITS")
    other = tmp_path / "other.fits"
    other.write_text("no FITS either")
    frames = replaced(replaced(tiny.raw, "GEOMETRY_TABLE", junk), "MASTER_FLAT", other)
    with pytest.raises(InputError) as caught:
        run([*frames, (junk, "TWILIGHT_CUBE")], tmp_path)
    assert len(caught.value.faults) >= 2


def _no_date(hdus):
    del hdus[0].header["DATE-OBS"]


def _no_exptime(hdus):
    del hdus[0].header["EXPTIME"]


@pytest.mark.parametrize(("change", "text"), [(_no_date, "DATE-OBS"), (_no_exptime, "EXPTIME")])
def test_raw_headers_that_lack_what_is_needed(tiny, tmp_path, change, text):
    """The C recipe makes everything and writes nothing without DATE-OBS, and no dark without EXPTIME."""
    bad = edited(path_of(tiny.raw, "OBJECT"), tmp_path / "bad.fits", change)
    with pytest.raises(InputError, match=text):
        run(replaced(tiny.raw, "OBJECT", bad), tmp_path)


def _no_mode(hdus):
    del hdus[0].header["ESO INS MODE"]


def _no_ra(hdus):
    del hdus[0].header["RA"]


@pytest.mark.parametrize("change", [_no_mode, _no_ra])
def test_headers_that_may_lack_something(tiny, tmp_path, change):
    """Without a mode the table is cut as in the nominal one; the flat field must not say another one."""
    bad = edited(path_of(tiny.raw, "OBJECT"), tmp_path / "bad.fits", change)
    frames = replaced(tiny.raw, "OBJECT", bad)
    if change is _no_mode:
        frames = replaced(
            frames, "MASTER_FLAT", edited(path_of(tiny.raw, "MASTER_FLAT"), tmp_path / "f.fits", change)
        )
    assert len(run(frames, tmp_path, nifu=1, **QUICK)) == 1


def _other_mode(hdus):
    hdus[0].header["ESO INS MODE"] = "NFM-AO-N"


def _other_read(hdus):
    hdus[0].header["ESO DET READ CURID"] = 7


def _zero(hdus):
    for hdu in hdus[1:]:
        if hdu.name.endswith("DATA"):
            hdu.data[:] = 0


@pytest.mark.parametrize(
    ("tag", "change", "text"),
    [
        ("MASTER_FLAT", _other_mode, "INS MODE"),
        ("MASTER_BIAS", _other_read, "READ CURID"),
    ],
)
def test_calibrations_of_another_setup(tiny, tmp_path, tag, change, text):
    bad = edited(path_of(tiny.raw, tag), tmp_path / "bad.fits", change)
    with pytest.raises(RecipeError, match=text):
        run(replaced(tiny.raw, tag, bad), tmp_path)


def test_overscan_parameters_other_than_those_of_the_bias_are_told(tiny, tmp_path, caplog):
    """C warns and goes on, too."""
    with caplog.at_level("WARNING"):
        assert run(one_exposure(tiny), tmp_path, nifu=1, overscan="vpoly:6", **QUICK)
    assert "made with other overscan parameters: overscan=vpoly (now vpoly:6)" in caplog.text


def test_boxes_that_do_not_fit_into_small_detectors_are_told(tiny, tmp_path, caplog):
    """Nothing is rejected in the overscan then, as in C."""
    with caplog.at_level("WARNING"):
        assert run(one_exposure(tiny), tmp_path, nifu=1, ovscreject="dcr:200,200,3,2.5", **QUICK)
    assert "do not fit, nothing rejected" in caplog.text


def test_flat_field_of_zeros_is_flagged(tiny, tmp_path):
    bad = edited(path_of(tiny.raw, "MASTER_FLAT"), tmp_path / "bad.fits", _zero)
    products = run(replaced(one_exposure(tiny), "MASTER_FLAT", bad), tmp_path, nifu=1, skylines="none")
    with fits.open(products["OBJECT_RED_0001-01.fits"]) as hdus:
        assert np.isfinite(hdus["DATA"].data).all()
        assert (hdus["DQ"].data != 0).all()


# --- IFUs that fail ---


def test_one_bad_ifu_does_not_stop_the_others(tiny, tmp_path, caplog):
    def drop(hdus):
        del hdus[[h.name for h in hdus].index("CHAN01")]

    bad = edited(path_of(tiny.raw, "TRACE_TABLE"), tmp_path / "t.fits", drop)
    with caplog.at_level("WARNING"):
        products = run(replaced(one_exposure(tiny), "TRACE_TABLE", bad), tmp_path / "out", **QUICK)
    assert [name[-7:-5] for name in products] == ["02", "03"]
    assert "IFU 1: no product: no TRACE_TABLE with CHAN01" in caplog.text
    assert "1 of 3 IFUs failed, see above: 1" in caplog.text
    for path in products.values():
        with fits.open(path, checksum=True) as hdus:
            assert hdus[0].header["ESO QC SCIBASIC COMPLETE"] is False
            assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)
    frames = replaced(one_exposure(tiny), "TRACE_TABLE", bad)
    made = run_recipe("muse_scibasic", frames, QUICK, workdir=tmp_path / "out")
    assert [product.complete for product in made] == [False, False]
    told = [record for record in caplog.records if "1 of 3 IFUs failed" in record.getMessage()]
    assert all(record.undone for record in told)  # an error in a strict run, which ends here for want of more
    with pytest.raises(RecipeError, match="an error because of 'strict'"):
        run_recipe("muse_scibasic", frames, QUICK, workdir=tmp_path / "out", strict=True)


@pytest.mark.parametrize("how", ["failed", "missing", "without a trace"])
def test_a_slice_without_solution_is_left_out(tiny, tmp_path, caplog, how):
    """With SliceNo 0 and NaN, as the recipes write it, or without its row."""

    def fail(hdus):
        table = hdus["CHAN02"]
        if how == "missing":
            table.data = np.delete(table.data, 6)
            return
        for name in table.columns.names:
            table.data[name][6] = 0 if name == "SliceNo" else np.nan

    tag = "TRACE_TABLE" if how == "without a trace" else "WAVECAL_TABLE"
    bad = edited(path_of(tiny.raw, tag), tmp_path / "t.fits", fail)
    whole = run(one_exposure(tiny), tmp_path / "whole", nifu=2, **QUICK)
    caplog.clear()
    products = run(replaced(one_exposure(tiny), tag, bad), tmp_path / "out", nifu=2, **QUICK)
    assert "IFU 2: slice 7 has no trace or no wavelength solution: it is left out" in caplog.text
    tables = [next(iter(p.values())) for p in (whole, products)]
    (before, data), (after, left) = (
        (fits.getdata(path, "ORIGIN") & 0x3F, fits.getdata(path, "DATA")) for path in tables
    )
    assert (before == 7).any()
    assert not (after == 7).any()
    np.testing.assert_array_equal(left, data[(before != 7).ravel()])


def test_the_command_tells_of_products_that_are_incomplete(tiny, tmp_path):
    def drop(hdus):
        del hdus[[h.name for h in hdus].index("CHAN01")]

    bad = edited(path_of(tiny.raw, "TRACE_TABLE"), tmp_path / "t.fits", drop)
    sof = tmp_path / "set.sof"
    frames = replaced(one_exposure(tiny), "TRACE_TABLE", bad)
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    out = tmp_path / "out"
    out.mkdir()
    words = [f"--output-dir={out}", "muse_scibasic", "--saveimage=false", "--skylines=none", str(sof)]
    program = [sys.executable, "-m", "muse_core.hosts.muserun"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stdout
    assert "products are incomplete" in done.stdout
    assert len(list(out.glob("PIXTABLE_*.fits"))) == 2


def test_truncated_raw_file_loses_only_its_end(tiny, tmp_path, caplog):
    raw = path_of(tiny.raw, "OBJECT").read_bytes()
    cut = tmp_path / "cut.fits"
    cut.write_bytes(raw[: 9 * len(raw) // 10 // 2880 * 2880])
    second = [path for path, tag in tiny.raw if tag == "OBJECT"][1]
    frames = [(cut, "OBJECT"), (second, "OBJECT"), *without(tiny.raw, "OBJECT")]
    with caplog.at_level("WARNING"):
        products = run(frames, tmp_path / "out", **QUICK)
    assert "truncated" in caplog.text
    assert [name[16:23] for name in products] == ["0001-01", "0001-02", "0002-01", "0002-02", "0002-03"]
    told = [fits.getval(path, "ESO QC SCIBASIC COMPLETE") for path in products.values()]
    assert told == [False, False, True, True, True]


def test_levels_that_are_not_those_of_the_bias_are_told_by_file(tiny, tmp_path):
    def level(hdus):
        for hdu in hdus[1:]:
            hdu.data[:] = 1

    bad = edited(path_of(tiny.raw, "OBJECT"), tmp_path / "ones.fits", level)
    with pytest.raises(RecipeError, match=r"no IFU could be processed: .*ones\.fits: CHAN01: found overscan"):
        run(replaced(one_exposure(tiny), "OBJECT", bad), tmp_path / "out", nifu=1, **QUICK)


def test_nothing_left_is_an_error(tiny, tmp_path):
    def drop(hdus):
        for hdu in hdus[1:]:
            hdu.data["tc2_00"][47] += 500.0

    bad = edited(path_of(tiny.raw, "TRACE_TABLE"), tmp_path / "t.fits", drop)
    with pytest.raises(RecipeError, match=r"no IFU could be processed.*slice 48"):
        run(replaced(one_exposure(tiny), "TRACE_TABLE", bad), tmp_path / "out", **QUICK)
    assert not list((tmp_path / "out").iterdir())


# --- exposures that are combined ---


def test_header_of_a_product_is_that_of_an_exposure_that_is_in_it(tiny, tmp_path, caplog):
    """IFU 2 is missing in the first exposure, so its product starts from the second one."""

    def drop(hdus):
        hdus[0].header["OBJECT"] = "first"
        del hdus[[h.name for h in hdus].index("CHAN02")]

    first, second = (path for path, tag in tiny.raw if tag == "OBJECT")
    bad = edited(first, tmp_path / "bad.fits", drop)
    frames = [(bad, "OBJECT"), (second, "OBJECT"), *without(tiny.raw, "OBJECT")]
    with caplog.at_level("WARNING"):
        products = run(frames, tmp_path / "out", combine="average", saveimage=False, skylines="none")
    assert "IFU 2: exposure skipped" in caplog.text
    for ifu, names in ((1, ["bad.fits", second.name]), (2, [second.name])):
        header = fits.getheader(products[f"PIXTABLE_OBJECT_0001-{ifu:02d}.fits"])
        assert [
            header[key] for key in header if key.startswith("ESO PRO REC1 RAW") and "NAME" in key
        ] == names
        assert (header["OBJECT"] == "first") == (ifu == 1)


def test_exposures_without_time_are_not_scaled(tiny, tmp_path, caplog):
    def no_time(hdus):
        hdus[0].header["EXPTIME"] = 0.0

    first, second = (path for path, tag in tiny.raw if tag == "OBJECT")
    bad = edited(second, tmp_path / "bad.fits", no_time)
    frames = [(first, "OBJECT"), (bad, "OBJECT"), *without(tiny.raw, "OBJECT", "MASTER_DARK")]
    with pytest.raises(RecipeError, match=r"bad\.fits: EXPTIME: expected a positive time"):
        run(frames, tmp_path / "out", combine="average", nifu=2, **QUICK)
    assert run(frames, tmp_path / "out", combine="average", scale=False, nifu=2, **QUICK)


def test_notes_of_all_combined_exposures_are_told(tiny, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        run(tiny.raw, tmp_path, combine="average", nifu=2, ovscreject="dcr:500,500,3,2.5", **QUICK)
    for path in (path for path, tag in tiny.raw if tag == "OBJECT"):
        assert f"{path.name}, IFU 2: dcr boxes of 500 x 500 pixels do not fit" in caplog.text

# SPDX-License-Identifier: BSD-3-Clause
"""The recipe as a whole: products, laws, failing IFUs, and every kind of bad input."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.raw import RawSetup, simulate_raw
from muse_core.simulate.raw_truth import check_truth
from tests.twilight.conftest import TINY, frames_of

OPTIONS = {"dlambda": 500.0}


def run(frames, folder, **settings):
    threads = settings.pop("threads", 2)
    products = run_recipe("muse_twilight", frames, OPTIONS | settings, workdir=folder, threads=threads)
    return {p.tag: p.path for p in products}


def data_of(path):
    with fits.open(path) as hdus:
        return {h.name.lower(): np.array(h.data) for h in hdus if h.data is not None}


def keywords(path):
    header = fits.getheader(path)
    return {k: header[k] for k in header if k.startswith(("ESO QC", "ESO DRS"))}


def replaced(frames, tag, path=None):
    """The frames with those of one tag replaced or left out."""
    rest = [f for f in frames if f[1] != tag]
    return rest + ([(path, tag)] if path else [])


def edited(source: Path, target: Path, change) -> Path:
    """A copy of a FITS file after ``change(hdus)``."""
    with fits.open(source, memmap=False) as hdus:
        hdus = fits.HDUList([h.copy() for h in hdus])
        change(hdus)
        hdus.writeto(target, overwrite=True)
    return target


# --- products ---


@pytest.mark.unit
def test_products_are_complete(tiny_products):
    cube, model = tiny_products["DATACUBE_SKYFLAT"], tiny_products["TWILIGHT_CUBE"]
    with fits.open(cube, checksum=True) as hdus:
        assert [h.header.get("EXTNAME") for h in hdus] == [None, "DATA", "STAT", "white"]
        head = hdus[0].header
        assert head["ESO PRO CATG"] == "DATACUBE_SKYFLAT"
        assert head["ESO PRO DATANCOM"] == 4
        assert head["ESO PRO SCIENCE"] is False
        assert head["ESO PRO REC1 PARAM24 NAME"] == "vignnfmmask"
        assert head["ESO QC TWILIGHT2 INPUT3 NSATURATED"] == 0
        assert not any("PRSC" in k or "OVSC" in k for k in head)
    with fits.open(model, checksum=True) as hdus:
        assert [h.header.get("EXTNAME") for h in hdus][1:] == [
            "DATA",
            "white_global_fit",
            "white_div_global",
            "white_div_global_DQ",
        ]
        assert np.isfinite(hdus["DATA"].data).all()
        assert not any(k.startswith("ESO QC") for k in hdus[0].header)
        assert hdus["DATA"].data.mean(axis=(1, 2)) == pytest.approx(1, abs=0.02)


@pytest.mark.law
def test_threads_and_memory_do_not_matter(tiny, tmp_path, monkeypatch):
    first = run(frames_of(tiny), tmp_path, threads=1)
    reference = [data_of(p) for p in first.values()]
    words = keywords(first["DATACUBE_SKYFLAT"])
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "1")
    second = run(frames_of(tiny), tmp_path, threads=3)
    assert keywords(second["DATACUBE_SKYFLAT"]) == words
    for before, path in zip(reference, second.values(), strict=True):
        after = data_of(path)
        assert all(np.array_equal(before[k], after[k], equal_nan=True) for k in before)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["DATACUBE_SKYFLAT.fits", "TWILIGHT_CUBE.fits"]


@pytest.mark.law
def test_one_file_per_ifu_is_the_same_as_merged(tiny, tmp_path):
    single = tmp_path / "single"
    simulate_raw(single, TINY, merged=False)
    out = tmp_path / "a", tmp_path / "b"
    for folder in out:
        folder.mkdir()
    a, b = run(frames_of(tiny), out[0]), run(frames_of(single), out[1])
    for tag in a:
        first, second = data_of(a[tag]), data_of(b[tag])
        assert all(np.array_equal(first[k], second[k], equal_nan=True) for k in first)
        assert keywords(a[tag]) == keywords(b[tag])


@pytest.mark.law
def test_illumination_is_recovered(tmp_path):
    setup = RawSetup(nx=256, ny=160, ifus=tuple(range(1, 9)), seed=7)
    simulate_raw(tmp_path / "set", setup)
    products = run(frames_of(tmp_path / "set"), tmp_path, dlambda=250.0)
    check = check_truth(products["TWILIGHT_CUBE"], setup)
    # required is 0.2 % rms; with few detector rows the ends of the wavelength range alone cost 0.15 %
    assert check.field < 0.002
    assert check.edge < 0.0025


@pytest.mark.unit
@pytest.mark.parametrize("mode", ["WFM-NOAO-N", "NFM-AO-N"])
def test_vignetted_field_comes_back(tmp_path, monkeypatch, mode):
    """The levels of the IFUs are right although some are vignetted; the C pipeline's are not (compat)."""
    ifus = tuple(range(1, 9)) if mode.startswith("WFM") else tuple(range(17, 25))
    setup = RawSetup(nx=384, ny=96, ifus=ifus, mode=mode, vignetting=0.3)
    simulate_raw(tmp_path / "set", setup)
    checks, words = [], []
    narrow = mode.startswith("NFM")
    for compat in (False,) if narrow else (False, True):  # with compat nothing goes without IFU 1
        monkeypatch.setenv("MUSE_RECIPES_COMPAT", "1" if compat else "0")
        folder = tmp_path / f"compat_{compat}"
        folder.mkdir()
        products = run(frames_of(tmp_path / "set"), folder)
        checks.append(check_truth(products["TWILIGHT_CUBE"], setup))
        words.append({tag: keywords(path) for tag, path in products.items()})
        assert np.ptp(data_of(products["TWILIGHT_CUBE"])["vign_fit"]) > 0.15
    right, as_c = checks[0], checks[-1]
    assert right.field < 0.002  # required of real detectors; small ones have fewer pixels to average
    assert right.edge < 0.0025
    assert right.vignetted < 0.008
    sky = [[w["TWILIGHT_CUBE"][f"ESO DRS MUSE FLAT FLUX SKY{i}"] for i in ifus] for w in words]
    measured = [words[0]["DATACUBE_SKYFLAT"][f"ESO QC TWILIGHT{i} INTFLUX"] for i in ifus]
    assert np.abs(np.divide(sky[0], measured) - 1).max() > 0.002
    if narrow:
        assert measured[-1] == measured[-2]
        assert sky[0][-1] != sky[0][-2]
    else:
        assert as_c.field > 1.5 * right.field
        assert as_c.vignetted > 1.1 * right.vignetted
        assert np.allclose(sky[1], measured, rtol=1e-6)


@pytest.mark.law
def test_slices_that_lose_rows_do_not_change_the_levels(tmp_path, monkeypatch):
    """The flux of an IFU whose slices leave the detector is that of fewer pixels (compat: as C, wrong)."""
    setup = RawSetup(nx=256, ny=96, ifus=tuple(range(1, 7)), slice_fill=0.92)
    simulate_raw(tmp_path / "set", setup)
    checks = []
    for compat in ("0", "1"):
        monkeypatch.setenv("MUSE_RECIPES_COMPAT", compat)
        (tmp_path / compat).mkdir()
        products = run(frames_of(tmp_path / "set"), tmp_path / compat)
        checks.append(check_truth(products["TWILIGHT_CUBE"], setup))
    assert checks[0].field < 0.002
    assert checks[1].field > 0.006


@pytest.mark.unit
def test_report_is_written(tiny, tmp_path):
    run_recipe("muse_twilight", frames_of(tiny), OPTIONS, workdir=tmp_path, threads=2, report=True)
    text = (tmp_path / "muse_twilight_report.html").read_text()
    assert "data:image/png" in text
    assert "<td>3</td>" in text


# --- IFUs that fail ---


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


# --- environment ---


@pytest.mark.unit
def test_external_scales_belong_to_the_data(tiny, tmp_path, monkeypatch, caplog):
    frames = frames_of(tiny)
    plain = run(frames, tmp_path)["DATACUBE_SKYFLAT"]
    words, data = keywords(plain), data_of(plain)["data"].copy()
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", "1.5,1.4")
    with caplog.at_level("WARNING"):
        assert np.array_equal(
            data_of(run(frames, tmp_path)["DATACUBE_SKYFLAT"])["data"], data, equal_nan=True
        )
    assert "2 values found instead of 24" in caplog.text
    fluxes = [words.get(f"ESO DRS MUSE FLAT FLUX SKY{i}", 0) for i in range(1, 25)]
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", ",".join(repr((f or 1) / fluxes[0] * 2) for f in fluxes))
    doubled = run(frames, tmp_path)["DATACUBE_SKYFLAT"]
    assert np.allclose(data_of(doubled)["data"] * 2, data, rtol=1e-6, equal_nan=True)
    for i, flux in enumerate(fluxes, 1):
        if flux:
            ratio = (
                keywords(doubled)[f"ESO DRS MUSE FLAT FLUX SKY{i}"]
                / keywords(doubled)["ESO DRS MUSE FLAT FLUX SKY1"]
            )
            assert ratio == pytest.approx(flux / fluxes[0])
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", ",".join(["1.0"] * 23 + ["x"]))
    with pytest.raises(RecipeError, match="value 24"):
        run(frames, tmp_path)


@pytest.mark.unit
def test_cube_to_use_again_must_be_one(tiny, tmp_path, monkeypatch):
    for name, text in ((tiny / "sky0.fits", "no data, white"), (tmp_path / "none.fits", "existing file")):
        monkeypatch.setenv("MUSE_TWILIGHT_SKIP", str(name))
        with pytest.raises(RecipeError, match=text):
            run(frames_of(tiny), tmp_path)


# --- bad input ---


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lambdamin": 9000.0, "lambdamax": 5000.0}, "lambdamin"),
        ({"dlambda": 0.0}, "dlambda"),
        ({"xorder": -1}, "xorder"),
        ({"yorder": 99}, "yorder"),
        ({"overscan": "median"}, "overscan"),
        ({"ovscreject": "dcr:x"}, "ovscreject|could not"),
        ({"ovscignore": -1}, "ovscignore"),
        ({"nlow": -1}, "nlow"),
        ({"lsigma": 0.0}, "lsigma"),
        ({"vignnfmmask": -3}, "vignnfmmask"),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_done(tiny, tmp_path, settings, text):
    with pytest.raises(InputError, match=text):
        run(frames_of(tiny), tmp_path, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lambdamin": 100.0, "lambdamax": 200.0}, "no IFU"),
        ({"ovscignore": 40}, "no IFU"),
        ({"xorder": 30, "yorder": 30}, "lower orders"),
        ({"dlambda": 0.001}, "dlambda"),
        ({"combine": "minmax", "nlow": 2, "nhigh": 2}, "IFU 1"),
    ],
)
def test_impossible_parameters_fail_with_the_reason(tiny, tmp_path, settings, text):
    with pytest.raises(RecipeError, match=text):
        run(frames_of(tiny), tmp_path, **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.unit
@pytest.mark.parametrize(
    "tag", ["SKYFLAT", "MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE"]
)
def test_missing_input_is_named(tiny, tmp_path, tag):
    with pytest.raises(InputError, match=tag):
        run(replaced(frames_of(tiny), tag), tmp_path)


@pytest.mark.unit
@pytest.mark.parametrize("tag", ["MASTER_DARK", "BADPIX_TABLE", "ILLUM"])
def test_optional_input_may_be_missing(tiny, tmp_path, tag):
    assert len(run(replaced(frames_of(tiny), tag), tmp_path)) == 2


@pytest.mark.unit
def test_an_illum_that_does_not_match_is_left_out(tiny, tmp_path, caplog):
    odd = edited(tiny / "illum.fits", tmp_path / "odd.fits", _other_read)
    frames = frames_of(tiny)
    without = data_of(run(replaced(frames, "ILLUM"), tmp_path)["DATACUBE_SKYFLAT"])["data"].copy()
    with caplog.at_level("WARNING"):
        product = run(replaced(frames, "ILLUM", odd), tmp_path)["DATACUBE_SKYFLAT"]
    assert "ILLUM not used" in caplog.text
    assert "READ CURID" in caplog.text
    assert np.array_equal(data_of(product)["data"], without, equal_nan=True)
    assert fits.getheader(product)["ESO PRO DATANCOM"] == 3


@pytest.mark.unit
def test_minmax_needs_what_it_drops_and_keeps(tiny, tmp_path):
    """As the C pipeline: three exposures are not enough for 1 + 1 + 2."""
    with pytest.raises(RecipeError, match="3 SKYFLAT frames have CHAN01, combine=minmax needs 4"):
        run(frames_of(tiny), tmp_path, combine="minmax", nkeep=2)


@pytest.mark.unit
def test_narrow_field_without_ifu_23(tmp_path, monkeypatch):
    """The C pipeline takes the flux 0 for IFU 24 and does not scale its data (compat)."""
    setup = RawSetup(nx=192, ny=40, ifus=(1, 24), mode="NFM-AO-N", ifu_scatter=0.2)
    simulate_raw(tmp_path / "set", setup, illum=False)
    found = []
    for compat in ("0", "1"):
        monkeypatch.setenv("MUSE_RECIPES_COMPAT", compat)
        (tmp_path / compat).mkdir()
        products = run(frames_of(tmp_path / "set"), tmp_path / compat)
        found.append(fits.getheader(products["TWILIGHT_CUBE"]))
    assert found[0]["ESO DRS MUSE FLAT FLUX SKY24"] > 0
    assert found[1]["ESO DRS MUSE FLAT FLUX SKY24"] == 0


@pytest.mark.unit
def test_two_skyflats_or_two_illums_are_refused(tiny, tmp_path):
    frames = frames_of(tiny)
    with pytest.raises(InputError, match=r"SKYFLAT.*at least 3"):
        run([f for f in frames if f[0].name != "sky2.fits"], tmp_path)
    with pytest.raises(InputError, match="ILLUM"):
        run([*frames, (tiny / "illum.fits", "ILLUM")], tmp_path)


@pytest.mark.unit
def test_all_faults_are_reported_together(tiny, tmp_path):
    junk = tmp_path / "junk.fits"
    junk.write_text("no FITS")
    other = tmp_path / "other.fits"
    other.write_text("no FITS either")
    frames = replaced(replaced(frames_of(tiny), "GEOMETRY_TABLE", junk), "MASTER_FLAT", other)
    with pytest.raises(InputError) as caught:
        run(frames, tmp_path, dlambda=-1.0)
    items = " ".join(f.item for f in caught.value.faults)
    assert len(caught.value.faults) == 3
    assert "dlambda" in items


def _no_wave(hdus):
    for h in hdus[1:]:
        h.data["wlc02"][20] = -5.0


def _outside(hdus):
    for h in hdus[1:]:
        h.data["tc2_00"][47] += 500.0


def _no_gain(hdus):
    for h in hdus[1:]:
        del h.header["ESO DET OUT3 GAIN"]


def _text_level(hdus):
    for h in hdus[1:]:
        h.header["ESO DRS MUSE OVSC2 MEAN"] = "high"


def _other_read(hdus):
    hdus[0].header["ESO DET READ CURID"] = 7


def _other_mode(hdus):
    hdus[0].header["ESO INS MODE"] = "NFM-AO-N"


def _small(hdus):
    for h in hdus[1:]:
        h.data = h.data[:-2]


def _zero(hdus):
    for h in hdus[1:]:
        if h.name.endswith("DATA"):
            h.data[:] = 0


def _negative(hdus):
    for h in hdus[1:]:
        if h.name.endswith("DATA"):
            h.data[:] *= -1


def _nan(hdus):
    for h in hdus[1:]:
        if h.name.endswith("DATA"):
            h.data[:] = np.nan


def _no_angle(hdus):
    hdus[1] = fits.BinTableHDU.from_columns([c for c in hdus[1].columns if c.name != "angle"])


def _no_slice(hdus):
    hdus[1].data["SliceCCD"][hdus[1].data["SliceCCD"] == 4] = 5


def _saturated(hdus):
    for h in hdus[1:]:
        h.data[:] = 65535


@pytest.mark.unit
@pytest.mark.parametrize(
    ("tag", "change", "text"),
    [
        ("WAVECAL_TABLE", _no_wave, r"CHAN01 slice 21.*monotonic"),
        ("TRACE_TABLE", _outside, r"CHAN02 slice 48.*leaving"),
        ("ILLUM", _no_gain, "CHAN01 ESO DET OUT3 GAIN"),
        ("MASTER_BIAS", _text_level, r"CHAN03.*OVSC2 MEAN"),
        ("MASTER_BIAS", _other_read, "READ CURID"),
        ("MASTER_FLAT", _other_mode, "INS MODE"),
        ("MASTER_FLAT", _small, r"384 x 80.*384 x 78"),
        ("MASTER_FLAT", _zero, "no IFU"),
        ("MASTER_FLAT", _negative, "no IFU"),
        ("MASTER_BIAS", _nan, "no IFU"),
        ("GEOMETRY_TABLE", _no_angle, "angle"),
        ("GEOMETRY_TABLE", _no_slice, r"IFU 1.*SliceCCD.*missing \[4\]"),
        ("ILLUM", _saturated, "no IFU"),
    ],
    ids=lambda v: v.__name__ if callable(v) else None,
)
def test_bad_files_are_named(tiny, tmp_path, caplog, tag, change, text):
    source = next(path for path, name in frames_of(tiny) if name == tag)
    bad = edited(source, tmp_path / "bad.fits", change)
    with caplog.at_level("WARNING"), pytest.raises(RecipeError, match=text):
        run(replaced(frames_of(tiny), tag, bad), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.fits"]
    if "no IFU" in text:
        assert caplog.text.count("not used:") >= 3


@pytest.mark.unit
def test_truncated_skyflat_loses_only_some_ifus(tiny, tmp_path, caplog):
    cut = tmp_path / "cut.fits"
    raw = (tiny / "sky0.fits").read_bytes()
    cut.write_bytes(raw[: 9 * len(raw) // 10 // 2880 * 2880])
    frames = [(cut if f[0].name == "sky0.fits" else f[0], f[1]) for f in frames_of(tiny)]
    with caplog.at_level("WARNING"):
        products = run(frames, tmp_path)
    assert "truncated" in caplog.text
    assert len([k for k in keywords(products["TWILIGHT_CUBE"]) if "SKY" in k]) == 2


@pytest.mark.unit
def test_mixed_and_double_masters_are_refused(tiny, tmp_path):
    single = tmp_path / "single"
    simulate_raw(single, TINY, merged=False)
    one = single / "master_flat-02.fits"
    with pytest.raises(InputError, match="merged"):
        run([*frames_of(tiny), (one, "MASTER_FLAT")], tmp_path)
    copy = tmp_path / "copy.fits"
    shutil.copy(one, copy)
    with pytest.raises(InputError, match=r"CHAN02.*once"):
        run([*frames_of(single), (copy, "MASTER_FLAT")], tmp_path)


@pytest.mark.unit
def test_minmax_with_saturated_pixels_stays_finite(tmp_path):
    setup = TINY.with_(saturated=0.01, ifus=(1,))
    simulate_raw(tmp_path / "set", setup)
    products = run(frames_of(tmp_path / "set"), tmp_path, combine="minmax")
    words = keywords(products["DATACUBE_SKYFLAT"])
    assert all(np.isfinite(v) for v in words.values())
    assert words["ESO QC TWILIGHT1 INPUT1 NSATURATED"] > 100

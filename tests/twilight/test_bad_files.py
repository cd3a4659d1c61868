# SPDX-License-Identifier: BSD-3-Clause
"""Damaged files and calibrations that do not belong to the data."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError
from muse_core.simulate.raw import simulate_raw
from tests.twilight.conftest import TINY, frames_of
from tests.twilight.recipe_runs import data_of, edited, keywords, replaced, run


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

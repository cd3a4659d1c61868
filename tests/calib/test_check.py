# SPDX-License-Identifier: BSD-3-Clause
"""Recipes refuse calibrations of another mode, read-out, field or detector, unless told otherwise."""

from __future__ import annotations

import logging

import pytest
from astropy.io import fits

from muse_core.calib.check import mismatches
from muse_core.calib.rules import load_rules
from muse_core.framework import InputError, run_recipe
from muse_core.framework.sof import load_sof
from muse_core.simulate.raw import RawSetup, simulate_raw
from tests.calib.archive import DPR, master, raw, write

pytestmark = pytest.mark.unit
RULES = load_rules()

NARROW = {"ESO__INS__MODE": "NFM-AO-N", "ESO__INS__OPTI2__NAME": "NFM"}
# rows of what the C recipes accept without an error: tag of the calibration, what differs
ROWS = {
    "bias of another read-out": ("MASTER_BIAS", {"ESO__DET__READ__CURNAME": "SCI2.0"}, True),
    "flat of another mode": ("MASTER_FLAT", {"ESO__INS__MODE": "WFM-NOAO-N"}, True),
    "flat of another read-out": ("MASTER_FLAT", {"ESO__DET__READ__CURNAME": "SCI2.0"}, True),
    "dark of another read-out": ("MASTER_DARK", {"ESO__DET__READ__CURNAME": "SCI2.0"}, True),
    "trace of another mode": ("TRACE_TABLE", {"ESO__INS__MODE": "WFM-NOAO-N"}, True),
    "wavelengths of another mode": ("WAVECAL_TABLE", {"ESO__INS__MODE": "WFM-NOAO-N"}, True),
    "twilight of the other field": ("TWILIGHT_CUBE", NARROW, True),
    "twilight without lasers": ("TWILIGHT_CUBE", {"ESO__INS__MODE": "WFM-NOAO-N"}, False),
    "geometry of the other field": ("GEOMETRY_TABLE", NARROW, False),
    "response of another mode": ("STD_RESPONSE", {"ESO__INS__MODE": "WFM-AO-E"}, True),
    "telluric of another mode": ("STD_TELLURIC", {"ESO__INS__MODE": "WFM-AO-E"}, True),
    "astrometry of the other field": ("ASTROMETRY_WCS", NARROW, True),
    "line profile of the other field": ("LSF_PROFILE", NARROW, True),
    "simulated for real data": ("STD_RESPONSE", {"SIMULATE": True}, True),
    "simulated extinction for real data": ("EXTINCT_TABLE", {"SIMULATE": True}, True),
    "simulated filters for real data": ("FILTER_LIST", {"SIMULATE": True}, True),
}  # fmt: skip


def worth_a_word(found):
    return [wrong for wrong in found if not wrong.usual]


@pytest.mark.parametrize("name", ROWS)
def test_each_row_is_found(tmp_path, name):
    tag, change, grave = ROWS[name]
    science = raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867")
    good = master(tmp_path / "good", tag, "2017-06-16T01:00:00.000", ifus=None)
    bad = master(tmp_path / "bad", tag, "2017-06-16T01:00:00.000", ifus=None, **change)
    assert list(mismatches([(science, "OBJECT")], [(good[0], tag)], RULES)) == []
    found = worth_a_word(mismatches([(science, "OBJECT")], [(bad[0], tag)], RULES))
    assert len(found) == 1 and found[0].grave is grave
    assert found[0].file == str(bad[0])


def test_an_illum_of_the_other_field_or_read_out(tmp_path):
    science = [(raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867"), "OBJECT")]
    for n, (mode, readout, count) in enumerate(
        (("WFM-NOAO-N", "SCI1.0", 0), ("NFM-AO-N", "SCI1.0", 1), ("WFM-AO-N", "SCI2.0", 1))
    ):
        illum = raw(
            tmp_path, "ILLUM", f"2017-06-16T01:0{n}:00.000", mode, **{"ESO DET READ CURNAME": readout}
        )
        assert len(worth_a_word(mismatches(science, [(illum, "ILLUM")], RULES))) == count


def test_detectors_are_compared_by_ifu(tmp_path):
    def chips(name):
        return [
            {"EXTNAME": f"CHAN{n:02d}", "ESO DET CHIP ID": f"{name if n == 1 else 'c'}{n}"} for n in (1, 2)
        ]

    cards = {"INSTRUME": "MUSE", "MJD-OBS": 57000.0, "ESO DET READ CURNAME": "SCI1.0"}
    catg, kind = DPR["OBJECT"]
    science = write(
        tmp_path / "s.fits", cards | {"ESO DPR CATG": catg, "ESO DPR TYPE": kind}, chips("egeria")
    )
    old = write(tmp_path / "old.fits", cards | {"ESO PRO CATG": "MASTER_BIAS"}, chips("psyche"))
    same = write(tmp_path / "same.fits", cards | {"ESO PRO CATG": "MASTER_BIAS"}, chips("egeria"))
    found = list(mismatches([(science, "OBJECT")], [(old, "MASTER_BIAS"), (same, "MASTER_BIAS")], RULES))
    assert [(w.item, w.expected, w.found) for w in found] == [
        ("ESO DET CHIP ID of IFU 1", "egeria1", "psyche1")
    ]


def test_absent_values_prove_nothing(tmp_path):
    science = raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867")
    silent = write(tmp_path / "r.fits", {"INSTRUME": "MUSE", "ESO PRO CATG": "STD_RESPONSE"})
    given = [(silent, "STD_RESPONSE"), (tmp_path / "absent", "STD_RESPONSE")]
    found = list(mismatches([(science, "OBJECT")], given, RULES))
    assert [(wrong.usual, wrong.found) for wrong in found] == [(True, "no such keyword")]


@pytest.fixture(scope="module")
def sky_flats(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    sof = simulate_raw(folder, RawSetup(nx=192, ny=48, ifus=(1, 2), cosmics=2), dark=False, badpix=False)
    with fits.open(folder / "trace.fits", mode="update") as hdus:
        hdus[0].header["ESO INS MODE"] = "WFM-AO-N"
    return folder, sof


def test_the_recipe_stops_and_says_what_to_do(sky_flats, tmp_path, monkeypatch):
    folder, sof = sky_flats
    monkeypatch.chdir(folder)
    with pytest.raises(InputError) as error:
        run_recipe("muse_twilight", load_sof(sof), workdir=tmp_path, threads=1)
    text = str(error.value)
    assert "trace.fits: ESO INS MODE: expected WFM-NOAO-N (as in sky0.fits), found WFM-AO-N" in text
    assert "calib_mismatch=warn" in text


@pytest.mark.parametrize("how", ["warn", "ignore", "compat"])
def test_the_recipe_goes_on_when_told(sky_flats, tmp_path, monkeypatch, caplog, how):
    folder, sof = sky_flats
    monkeypatch.chdir(folder)
    settings = {"compat": True} if how == "compat" else {"calib_mismatch": how}
    with caplog.at_level(logging.WARNING):
        products = run_recipe("muse_twilight", load_sof(sof), settings, workdir=tmp_path, threads=1)
    assert len(products) == 2
    assert any("trace.fits" in record.message for record in caplog.records) is (how != "ignore")

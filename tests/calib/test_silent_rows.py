# SPDX-License-Identifier: BSD-3-Clause
"""What the C recipes take without a word (measured with 2.8.7): each row is refused or told, by the index and
by the recipe itself. The files hold headers only, so a recipe goes no further than its checks."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from muse_core.calib.choose import choose, gap
from muse_core.calib.judging import Options
from muse_core.calib.places import open_library
from muse_core.calib.rules import load_rules
from muse_core.framework import InputError, run_recipe
from tests.calib.archive import master, raw, write

pytestmark = pytest.mark.unit
RULES = load_rules()
DATE = "2017-06-16T01:34:56.867"
NARROW = {"ESO__INS__MODE": "NFM-AO-N", "ESO__INS__OPTI2__NAME": "NFM"}
NO_LASER = {"ESO__INS__MODE": "WFM-NOAO-N"}
OTHER_READ_OUT = {"ESO__DET__READ__CURNAME": "SCI2.0"}

# recipe, tag, what differs, words of the index, words of the recipe, whether the recipe stops
ROWS = {
    "bias of another mode": (
        "muse_scibasic", "MASTER_BIAS", NO_LASER, "mode WFM-NOAO-N, the data have WFM-AO-N",
        "this calibration WFM-NOAO-N", False),
    "bias of another read-out": (
        "muse_scibasic", "MASTER_BIAS", OTHER_READ_OUT, "refused by readout",
        "(as in MUSE.2017-06-16T01:34:56.867.fits), found SCI2.0/1/1", True),
    "flat of another mode": (
        "muse_scibasic", "MASTER_FLAT", NO_LASER, "refused by mode",
        "(as in MUSE.2017-06-16T01:34:56.867.fits), found WFM-NOAO-N", True),
    "flat of another read-out": (
        "muse_scibasic", "MASTER_FLAT", OTHER_READ_OUT, "refused by readout", "found SCI2.0/1/1", True),
    "dark of another mode": (
        "muse_scibasic", "MASTER_DARK", NO_LASER, "mode WFM-NOAO-N, the data have WFM-AO-N",
        "this calibration WFM-NOAO-N", False),
    "trace of another mode": (
        "muse_scibasic", "TRACE_TABLE", NO_LASER, "refused by mode", "found WFM-NOAO-N", True),
    "wavelengths of another mode": (
        "muse_scibasic", "WAVECAL_TABLE", NO_LASER, "refused by mode", "found WFM-NOAO-N", True),
    "twilight without lasers": (
        "muse_scibasic", "TWILIGHT_CUBE", NO_LASER,
        "level 2, muse/2.8.7, mode WFM-NOAO-N, the data have WFM-AO-N",
        "this calibration WFM-NOAO-N", False),
    "twilight of the narrow field": (
        "muse_scibasic", "TWILIGHT_CUBE", NARROW, "refused by mode", "found NFM-AO-N", True),
    "geometry of the narrow field": (
        "muse_scibasic", "GEOMETRY_TABLE", NARROW, "field NFM, the data have WFM",
        "this calibration NFM", False),
    "ILLUM of the narrow field": (
        "muse_scibasic", "ILLUM", NARROW, "refused by mode", "), found NFM", True),
    "ILLUM of another read-out": (
        "muse_scibasic", "ILLUM", OTHER_READ_OUT, "refused by readout", "found SCI2.0/1/1", True),
    "ILLUM of another mode": (
        "muse_scibasic", "ILLUM", NO_LASER, "mode WFM-NOAO-N, the data have WFM-AO-N",
        "this calibration WFM-NOAO-N", False),
    "response of another mode": (
        "muse_scipost", "STD_RESPONSE", {"ESO__INS__MODE": "WFM-AO-E"}, "refused by mode",
        "found WFM-AO-E", True),
    "response without mode": (
        "muse_scipost", "STD_RESPONSE", None, "no mode in its header",
        "this calibration no such keyword", False),
    "telluric curve of another mode": (
        "muse_scipost", "STD_TELLURIC", NARROW, "refused by mode", "found NFM-AO-N", True),
    "telluric curve without mode": (
        "muse_scipost", "STD_TELLURIC", None, "no mode in its header",
        "this calibration no such keyword", False),
    "astrometry of the narrow field": (
        "muse_scipost", "ASTROMETRY_WCS", NARROW, "refused by mode", "), found NFM", True),
    "line profile of the narrow field": (
        "muse_scipost", "LSF_PROFILE", NARROW, "refused by mode", "found NFM-AO-N", True),
    "line profile without mode": (
        "muse_scipost", "LSF_PROFILE", None, "no mode in its header",
        "this calibration no such keyword", False),
    "twilight: bias of another read-out": (
        "muse_twilight", "MASTER_BIAS", OTHER_READ_OUT, "refused by readout", "found SCI2.0/1/1", True),
    "twilight: trace of another mode": (
        "muse_twilight", "TRACE_TABLE", NO_LASER, "refused by mode", "found WFM-NOAO-N", True),
}  # fmt: skip


def exposure(folder, recipe):
    if recipe == "muse_scipost":
        cards = {
            "INSTRUME": "MUSE", "ESO PRO CATG": "PIXTABLE_OBJECT", "MJD-OBS": 57920.0659, "EXTNAME": "CHAN01",
            "ESO INS MODE": "WFM-AO-N", "ESO INS OPTI2 NAME": "WFM", "ESO DET READ CURNAME": "SCI1.0",
            "ESO DET BINX": 1, "ESO DET BINY": 1,
        }  # fmt: skip
        return write(folder / "PIXTABLE_OBJECT_0001-01.fits", cards), "PIXTABLE_OBJECT"
    tag = "SKYFLAT" if recipe == "muse_twilight" else "OBJECT"
    return raw(folder, tag, DATE), tag


def wrong_one(folder, tag, change):
    if tag == "ILLUM":
        cards = {"ESO__INS__MODE": "WFM-AO-N"} | change
        return raw(folder, tag, "2017-06-16T01:25:02.100", cards.pop("ESO__INS__MODE"), **cards)
    if change is None:
        return master(folder, tag, "2017-06-16T01:00:00.000", None, ifus=None)[0]
    return master(folder, tag, "2017-06-16T01:00:00.000", ifus=None, **change)[0]


@pytest.mark.parametrize("name", ROWS)
def test_the_index_refuses_or_tells(tmp_path, name):
    recipe, tag, change, words, _, _ = ROWS[name]
    data, _ = exposure(tmp_path, recipe)
    wrong_one(tmp_path / "c", tag, change)
    library = open_library([tmp_path], RULES)
    target = library.target(Path(data))
    choice = choose(tag, target, library, RULES, Options(use=frozenset({tag})))
    told = choice.messages if choice.candidate else [gap(choice, target, RULES)]
    library.close()
    assert any(words in str(message) for message in told), [str(message) for message in told]


@pytest.mark.parametrize("name", ROWS)
def test_the_recipe_refuses_or_tells(tmp_path, name, caplog):
    recipe, tag, change, _, words, stops = ROWS[name]
    data = exposure(tmp_path, recipe)
    frames = [data] * (3 if recipe == "muse_twilight" else 1)
    wrong = wrong_one(tmp_path / "c", tag, change)
    others = {"muse_scipost": ("EXTINCT_TABLE", "STD_RESPONSE")}.get(
        recipe, ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")
    )
    for other in others:
        if other != tag:
            frames += [(master(tmp_path / "o", other, "2017-06-16T01:00:00.000", ifus=None)[0], other)]
    with caplog.at_level(logging.INFO), pytest.raises(InputError) as error:
        run_recipe(recipe, [*frames, (wrong, tag)], workdir=tmp_path, threads=1)
    refused = [line for line in str(error.value).splitlines() if str(wrong) in line and words in line]
    told = [
        r.getMessage() for r in caplog.records if str(wrong) in r.getMessage() and words in r.getMessage()
    ]
    assert bool(refused) is stops, str(error.value)
    assert stops or told


def test_a_second_twilight_cube_is_told(tmp_path, caplog):
    data = exposure(tmp_path, "muse_scibasic")
    cubes = [master(tmp_path / n, "TWILIGHT_CUBE", "2017-06-16T01:00:00.000", ifus=None)[0] for n in "ab"]
    with caplog.at_level(logging.WARNING), pytest.raises(InputError):
        run_recipe(
            "muse_scibasic", [data, *((cube, "TWILIGHT_CUBE") for cube in cubes)], workdir=tmp_path, threads=1
        )
    assert any(
        "a second one" in r.getMessage() and "both are applied" in r.getMessage() for r in caplog.records
    )


def test_two_lists_of_offsets_are_refused(tmp_path):
    cards = {"INSTRUME": "MUSE", "ESO PRO CATG": "PIXTABLE_REDUCED", "MJD-OBS": 57920.0, "EXPTIME": 10.0}
    tables = [write(tmp_path / f"t{n}.fits", cards) for n in (1, 2)]
    lists = [write(tmp_path / f"o{n}.fits", {"ESO PRO CATG": "OFFSET_LIST"}) for n in (1, 2)]
    frames = [*((t, "PIXTABLE_REDUCED") for t in tables), *((o, "OFFSET_LIST") for o in lists)]
    with pytest.raises(InputError, match="expected one list of offsets, found 2"):
        run_recipe("muse_exp_combine", frames, workdir=tmp_path, threads=1)


def test_tables_of_several_modes_are_told(tmp_path, caplog):
    cards = {"INSTRUME": "MUSE", "ESO PRO CATG": "PIXTABLE_REDUCED", "MJD-OBS": 57920.0, "EXPTIME": 10.0}
    tables = [
        write(tmp_path / f"{mode}.fits", cards | {"ESO INS MODE": mode}) for mode in ("WFM-AO-N", "WFM-AO-E")
    ]
    with caplog.at_level(logging.WARNING), pytest.raises(InputError):
        run_recipe(
            "muse_exp_combine", [(table, "PIXTABLE_REDUCED") for table in tables], workdir=tmp_path, threads=1
        )
    assert any("WFM-AO-E.fits: ESO INS MODE" in record.getMessage() for record in caplog.records)

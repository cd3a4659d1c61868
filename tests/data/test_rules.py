# SPDX-License-Identifier: BSD-3-Clause
"""Each rule of each input: a sound value passes, one beyond a limit is told with item, demand and finding."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import PIXELS, PLACES, broken, check, column, keyword
from muse_core.framework import Defects, registry
from muse_core.framework.errors import Problems
from muse_core.tools.rules import updated

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[2]
NAN = float("nan")
STEP = 0.2 / 3600
SOUND = {
    "PIXTABLE_OBJECT": {
        "EXPTIME": 600.0, "MJD-OBS": 57800.3, "RA": 150.1, "DEC": -30.2, "EQUINOX": 2000.0, "LST": 36000.0,
        "ESO INS DROT POSANG": 90, "ESO TEL PARANG START": -20.0, "ESO TEL GEOLON": -70.4,
        "ESO TEL GEOLAT": -24.6, "ESO TEL GEOELEV": 2648.0, "ESO TEL AIRM START": 1.2,
        "ESO TEL AMBI PRES START": 743.0, "ESO TEL AMBI TEMP": 11.5, "ESO TEL AMBI RHUM": 14.5,
        "ESO DRS MUSE FLAT FLUX SKY": 1.7e9, "ESO DRS MUSE FLAT FLUX LAMP": 2.1e9,
    },
    "STD_RESPONSE": {"lambda": [4600.0, 9400.0], "response": [39.1, 40.2], "resperr": [0.0, 0.01]},
    "EXTINCT_TABLE": {"lambda": [3000.0, 12000.0], "extinction": [1.2, 0.01]},
    "STD_TELLURIC": {"lambda": [6270.0, 9300.0], "ftelluric": [1.01, 0.2], "ftellerr": [0.01, 0.01]},
    "ASTROMETRY_WCS": {"CD1_1": -STEP, "CD1_2": 1e-7, "CD2_1": 1e-7, "CD2_2": STEP},
    "OFFSET_LIST": {"RA_OFFSET": [0.0, 1e-3], "DEC_OFFSET": [0.0, -1e-3], "FLUX_SCALE": [1.0, 0.9]},
    "SKY_LINES": {"lambda": [5577.3, 6300.3], "flux": [100.0, 20.0]},
    "SKY_CONTINUUM": {"lambda": [4600.0, 9400.0], "flux": [-0.2, 3.0]},
    "SKY_SPECTRUM": {"lambda": [4600.0, 9400.0], "data": [0.0, 3.0]},
    "RAMAN_LINES": {"lambda": [6484.4], "flux": [1.0]},
    "FILTER_LIST": {"lambda": [4000.0, 9000.0], "throughput": [0.0, 96.0]},
    "ASTROMETRY_REFERENCE": {"RA": [150.1, 150.2], "DEC": [-30.0, -30.1], "mag": [18.0, 19.0], "AWAY": 0.1},
    "TELLURIC_REGIONS": {"lmin": [6864.0], "lmax": [6967.0], "bgmin": [6850.0], "bgmax": [6990.0]},
    "BADPIX_TABLE": {"xpos": [1, 4224], "ypos": [1, 4240]},
    "LINE_CATALOG": {"lambda": [4678.1, 5460.74, 6402.25, 7032.41, 8231.63], "flux": [100.0, 0.0]},
    "TRACE_TABLE": {"PLACES": [40.0, NAN, 120.0, 200.0]},
    **dict.fromkeys(("BIAS", "ARC"), {"EXPTIME": 0.5, "MJD-OBS": 57800.3}),
    "AUTOCAL_FACTORS": {"corr": [0.9, 1.1], "npts": [0, 1000]},
}  # fmt: skip
BROKEN = (
    ("PIXTABLE_OBJECT", {"EXPTIME": 0.0}, "keyword EXPTIME", True),
    ("PIXTABLE_OBJECT", {"EXPTIME": -600}, "keyword EXPTIME", True),
    ("PIXTABLE_OBJECT", {"EXPTIME": "600"}, "keyword EXPTIME", True),
    ("PIXTABLE_OBJECT", {"EXPTIME": True}, "keyword EXPTIME", True),
    ("PIXTABLE_OBJECT", {"MJD-OBS": 0.0}, "keyword MJD-OBS", True),
    ("PIXTABLE_OBJECT", {"MJD-OBS": 1e30}, "keyword MJD-OBS", True),
    ("PIXTABLE_OBJECT", {"DEC": 95.0}, "keyword DEC", True),
    ("PIXTABLE_OBJECT", {"EQUINOX": 0}, "keyword EQUINOX", True),
    ("PIXTABLE_OBJECT", {"ESO INS DROT POSANG": 1e6}, "POSANG", True),
    ("PIXTABLE_OBJECT", {"ESO TEL PARANG START": 3600.0}, "PARANG START", True),
    ("PIXTABLE_OBJECT", {"ESO TEL GEOLON": 1000.0}, "GEOLON", True),
    ("PIXTABLE_OBJECT", {"ESO TEL AMBI PRES START": 0.0}, "PRES START", False),
    ("ASTROMETRY_REFERENCE", {"AWAY": 5.0}, "columns RA, DEC", False),
    ("TELLURIC_REGIONS", {"lmin": [686.4]}, "column lmin", True),
    ("TELLURIC_REGIONS", {"lmin": [6980.0]}, "columns", False),
    ("TELLURIC_REGIONS", {"bgmax": [NAN]}, "columns", False),
    ("BADPIX_TABLE", {"xpos": [0, 7]}, "column xpos", False),
    ("BADPIX_TABLE", {"ypos": [7, 1_000_000]}, "column ypos", False),
    ("LINE_CATALOG", {"lambda": [467.81, 930.0]}, "column lambda", True),
    ("LINE_CATALOG", {"flux": [100.0, -1.0]}, "column flux", False),
    ("LINE_CATALOG", {"lambda": [4728.1, 5510.74, 6452.25, 7082.41, 8281.63]}, "column lambda", False),
    ("LINE_CATALOG", {"flux": [0.0, 0.0]}, "column flux", False),
    ("TRACE_TABLE", {"PLACES": [40.0, 40.0, NAN]}, "columns tcn_00", False),
    ("BIAS", {"MJD-OBS": 0.0}, "keyword MJD-OBS", False),
    ("ARC", {"MJD-OBS": 1e9}, "keyword MJD-OBS", False),
    ("PIXTABLE_OBJECT", {"ESO DRS MUSE FLAT FLUX SKY": -1.0}, "FLUX SKY", True),
    ("PIXTABLE_OBJECT", {"ESO DRS MUSE FLAT FLUX LAMP": 0.0}, "FLUX LAMP", True),
    ("STD_RESPONSE", {"response": [39.1, 0.0]}, "column response", True),
    ("STD_RESPONSE", {"response": [39.1, -2.0]}, "column response", True),
    ("STD_RESPONSE", {"response": [39.1, 100.0]}, "column response", False),
    ("STD_RESPONSE", {"resperr": [0.0, -1.0]}, "column resperr", True),
    ("STD_RESPONSE", {"lambda": [460.0, 940.0]}, "column lambda", True),
    ("EXTINCT_TABLE", {"extinction": [-0.1, 0.1]}, "column extinction", True),
    ("EXTINCT_TABLE", {"lambda": [300.0, 1200.0]}, "column lambda", True),
    ("STD_TELLURIC", {"ftelluric": [1.01, -0.5]}, "column ftelluric", True),
    ("STD_TELLURIC", {"ftelluric": [1.01, 3.0]}, "column ftelluric", True),
    ("STD_TELLURIC", {"ftelluric": [1.5, 0.5]}, "column ftelluric", False),
    ("STD_TELLURIC", {"ftelluric": [0.001, 0.0009]}, "column ftelluric", False),
    ("ASTROMETRY_WCS", {"CD1_1": -1.0, "CD2_2": 1.0}, "CDi_j", True),
    ("ASTROMETRY_WCS", {"CD1_1": "x"}, "CDi_j", True),
    ("ASTROMETRY_WCS", {"CD1_2": STEP, "CD2_1": -0.99 * STEP}, "CDi_j", True),
    ("ASTROMETRY_WCS", {"CD1_1": -3 * STEP}, "CDi_j", True),
    ("ASTROMETRY_WCS", {"CRPIX1": 1e30}, "CRPIX1", True),
    ("OFFSET_LIST", {"FLUX_SCALE": [1.0, 0.0]}, "column FLUX_SCALE", True),
    ("OFFSET_LIST", {"FLUX_SCALE": [1.0, -1.0]}, "column FLUX_SCALE", True),
    ("OFFSET_LIST", {"FLUX_SCALE": [1.0, 1e30]}, "column FLUX_SCALE", True),
    ("OFFSET_LIST", {"FLUX_SCALE": [1.0, 1000.0]}, "column FLUX_SCALE", False),
    ("OFFSET_LIST", {"FLUX_SCALE": [NAN, 1.0]}, "column FLUX_SCALE", False),
    ("OFFSET_LIST", {"RA_OFFSET": [0.0, 90.0]}, "column RA_OFFSET", True),
    ("SKY_LINES", {"lambda": [557.7, 630.0]}, "column lambda", True),
    ("SKY_LINES", {"lambda": [100.0, 200.0]}, "column lambda", True),
    ("SKY_LINES", {"flux": [1e-18, 2e-19]}, "column flux", False),
    ("SKY_CONTINUUM", {"flux": [1e-30, NAN]}, "column flux", False),
    ("SKY_CONTINUUM", {"flux": [0.0, 0.0]}, "column flux", False),
    ("SKY_SPECTRUM", {"data": [-1e-18, 1e-18]}, "column data", False),
    ("RAMAN_LINES", {"flux": [-1.0]}, "column flux", True),
    ("RAMAN_LINES", {"flux": [NAN]}, "column flux", True),
    ("RAMAN_LINES", {"group": [NAN]}, "column group", True),
    ("FILTER_LIST", {"lambda": [400.0, 900.0]}, "column lambda", True),
    ("FILTER_LIST", {"throughput": [0.0, -1.0]}, "column throughput", True),
    ("AUTOCAL_FACTORS", {"corr": [0.9, 0.0]}, "column corr", True),
    ("AUTOCAL_FACTORS", {"corr": [0.0009, 0.0011]}, "column corr", False),
    ("AUTOCAL_FACTORS", {"corr": [NAN, NAN]}, "column corr", True),
    ("SKY_LINES", {"lambda": [5577.0, 1e30]}, "column lambda", True),
    ("ASTROMETRY_REFERENCE", {"RA": [10.0, 10.0]}, "column RA", False),
)


@pytest.mark.parametrize("tag", INPUT_RULES)
def test_sound_inputs_break_no_rule(tag):
    values = SOUND.get(tag, SOUND["PIXTABLE_OBJECT"] if tag.startswith(("PIX", "IMAGE")) else {})
    assert list(broken(INPUT_RULES[tag], values)) == []
    assert list(broken(INPUT_RULES[tag], {})) == []  # what is missing is asked for where it is needed


@pytest.mark.parametrize(("tag", "change", "item", "is_error"), BROKEN)
def test_what_cannot_be_is_told(tag, change, item, is_error, caplog):
    values = {**SOUND[tag], **change}
    log, problems = logging.getLogger("rules"), Problems()
    ctx = SimpleNamespace(log=log, problems=problems, defects=Defects())
    assert not check("a.fits", INPUT_RULES[tag], values, ctx)
    assert bool(problems) == is_error
    if is_error:
        with pytest.raises(Exception, match=rf"a\.fits: .*{item}.*: expected .*, found"):
            problems.raise_if_any()
    else:
        assert f"{item}: expected" in caplog.text
    lenient = SimpleNamespace(log=log, problems=Problems(), defects=Defects.only("absurd_values_used"))
    assert not check("a.fits", INPUT_RULES[tag], values, lenient)
    assert not lenient.problems
    assert item in caplog.text


def test_slices_beyond_any_field_are_refused():
    far = [rule for rule, _ in broken(INPUT_RULES["GEOMETRY_TABLE"], {"x": [1e30, 0.0], "y": [0.0, 2000.0]})]
    assert [rule.is_error for rule in far] == [True, False, False]


@pytest.mark.parametrize(
    ("tag", "pixels", "item"),
    [
        ("MASTER_BIAS", {"DQ": np.array([[0.0, 0.0, 0.0, 2048.0, 512.0]])}, ""),
        ("MASTER_BIAS", {"DQ": np.array([[0.0, 255.0, 0.0]])}, "extension DQ"),
        ("MASTER_FLAT", {"DQ": np.array([[0.0, 2.0**20, 0.0]])}, "extension DQ"),
        ("MASTER_DARK", {"DQ": np.array([[0.0, 512.0, 256.0]])}, "extension DQ"),
        ("MASTER_DARK", {"STAT": np.array([[0.09, 0.09, 2.5e36]])}, "extension STAT"),
    ],
)
def test_flags_and_variances_that_no_detector_has(tag, pixels, item):
    assert [rule.item for rule, _ in broken(INPUT_RULES[tag], pixels, PIXELS)] == [item] * bool(item)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ({"FIRST": [-150.0, -150.0, 4700.0], "LAST": [150.0, 150.0, 9350.0]}, 0),
        ({"FIRST": [-1e12, -150.0, 4700.0], "LAST": [-1e12, 150.0, 9350.0]}, 1),
        ({"FIRST": [-150.0, -150.0, 1e9], "LAST": [150.0, 150.0, 1e9]}, 1),
    ],
)
def test_twilight_beside_the_field(place, found):
    assert len(list(broken(INPUT_RULES["TWILIGHT_CUBE"], place))) == found


def test_profiles_of_another_scale_are_told():
    (rule,) = [rule for rule in INPUT_RULES["LSF_PROFILE"] if "an area" in rule.demand]
    assert rule.contradiction({"AREA": [20.0, 20.0], "CD1_1": 0.05}) is None
    assert rule.contradiction({"AREA": [2e9, 2e9], "CD1_1": 0.05}) == "a median of 1e+08"


@pytest.mark.parametrize(
    ("places", "items"),
    [
        ({"WIDTH": 300.0, "HEIGHT": 310.0, "SLICES": 1152, "IFUS": 24, "UNIT": "pix"}, []),
        ({"WIDTH": 75.0, "HEIGHT": 1.0, "SLICES": 1, "UNIT": "pix"}, []),
        ({"WIDTH": 0.01, "HEIGHT": 0.01, "SLICES": 1152, "UNIT": "rad"}, []),
        ({"WIDTH": 300.0, "HEIGHT": 9601.0, "SLICES": 1152, "UNIT": "pix"}, ["columns xpos, ypos"]),
        ({"WIDTH": 9.0, "HEIGHT": 900.0, "SLICES": 48, "IFUS": 1, "UNIT": "pix"}, ["columns xpos, ypos"] * 2),
        ({"WIDTH": 12.0, "HEIGHT": 9.0, "SLICES": 1, "UNIT": "pix"}, ["column origin"]),
        ({"WIDTH": 300.0, "HEIGHT": 119.0, "SLICES": 48, "IFUS": 1, "UNIT": "pix"}, ["columns xpos, ypos"]),
        ({"WIDTH": 300.0, "HEIGHT": 35.0, "SLICES": 48, "IFUS": 1, "UNIT": "pix"}, []),
    ],
)
def test_rows_lie_in_a_field(places, items):
    assert [rule.item for rule, _ in broken(INPUT_RULES["PIXTABLE_OBJECT"], places, PLACES)] == items


def test_profiles_that_are_no_line_are_told():
    (rule,) = [rule for rule in INPUT_RULES["LSF_PROFILE"] if "inner half" in rule.demand]
    assert rule.contradiction({"AREA": [20.0, 20.0], "INNER": [19.0, 18.0]}) is None
    assert rule.contradiction({"AREA": [20.0, 20.0], "INNER": [10.0, 10.4]}) == "a median of 0.51"


def test_raw_pixels_without_a_count_are_told():
    (rule,) = [rule for rule in INPUT_RULES["BIAS"] if "counts above 0" in rule.demand]
    assert rule.contradiction({"LEVEL": 1000.0, "SATURATED": 0.0, "EMPTY": 0.01}) is None
    assert rule.contradiction({"LEVEL": 1000.0, "SATURATED": 0.0, "EMPTY": 1 / 3}) == "33.3 per cent at 0"


def test_demands_in_words():
    assert keyword("A", "deg", low=-1, high=2).demand == "a number of -1 to 2 deg"
    assert keyword("A", above=0).demand == "a number above 0"
    assert column("a", "mag", low=0).demand == "values of 0 mag or more"
    assert column("a", high=3).demand == "values of 3 or less"
    assert column("a", above=0, high=3).demand == "values above 0 to 3"


@pytest.mark.parametrize("seed", range(200))
def test_any_value_of_any_keyword_is_judged(seed):
    """Numbers of all sizes, texts, truths: a rule holds or says what it found, whatever it is asked."""
    rng = np.random.default_rng(seed)
    tag = rng.choice(list(INPUT_RULES))
    values = dict(SOUND.get(str(tag), {}))
    odd = [0, -1, 1e300, -1e300, 1e-300, NAN, float("inf"), True, "text", "", 10**30]
    for key in list(values):
        if rng.random() < 0.3:
            value = odd[rng.integers(len(odd))]
            if isinstance(values[key], list):
                values[key] = [value if isinstance(value, float) else NAN] * rng.integers(0, 4)
            else:
                values[key] = value
    for rule, found in broken(INPUT_RULES[str(tag)], values):
        assert rule.item
        assert found
    assert list(broken(INPUT_RULES[str(tag)], fits.Header())) == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "recipes").glob("*.md")), ids=lambda page: page.stem)
def test_pages_list_the_rules_of_all_inputs(page):
    text = page.read_text(encoding="utf-8")
    assert updated(text) == text, f"run: musetools rules --update {page.relative_to(ROOT)}"
    if page.stem not in registry.names():
        return  # of several recipes
    if any(declared.tag in INPUT_RULES for declared in registry.load(page.stem).spec.inputs):
        assert f"<!-- rules: {page.stem} -->" in text

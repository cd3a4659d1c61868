# SPDX-License-Identifier: BSD-3-Clause
"""The choice of calibrations: the real night of June 2017, the rows of C's silent errors, the edge cases."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from muse_core.calib.candidates import Candidate
from muse_core.calib.choose import choose, gap
from muse_core.calib.judging import Options, judge
from muse_core.calib.places import open_library
from muse_core.calib.rules import load_rules
from muse_core.calib.targets import Target
from tests.calib.archive import master, raw, real_night, write

pytestmark = pytest.mark.unit
RULES = load_rules()


def found(library, path, tag, options=None, rules=RULES, chosen=None):
    target = library.target(Path(path))
    return choose(tag, target, library, rules, options or Options(), chosen=chosen), target


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("night")
    objects = real_night(root)
    library = open_library([root], RULES)
    yield library, objects
    library.close()


EXPECTED = {
    "MASTER_BIAS": ("2017-06-16T10:40:27", 0), "MASTER_FLAT": ("2017-06-16T12:15:46", 0),
    "TRACE_TABLE": ("2017-06-16T12:15:46", 0), "WAVECAL_TABLE": ("2017-06-16T12:32:03", 0),
    "TWILIGHT_CUBE": ("2017-06-18T22:07:10", 0), "STD_RESPONSE": ("2017-06-19T09:32:00", 0),
    "STD_TELLURIC": ("2017-06-19T09:32:00", 0), "GEOMETRY_TABLE": ("2017-04-22T00:00:00", 0),
    "ASTROMETRY_WCS": ("2017-04-22T00:00:00", 0), "LSF_PROFILE": ("2017-05-16T00:00:00", 1),
}  # fmt: skip


@pytest.mark.parametrize("number", range(6))
def test_the_real_night(night, number):
    library, objects = night
    for tag, (label, level) in EXPECTED.items():
        choice, _ = found(library, objects[number], tag)
        assert (choice.candidate.label, choice.level) == (label, level), tag
    illum, _ = found(library, objects[number], "ILLUM")
    assert illum.candidate.path.endswith("01:25:02.100.fits" if number < 3 else "01:57:38.200.fits")
    for tag, code in (("VIGNETTING_MASK", "C050"), ("MASTER_DARK", "C051")):
        choice, _ = found(library, objects[number], tag)
        assert choice.candidate is None and choice.messages[0].code == code


DATA = Target(
    "data", "OBJECT", (), 57920.07, mode="WFM-AO-N", field="WFM", ao="AO", range="N", readout="SCI1.0/1/1"
)
# what the C recipes accept silently (or nearly so): tag, how the calibration differs
SILENT = [
    ("MASTER_BIAS", {"readout": "SCI2.0/1/1"}),
    ("MASTER_DARK", {"readout": "SCI2.0/1/1"}),
    ("MASTER_FLAT", {"mode": "WFM-NOAO-N"}),
    ("MASTER_FLAT", {"readout": "SCI2.0/1/1"}),
    ("TRACE_TABLE", {"mode": "WFM-NOAO-N", "ao": "NOAO"}),
    ("WAVECAL_TABLE", {"mode": "WFM-NOAO-N", "ao": "NOAO"}),
    ("TWILIGHT_CUBE", {"mode": "NFM-AO-N", "field": "NFM"}),
    ("TWILIGHT_CUBE", {"mode": "WFM-AO-E", "range": "E"}),
    ("ILLUM", {"mode": "NFM-AO-N", "field": "NFM"}),
    ("ILLUM", {"readout": "SCI2.0/1/1"}),
    ("STD_RESPONSE", {"mode": "WFM-NOAO-N"}),
    ("STD_TELLURIC", {"mode": "WFM-AO-E"}),
    ("ASTROMETRY_WCS", {"mode": "NFM-AO-N", "field": "NFM"}),
    ("LSF_PROFILE", {"mode": "NFM-AO-N", "field": "NFM"}),
]


@pytest.mark.parametrize(("tag", "change"), SILENT)
def test_what_c_accepts_silently_is_refused(tag, change):
    facts = {"mode": DATA.mode, "field": "WFM", "ao": "AO", "range": "N", "readout": DATA.readout}
    association = RULES.association(tag)
    same = Candidate(tag, "master", "/x", 0, DATA.mjd, **facts)
    assert judge(same, DATA, association, RULES, Options()).level is not None
    other = Candidate(tag, "master", "/x", 0, DATA.mjd, **(facts | change))
    judged = judge(other, DATA, association, RULES, Options())
    assert judged.level is None
    assert judged.by in ("mode", "readout")
    assert any(value in judged.refused for value in change.values())


def test_what_may_differ():
    facts = {"mode": "WFM-NOAO-N", "field": "WFM", "ao": "NOAO", "range": "N", "readout": DATA.readout}
    for tag in ("MASTER_BIAS", "MASTER_DARK", "ILLUM", "GEOMETRY_TABLE", "ASTROMETRY_WCS"):
        judged = judge(
            Candidate(tag, "x", "/x", 0, DATA.mjd, **facts), DATA, RULES.association(tag), RULES, Options()
        )
        assert judged.level is not None, tag
    twilight = judge(
        Candidate("TWILIGHT_CUBE", "master", "/x", 0, DATA.mjd, **facts),
        DATA,
        RULES.association("TWILIGHT_CUBE"),
        RULES,
        Options(),
    )
    assert twilight.level == 2 and "same field and wavelength range" in twilight.notes[0]
    silent = Candidate("STD_RESPONSE", "master", "/x", 0, DATA.mjd)
    judged = judge(silent, DATA, RULES.association("STD_RESPONSE"), RULES, Options())
    assert judged.level is not None and "no mode in its header" in judged.notes


def test_a_twilight_cube_too_far_for_another_mode_is_refused_with_its_mode():
    facts = {"mode": "WFM-NOAO-N", "field": "WFM", "ao": "NOAO", "range": "N", "readout": DATA.readout}
    cube = Candidate("TWILIGHT_CUBE", "master", "/x", 0, DATA.mjd + 10, **facts)
    judged = judge(cube, DATA, RULES.association("TWILIGHT_CUBE"), RULES, Options())
    assert judged.level is None and judged.refused == "mode WFM-NOAO-N, the data have WFM-AO-N"


def one(tmp_path, *more, rules=RULES):
    exposure = raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867", ESO__OBS__ID=7)
    for make in more:
        make(tmp_path)
    return open_library([tmp_path], rules), exposure


def test_the_gap_names_the_nearest_refused(tmp_path):
    library, exposure = one(
        tmp_path, lambda p: master(p, "STD_RESPONSE", "2017-06-15T08:00:00.000", "WFM-AO-E", None)
    )
    choice, target = found(library, exposure, "STD_RESPONSE")
    text = str(gap(choice, target, RULES))
    assert text.startswith(
        "C030 gap: no STD_RESPONSE for WFM-AO-N within 180 d; there is one for WFM-AO-E (17.6 h before)"
    )
    assert "refused by mode" in text and "muse_standard" in text


def test_two_masters_of_one_day(tmp_path):
    def make(p):
        master(p / "a", "MASTER_FLAT", "2017-06-16T12:15:46.000", pipe="muse/2.5.0")
        master(p / "b", "MASTER_FLAT", "2017-06-16T12:15:46.000", pipe="muse/2.8.7")

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "MASTER_FLAT")
    assert choice.candidate.pipe == "muse/2.8.7"
    assert "newer pipeline" in next(m.text for m in choice.messages if m.code == "C010")
    choice, _ = found(library, exposure, "MASTER_FLAT", Options(exclude=(str(tmp_path / "b"),)))
    assert choice.candidate.pipe == "muse/2.5.0"


def test_the_same_master_in_two_folders(tmp_path):
    def make(p):
        master(p / "b", "MASTER_BIAS", "2017-06-16T10:40:00.000")
        shutil.copytree(p / "b", p / "a")

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "MASTER_BIAS")
    assert len(choice.candidate.files) == 24
    assert {Path(f).parent.name for f in choice.candidate.files} == {"a"}


def test_plain_files_before_packed_ones(tmp_path):
    def make(p):
        raw(p, "ILLUM", "2017-06-16T01:25:02.100", "WFM-NOAO-N")
        shutil.copy(p / "MUSE.2017-06-16T01:25:02.100.fits", p / "MUSE.2017-06-16T01:25:02.100.fits.fz")

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "ILLUM")
    assert choice.candidate.path.endswith(".fits")


def test_complete_sets_come_first(tmp_path):
    def make(p):
        master(
            p / "near", "WAVECAL_TABLE", "2017-06-16T10:00:00.000", ifus=[n for n in range(1, 25) if n != 10]
        )
        master(p / "far", "WAVECAL_TABLE", "2017-06-16T22:00:00.000")

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "WAVECAL_TABLE")
    assert "far" in choice.candidate.path
    choice, _ = found(library, exposure, "WAVECAL_TABLE", Options(exclude=(str(tmp_path / "far"),)))
    assert "lacks IFU 10; the recipe would stop" in next(m.text for m in choice.messages if m.code == "C040")


def test_merged_file_beside_files_per_ifu(tmp_path):
    def make(p):
        master(p / "m", "MASTER_BIAS", "2017-06-16T10:40:00.000", ifus=range(1, 24))
        master(p / "m", "MASTER_BIAS", "2017-06-16T10:40:00.000", ifus=None)

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "MASTER_BIAS")
    assert [Path(f).name for f in choice.candidate.files] == ["MASTER_BIAS.fits"]


def test_pairs_stay_together(tmp_path):
    def make(p):
        master(p / "a", "MASTER_FLAT", "2017-06-16T12:00:00.000")
        master(p / "a", "TRACE_TABLE", "2017-06-16T12:00:00.000")
        master(p / "b", "TRACE_TABLE", "2017-06-15T14:00:00.000")

    library, exposure = one(tmp_path, make)
    flat, _ = found(library, exposure, "MASTER_FLAT", Options())
    paired, _ = found(library, exposure, "TRACE_TABLE", chosen={"MASTER_FLAT": flat.candidate})
    assert "/a/" in paired.candidate.path
    broken, _ = found(
        library,
        exposure,
        "TRACE_TABLE",
        Options(exclude=(str(tmp_path / "a"),)),
        chosen={"MASTER_FLAT": flat.candidate},
    )
    assert "C080" in {m.code for m in broken.messages}


def test_illum_by_time_temperature_and_block(tmp_path):
    def make(p):
        raw(p, "ILLUM", "2017-06-15T22:43:00.000", "WFM-NOAO-N", **{"ESO INS TEMP7 VAL": 12.0})
        raw(p, "ILLUM", "2017-06-16T01:00:00.000", "WFM-NOAO-N", **{"ESO INS TEMP7 VAL": 13.3})

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "ILLUM")
    assert choice.level == 1 and "22:43" in choice.candidate.path  # 2 h 51 min before
    refused = next(j for j in choice.judged if j.refused)
    assert refused.by == "temp" and "1.3 degC warmer (limit 1 degC)" in refused.refused


def test_illum_after_the_exposure(tmp_path):
    library, exposure = one(
        tmp_path, lambda p: raw(p, "ILLUM", "2017-06-16T02:10:00.000", "WFM-NOAO-N", ESO__OBS__ID=7)
    )
    choice, _ = found(library, exposure, "ILLUM")
    assert choice.level == -1 and "after" in choice.messages[0].text


@pytest.mark.parametrize("date", ["2017-06-16T09:32:00.000", "2017-06-15T23:30:00.000"])
def test_standards_of_the_night(tmp_path, date):
    library, exposure = one(tmp_path, lambda p: master(p, "STD_RESPONSE", date, ifus=None))
    choice, target = found(library, exposure, "STD_RESPONSE")
    assert choice.level == -1
    assert library.row_of(Path(choice.candidate.path))[0].night == target.night == "2017-06-15"


def test_day_calibrations_beyond_noon(tmp_path):
    dates = [f"2017-06-16T{t}:00.000" for t in ("15:48", "16:18", "16:48", "17:21")]
    for date in dates:
        raw(tmp_path, "DARK", date)
    library, _ = one(tmp_path)
    assert {library.row_of(tmp_path / f"MUSE.{date}.fits")[0].night for date in dates} == {"2017-06-15"}


def test_barrier_of_the_detectors(tmp_path):
    exposure = raw(tmp_path, "OBJECT", "2015-03-31T02:00:00.000", "WFM-NOAO-N")
    master(tmp_path / "m", "MASTER_BIAS", "2015-03-30T11:00:00.000", "WFM-NOAO-N")
    master(tmp_path / "n", "MASTER_BIAS", "2015-03-31T11:00:00.000", "WFM-NOAO-N")
    choice, _ = found(
        open_library([tmp_path], RULES),
        raw(tmp_path, "OBJECT", "2015-03-30T02:00:00.000", "WFM-NOAO-N"),
        "MASTER_BIAS",
    )
    assert "/m/" in choice.candidate.path
    refused = next(j for j in choice.judged if j.refused)
    assert refused.by == "barrier" and "2015-03-31" in refused.refused
    assert exposure.is_file()


def test_marks_pins_votes(tmp_path):
    from muse_core.calib.marks import mark

    def make(p):
        master(p / "a", "MASTER_FLAT", "2017-06-16T12:00:00.000")
        master(p / "b", "MASTER_FLAT", "2017-06-15T20:00:00.000")

    library, exposure = one(tmp_path, make)
    assert "/b/" in found(library, exposure, "MASTER_FLAT")[0].candidate.path
    pinned = str(tmp_path / "a" / "MASTER_FLAT-01.fits")
    choice, _ = found(library, exposure, "MASTER_FLAT", Options(pins={"MASTER_FLAT": (pinned,)}))
    assert len(choice.candidate.files) == 24 and "/a/" in choice.candidate.path
    (tmp_path / "v.xml").write_text(
        '<association certified="true"><mainFiles>'
        '<file category="OBJECT" name="MUSE.2017-06-16T01:34:56.867"/>'
        "</mainFiles>"
        '<associatedFiles><association><mainFiles><file category="MASTER_FLAT" name="MASTER_FLAT-01"/>'
        "</mainFiles>"
        "</association></associatedFiles></association>"
    )
    library.close()
    mark([tmp_path / "b" / "MASTER_FLAT-05.fits"], "bad", "stripes", "me", RULES)
    library = open_library([tmp_path], RULES)
    choice, _ = found(library, exposure, "MASTER_FLAT")
    assert "/a/" in choice.candidate.path
    assert any("marked bad: stripes" in j.refused for j in choice.judged)


def test_ties_go_to_the_later_data_and_order_never_matters(tmp_path):
    exposure = raw(tmp_path / "z", "OBJECT", "2017-06-16T00:00:00.000")
    folders = []
    for n, date in enumerate(
        ("2017-06-15T12:00:00.000", "2017-06-16T12:00:00.000", "2017-06-17T12:00:00.000")
    ):
        folders.append(tmp_path / f"f{n}")
        master(folders[-1], "MASTER_BIAS", date)
    paths = set()
    for seed in range(4):
        random.Random(seed).shuffle(folders)
        library = open_library([tmp_path / "z", *folders], RULES)
        choice, _ = found(library, exposure, "MASTER_BIAS")
        paths.add(choice.candidate.path)
        assert "C011" in {m.code for m in choice.messages}
        library.close()
    assert len(paths) == 1 and "2017-06-16T12:00:00" == choice.candidate.label


def test_simulated_files_need_a_word(tmp_path):
    library, exposure = one(
        tmp_path, lambda p: master(p, "STD_RESPONSE", "2017-06-16T05:00:00.000", ifus=None, SIMULATE=True)
    )
    choice, target = found(library, exposure, "STD_RESPONSE")
    assert choice.candidate is None and "made by the simulator" in str(gap(choice, target, RULES))
    assert found(library, exposure, "STD_RESPONSE", Options(simulated=True))[0].candidate is not None


def test_sky_lines_of_the_night_before_the_static_list(tmp_path):
    def make(p):
        write(p / "sky_lines.fits", {"INSTRUME": "MUSE", "ESO PRO CATG": "SKY_LINES", "MJD-OBS": 56658.0})
        for night in (15, 16):
            master(
                p / str(night),
                "SKY_LINES",
                f"2017-06-{night}T03:00:00.000",
                ifus=None,
                ESO__PRO__REC1__ID="muse_create_sky",
            )

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "SKY_LINES")
    assert "/16/" in choice.candidate.path
    choice, _ = found(library, exposure, "SKY_LINES", Options(exclude=(str(tmp_path / "16"),)))
    assert choice.candidate.path.endswith("sky_lines.fits")


def test_own_rules_change_the_choice(tmp_path):
    extra = tmp_path / "mine.toml"
    extra.write_text('[assoc.MASTER_BIAS]\nlevels = [[0, 0.1, 0.1]]\n[assoc.MASTER_DARK]\ndefault = "on"\n')
    rules = load_rules(extra)
    assert rules.hash != RULES.hash
    library, exposure = one(
        tmp_path / "d", lambda p: master(p, "MASTER_BIAS", "2017-06-16T10:40:00.000"), rules=rules
    )
    choice, target = found(library, exposure, "MASTER_BIAS", rules=rules)
    assert choice.candidate is None and "refused by time" in str(gap(choice, target, rules))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 2", "expected 1, found 2"),
        ("[assoc.X]\nmatch = ['colour']", "colour"),
        ("[assoc.X]\nlevels = [[1, 2]]", "level, days before"),
        ("[assoc.X]\nwindow = 3", "window"),
        ("[extra]\na = 1", "extra"),
        ("not toml", "TOML"),
        ("[recipe.muse_x]\ncal = []", "raw"),
    ],
)
def test_wrong_rules_are_explained(tmp_path, text, words):
    from muse_core.framework.errors import InputError

    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_rules(path)
    with pytest.raises(InputError, match="an existing file, found none"):
        load_rules(tmp_path / "absent.toml")


def test_hst_images_of_the_same_sky_and_filter(tmp_path):
    hst = {"TELESCOP": "HST", "MJD-OBS": 56000.0}
    for name, cards in {
        "near": {"RA_TARG": 10.01, "DEC_TARG": -20.01, "FILTER1": "CLEAR1L", "FILTER2": "F814W"},
        "also": {"RA_TARG": 9.99, "DEC_TARG": -20.0, "FILTER": "F814W"},
        "blue": {"RA_TARG": 10.0, "DEC_TARG": -20.0, "FILTER": "F475W"},
        "far": {"RA_TARG": 10.5, "DEC_TARG": -20.0, "FILTER": "F814W"},
    }.items():
        write(tmp_path / f"{name}.fits", hst | cards)
    image = write(tmp_path / "IMAGE_FOV_0001.fits", {
        "INSTRUME": "MUSE", "ESO PRO CATG": "IMAGE_FOV", "MJD-OBS": 57920.0, "RA": 10.0, "DEC": -20.0,
        "ESO DRS MUSE FILTER NAME": "ACS_F814W",
    })  # fmt: skip
    library = open_library([tmp_path], RULES)
    choice, target = found(library, image, "HST_IMAGE")
    assert [Path(name).name for name in choice.candidate.files] == ["also.fits", "near.fits"]
    refused = {Path(j.candidate.path).name: f"{j.by}: {j.refused}" for j in choice.judged if j.refused}
    assert refused["blue.fits"] == "filter: filter F475W, the data have ACS_F814W"
    assert refused["far.fits"].startswith("sky: 28.2 arcmin away")


def test_a_vote_that_the_rules_refuse_is_told(tmp_path):
    def make(p):
        master(p / "m", "TWILIGHT_CUBE", "2017-06-18T22:07:10.444", "NFM-AO-N", ifus=None)
        (p / "v.xml").write_text(
            '<association certified="true"><mainFiles>'
            '<file category="OBJECT" name="MUSE.2017-06-16T01:34:56.867"/></mainFiles><associatedFiles>'
            '<association><mainFiles><file category="TWILIGHT_CUBE" name="TWILIGHT_CUBE"/></mainFiles>'
            "</association></associatedFiles></association>"
        )

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "TWILIGHT_CUBE")
    told = next(message.text for message in choice.messages if message.code == "C090")
    assert "refused by mode: mode NFM-AO-N, the data have WFM-AO-N" in told


def test_sky_flats_at_dawn_are_as_good_as_those_at_dusk(tmp_path):
    def make(p):
        master(p / "dawn", "TWILIGHT_CUBE", "2017-06-16T10:50:00.000", ifus=None)
        master(p / "dusk", "TWILIGHT_CUBE", "2017-06-17T22:10:00.000", ifus=None)

    library, exposure = one(tmp_path, make)
    choice, _ = found(library, exposure, "TWILIGHT_CUBE")
    assert "/dawn/" in choice.candidate.path and choice.level == 0


def test_a_read_out_without_binning_is_no_other_one(tmp_path):
    def make(p):
        master(p / "m", "MASTER_BIAS", "2017-06-16T10:40:00.000", ESO__DET__BINX="")

    library, exposure = one(tmp_path, make)
    assert found(library, exposure, "MASTER_BIAS")[0].candidate is not None

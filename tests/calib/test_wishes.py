# SPDX-License-Identifier: BSD-3-Clause
"""Files that the user names are taken as they are; impossible wishes are refused; strict is strict."""

from __future__ import annotations

import os

import pytest

from muse_core.calib.rules import load_rules
from muse_core.calib.scan import scan
from muse_core.framework.sof import load_sof
from muse_core.tools import main
from tests.calib.archive import BLOCK, header, master, raw, real_night, write

pytestmark = pytest.mark.unit
RULES = load_rules()


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("wishes") / "data"
    return root, real_night(root)


def sof(tmp_path, *words):
    out = tmp_path / "x.sof"
    status = main(["sof", *map(str, words), "-o", str(out)])
    written = out if out.exists() else out.with_name("x.sof.incomplete")
    return status, load_sof(written), written.read_text()


def names(frames, tag):
    return [frame.path.name for frame in frames if frame.tag == tag]


def two_versions(root):
    """Write pixel tables of one exposure twice, in one folder: of all IFUs, and IFU 1 and 3 once more."""
    mjd = 57920.06
    for version, ifus in (("", (1, 2, 3)), ("_v2", (1, 3))):
        for n in ifus:
            write(root / f"PIXTABLE_OBJECT_0001-{n:02d}{version}.fits", {
                "INSTRUME": "MUSE", "MJD-OBS": mjd, "ESO PRO CATG": "PIXTABLE_OBJECT",
                "EXTNAME": f"CHAN{n:02d}", "ESO INS MODE": "WFM-AO-N", "OBJECT": "X",
                "DATAMD5": f"{n}{version or 'first':0>31}",
            })  # fmt: skip


def test_a_named_file_is_not_replaced_by_its_double(tmp_path, capsys):
    two_versions(tmp_path / "d")
    main(["calib", "index", str(tmp_path / "d")])
    given = tmp_path / "d" / "PIXTABLE_OBJECT_0001-03_v2.fits"
    _, frames, text = sof(tmp_path, "muse_scipost", "--for", given)
    assert names(frames, "PIXTABLE_OBJECT") == [
        "PIXTABLE_OBJECT_0001-03_v2.fits", "PIXTABLE_OBJECT_0001-01_v2.fits", "PIXTABLE_OBJECT_0001-02.fits",
    ]  # fmt: skip
    assert "# C013 mixed: PIXTABLE_OBJECT has different files for IFU 1" in text
    both = [tmp_path / "d" / f"PIXTABLE_OBJECT_0001-{n}.fits" for n in ("03_v2", "01")]
    _, frames, _ = sof(tmp_path, "muse_scipost", "--for", *both)
    assert names(frames, "PIXTABLE_OBJECT")[:2] == [path.name for path in both]
    capsys.readouterr()
    assert main(["sof", "muse_scipost", "--strict", "--for", str(given), "-o", str(tmp_path / "y.sof")]) == 1


def test_a_pinned_set_is_of_one_version(tmp_path, night):
    root, objects = night
    other = master(
        tmp_path / "other", "MASTER_FLAT", "2017-06-16T12:15:46.222", pipe="muse/2.5.0", ifus=(1, 2)
    )
    scan(tmp_path / "other", RULES)[0].close()
    words = ["muse_scibasic", "--for", objects[0], "--calib", root]
    _, frames, text = sof(tmp_path, *words, "--calib", tmp_path / "other", "--pin", f"MASTER_FLAT={other[1]}")
    assert [frame.path for frame in frames if frame.tag == "MASTER_FLAT"] == [other[1], other[0]]
    assert "C003 MASTER_FLAT: pinned by you" in text and "C040 incomplete: MASTER_FLAT" in text


def test_a_pin_that_does_not_fit_is_told_and_strict_stops(tmp_path, night):
    root, objects = night
    words = ["muse_scibasic", "--for", objects[0], "--calib", root]
    flat = root / "m" / "noao" / "MASTER_FLAT-01.fits"
    status, frames, text = sof(tmp_path, *words, "--pin", f"MASTER_FLAT={flat}")
    assert status == 0 and len(names(frames, "MASTER_FLAT")) == 24
    assert "C004 MASTER_FLAT: the pinned file has mode WFM-NOAO-N, the data have WFM-AO-N" in text
    bias = root / "m" / "MASTER_BIAS-01.fits"
    _, _, text = sof(tmp_path, *words, "--pin", f"MASTER_FLAT={bias}")
    assert "has the tag MASTER_BIAS by its header" in text
    assert sof(tmp_path, *words, "--pin", f"MASTER_FLAT={flat}", "--strict")[0] == 1


def test_what_only_the_user_can_name_is_taken_when_named(tmp_path):
    table = write(tmp_path / "PIXTABLE_OBJECT_0001-01.fits", {
        "INSTRUME": "MUSE", "MJD-OBS": 57920.06, "ESO PRO CATG": "PIXTABLE_OBJECT", "EXTNAME": "CHAN01",
        "ESO INS MODE": "WFM-AO-N",
    })  # fmt: skip
    mask = write(tmp_path / "mask.fits", {})  # nothing in its header says what it is
    stray = write(tmp_path / "offsets.fits", {"INSTRUME": "MUSE", "ESO PRO CATG": "OFFSET_LIST"})
    words = ["muse_scipost", "--for", table]
    assert names(sof(tmp_path, *words)[1], "SKY_MASK") == []
    _, frames, _ = sof(tmp_path, *words, "--pin", f"SKY_MASK={mask}", "--pin", f"OFFSET_LIST={stray}")
    assert names(frames, "SKY_MASK") == ["mask.fits"] and names(frames, "OFFSET_LIST") == ["offsets.fits"]
    reduced = [
        write(tmp_path / f"PIXTABLE_REDUCED_000{n}.fits", {
            "INSTRUME": "MUSE", "MJD-OBS": 57920.0 + 0.1 * n, "ESO PRO CATG": "PIXTABLE_REDUCED",
            "OBJECT": "X",
        }) for n in (1, 2)
    ]  # fmt: skip
    _, frames, _ = sof(tmp_path, "muse_exp_combine", "--for", *reduced)
    assert names(frames, "OFFSET_LIST") == []  # one that lies about may be of another target


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pin", "MASTER_FALT={file}"], "--pin MASTER_FALT: muse_scibasic takes no such frame"),
        (["--pin", "STD_RESPONSE={file}"], "takes no such frame"),
        (["--pin", "MASTER_FLAT=absent.fits"], "an existing file"),
        (["--pin", "MASTER_FLAT={file}", "--exclude", "MASTER_FLAT*"], "a file that is not excluded"),
        (["--pin", "MASTER_FLAT={simulated}"], "one made by the simulator"),
        (["--pin", "GEOMETRY_TABLE={file}"] * 2, "given 2 times, muse_scibasic takes 1"),
        (["--use", "MASTER_BIAS"], "do not leave it out"),
        (["--use", "X"], "what --use can add: MASTER_DARK"),
    ],
)
def test_impossible_wishes_are_refused(tmp_path, night, capsys, words, told):
    root, objects = night
    simulated = master(tmp_path, "MASTER_FLAT", "2017-06-16T12:00:00.000", ifus=None, SIMULATE=True)[0]
    where = {"file": root / "m" / "MASTER_FLAT-01.fits", "simulated": simulated}
    words = [word.format(**where) for word in words]
    command = ["sof", "muse_scibasic", "--for", str(objects[0]), "--calib", str(root), *words]
    assert main([*command, "-o", str(tmp_path / "x.sof")]) == 1
    text = capsys.readouterr().err
    assert told in text and "Traceback" not in text and not (tmp_path / "x.sof").exists()


def test_a_dark_is_added_when_asked_for(tmp_path, night):
    root, objects = night
    master(tmp_path / "dark", "MASTER_DARK", "2017-06-10T12:00:00.000")
    words = ["muse_scibasic", "--for", objects[0], "--calib", root, "--calib", tmp_path / "dark"]
    _, frames, text = sof(tmp_path, *words)
    assert names(frames, "MASTER_DARK") == [] and "C051 MASTER_DARK left out" in text
    assert len(names(sof(tmp_path, *words, "--use", "MASTER_DARK")[1], "MASTER_DARK")) == 24


def test_an_exclusion_of_nothing_is_told(tmp_path, night, capsys):
    root, objects = night
    words = ["muse_scibasic", "--for", objects[0], "--calib", root]
    sof(
        tmp_path,
        *words,
        "--exclude",
        "nothing*.fits",
        "--exclude",
        root / "none",
        "--exclude",
        "MASTER_BIAS-*",
    )
    told = capsys.readouterr().err
    assert "C130 --exclude nothing*.fits" in told and f"C130 --exclude {root}/none" in told
    assert "C130 --exclude MASTER_BIAS" not in told


def test_a_tag_misspelt_is_no_gap(night, capsys):
    root, objects = night
    assert main(["calib", "find", "MASTER_FALT", "--for", str(objects[0]), "--calib", str(root)]) == 1
    assert "did you mean 'MASTER_FLAT'" in capsys.readouterr().err


def cut(path, chips=24):
    """Write a raw frame with two blocks of data per extension, cut off within the last one."""
    cards = {"INSTRUME": "MUSE", "ESO DPR CATG": "SCIENCE", "ESO DPR TYPE": "OBJECT", "ESO DET CHIPS": chips,
             "MJD-OBS": 57920.06, "ESO INS MODE": "WFM-AO-N", "ESO DET READ CURNAME": "SCI1.0"}  # fmt: skip
    text = header(cards)
    for n in range(1, chips + 1):
        extension = {"EXTNAME": f"CHAN{n:02d}", "NAXIS": 1, "NAXIS1": 2 * BLOCK}
        text += header(extension, "XTENSION") + b"\0" * (2 * BLOCK)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text[: -BLOCK // 2])
    return path


def test_a_file_cut_off_is_no_exposure_with_fewer_detectors(tmp_path):
    path = cut(tmp_path / "d" / "MUSE.2017-06-16T01:34:56.867.fits", 4)
    master(tmp_path / "d", "MASTER_BIAS", "2017-06-16T10:40:27.111", ifus=(1, 2, 3))
    status, _, text = sof(tmp_path, "muse_scibasic", "--for", path)
    assert status == 1
    assert "# C043 damaged: MUSE.2017-06-16T01:34:56.867.fits is cut off" in text
    assert "MASTER_BIAS set lacks IFU 4, 5, 6" in text  # all 24 are wanted, for nothing else is known


@pytest.mark.parametrize("how", ["sof", "night"])
def test_strict_is_strict_everywhere(tmp_path, how, capsys):
    raw(tmp_path / "d", "OBJECT", "2017-06-16T01:34:56.867")
    for tag in ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE"):
        ifus = range(1, 24) if tag == "WAVECAL_TABLE" else range(1, 25)
        master(tmp_path / "d", tag, "2017-06-16T10:00:00.000", ifus=ifus)
    for tag in ("GEOMETRY_TABLE", "EXTINCT_TABLE", "STD_RESPONSE"):
        master(tmp_path / "d", tag, "2017-06-16T00:00:00.000", ifus=None)
    if how == "sof":
        words = ["sof", "muse_scibasic", "--for", str(tmp_path / "d" / "MUSE.2017-06-16T01:34:56.867.fits")]
    else:
        words = ["sof", "--night", str(tmp_path / "d")]
    out = ["-o", str(tmp_path / "out")]
    assert main([*words, *out]) == 0
    capsys.readouterr()
    assert main([*words, *out, "--strict"]) == 1
    assert "--strict: doubtful, see C040" in capsys.readouterr().err


def test_marks_of_odd_files_end_with_a_message(tmp_path, capsys):
    good = master(tmp_path, "MASTER_FLAT", "2017-06-16T12:00:00.000", ifus=(1, 2, 3))
    empty = tmp_path / "empty.fits"
    empty.write_bytes(b"")
    text = tmp_path / "notes.txt"
    text.write_text("x")
    outside = master(
        tmp_path.parent / f"{tmp_path.name}-2", "MASTER_BIAS", "2017-06-16T12:00:00.000", ifus=None
    )[0]
    link = tmp_path / "link.fits"
    link.symlink_to(outside)
    odd = tmp_path / os.fsdecode(b"b\xffd.fits")
    good[2].rename(odd)
    main(["calib", "index", str(tmp_path)])
    for path, words in ((empty, "a file that is empty"), (text, "none of them"), (tmp_path, "no such file"),
                        (tmp_path / "no.fits", "no such file")):  # fmt: skip
        capsys.readouterr()
        assert main(["calib", "mark", str(path), "--as", "bad"]) == 1
        told = capsys.readouterr().err
        assert words in told and "Traceback" not in told
    assert main(["calib", "mark", *map(str, (good[0], link, odd)), "--as", "bad", "--note", "x"]) == 0
    assert capsys.readouterr().out.count("marked bad") == 3


def test_many_marks_look_at_the_tree_once(tmp_path, monkeypatch):
    from muse_core.calib import marks

    paths = master(tmp_path, "MASTER_FLAT", "2017-06-16T12:00:00.000")
    scans = []
    monkeypatch.setattr(marks, "scan", lambda *args: scans.append(args) or scan(*args))
    marks.mark(paths, "good", "", "me", RULES)
    assert len(scans) == 1

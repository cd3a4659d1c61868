# SPDX-License-Identifier: BSD-3-Clause
"""Sets of frames from the command line: complete, explained, the same for any order, readable by hosts."""

from __future__ import annotations

import json
import tomllib
from collections import Counter

import pytest

from muse_core.calib.rules import load_rules
from muse_core.framework.sof import load_sof
from muse_core.tools import main
from tests.calib.archive import master, raw, real_night

pytestmark = pytest.mark.unit
RULES = load_rules()


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("sof") / "data"
    return root, real_night(root)


def test_basic_reduction(night, tmp_path, capsys):
    root, objects = night
    out = tmp_path / "x.sof"
    assert main(["sof", "muse_scibasic", "--for", str(objects[0]), "--calib", str(root), "-o", str(out)]) == 0
    frames = load_sof(out)
    counts = Counter(frame.tag for frame in frames)
    assert counts == {
        "OBJECT": 1, "ILLUM": 1, "MASTER_BIAS": 24, "MASTER_FLAT": 24, "TRACE_TABLE": 24, "WAVECAL_TABLE": 24,
        "GEOMETRY_TABLE": 1, "TWILIGHT_CUBE": 1,
    }  # fmt: skip
    assert all(frame.path.is_absolute() and frame.path.is_file() for frame in frames)
    text = out.read_text()
    assert f"# rules {RULES.hash}" in text and "# C001 MASTER_FLAT for MUSE.2017-06-16T01:34:56.867" in text
    assert "C001 MASTER_FLAT" in capsys.readouterr().err


def test_each_exposure_its_own_set(night, tmp_path):
    root, objects = night
    command = ["sof", "muse_scibasic", "--for", *map(str, objects), "--calib", str(root)]
    assert main([*command, "-o", str(tmp_path / "x.sof")]) == 0
    assert [p.name for p in sorted(tmp_path.glob("*.sof"))] == [f"x_{n:02d}.sof" for n in range(1, 7)]
    illums = [
        next(f.path.name for f in load_sof(p) if f.tag == "ILLUM") for p in sorted(tmp_path.glob("*.sof"))
    ]
    assert len(set(illums[:3])) == len(set(illums[3:])) == 1 and illums[0] != illums[3]
    assert main([*command, "--together", "-o", str(tmp_path / "all.sof")]) == 0
    assert "C012 ILLUM: alone" in (tmp_path / "all.sof").read_text()


def test_something_required_is_missing(tmp_path, capsys):
    exposure = raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867")
    out = tmp_path / "x.sof"
    assert main(["sof", "muse_scibasic", "--for", str(exposure), "-o", str(out), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told[0]["missing"] == [
        "MASTER_BIAS",
        "MASTER_FLAT",
        "TRACE_TABLE",
        "WAVECAL_TABLE",
        "GEOMETRY_TABLE",
    ]
    assert not out.exists() and out.with_name("x.sof.incomplete").is_file()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["sof"], 2, "give a recipe"),
        (["sof", "muse_scibasic"], 2, "give a recipe"),
        (["sof", "muse_none", "--for", "{raw}"], 1, "no rule for the recipe"),
        (["sof", "muse_bias", "--for", "{raw}"], 1, "expected BIAS for muse_bias, found OBJECT"),
        (["sof", "muse_scibasic", "--for", "absent.fits"], 1, "an existing file"),
        (["sof", "muse_scibasic", "--for", "{raw}", "--pin", "X"], 1, "TAG=FILE"),
        (["sof", "muse_scibasic", "--for", "{raw}", "--calib", "absent"], 1, "an existing folder"),
        (["sof", "--night", "absent"], 1, "is no folder"),
        (["calib", "find", "--for", "{raw}"], 2, "at least one TAG"),
        (["calib", "index", "absent"], 1, "is no folder"),
        (["calib", "mark", "absent.fits", "--as", "bad"], 1, "a file of an indexed folder"),
    ],
)
def test_wrong_usage_is_explained(tmp_path, capsys, monkeypatch, arguments, status, words):
    monkeypatch.chdir(tmp_path)
    path = raw(tmp_path / "d", "OBJECT", "2017-06-16T01:34:56.867")
    assert main([text.format(raw=path) for text in arguments]) == status
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told


@pytest.mark.parametrize("lacking", [False, True], ids=["complete", "incomplete"])
def test_what_is_no_set_of_frames_is_not_replaced(night, tmp_path, capsys, lacking):
    root, objects = night
    kept = tmp_path / "kept.fits"
    kept.write_bytes(objects[0].read_bytes())
    objects = [raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867")] if lacking else objects
    words = ["muse_scibasic", "--for", str(objects[0]), "--calib", str(tmp_path if lacking else root)]
    content = kept.read_bytes()
    assert main(["sof", *words, "-o", str(kept)]) not in (0, None)
    assert kept.read_bytes() == content
    assert "kept.fits" in capsys.readouterr().err


def test_names_with_blanks_are_linked(tmp_path):
    exposure = raw(tmp_path / "my data", "OBJECT", "2017-06-16T01:34:56.867")
    for tag in ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE"):
        master(tmp_path / "my data", tag, "2017-06-16T01:00:00.000", ifus=None)
    out = tmp_path / "x.sof"
    assert main(["sof", "muse_scibasic", "--for", str(exposure), "-o", str(out)]) == 0
    frames = load_sof(out)
    assert len(frames) == 6 and all(frame.path.is_file() for frame in frames)
    assert (
        main(["sof", "muse_scibasic", "--for", str(exposure), "-o", str(tmp_path / "my data" / "x.sof")]) == 1
    )


def test_the_same_bytes_for_any_order(tmp_path):
    texts = set()
    folders = [tmp_path / name for name in "abc"]
    exposure = real_night(folders[0])[3]
    for n, folder in enumerate(folders[1:]):
        for tag in ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE"):
            master(folder, tag, f"2017-06-16T1{n}:00:00.000", pipe=f"muse/2.8.{n}")
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        for folder in folders:
            (folder / ".muse-index.sqlite").unlink(missing_ok=True)
        calib = [word for n in order for word in ("--calib", str(folders[n]))]
        out = tmp_path / "x.sof"
        assert main(["sof", "muse_scibasic", "--for", str(exposure), *calib, "-o", str(out)]) == 0
        texts.add(out.read_bytes())
    assert len(texts) == 1


@pytest.fixture(scope="module")
def raw_night(tmp_path_factory):
    """Raw frames only: two science exposures, a standard star, a sky field."""
    root = tmp_path_factory.mktemp("raw") / "data"
    real_night(root)
    for path in (root / "m").rglob("*.fits"):
        path.unlink()
    raw(root, "STD", "2017-06-16T09:32:00.500", object_name="GD153")
    raw(root, "SKY", "2017-06-16T02:20:00.500", object_name="sky")
    return root


def test_the_cascade_of_a_night(raw_night, tmp_path, capsys):
    assert main(["sof", "--night", str(raw_night), "-o", str(tmp_path / "p"), "--calib", str(raw_night)]) in (
        0,
        1,
    )
    plan = tomllib.loads((tmp_path / "p" / "plan.toml").read_text())["step"]
    recipes = Counter(step["recipe"] for step in plan)
    assert recipes == {
        "muse_bias": 1, "muse_flat": 1, "muse_wavecal": 1, "muse_lsf": 1, "muse_twilight": 1,
        "muse_scibasic": 8, "muse_standard": 1, "muse_create_sky": 1, "muse_scipost": 6, "muse_exp_align": 1,
        "muse_exp_combine": 1,
    }  # fmt: skip
    made: set[str] = set()
    for step in plan:
        assert all(number < step["number"] for number in step["needs"])
        folder = tmp_path / "p"
        sof = folder / step["sof"]
        for frame in load_sof(sof):
            if frame.path.is_relative_to(folder):
                assert str(frame.path) in made, f"{sof.name} needs {frame.path} which no earlier step makes"
            else:
                assert frame.path.is_file()
        made |= {f"{folder}/{step['number']:02d}_{step['recipe']}/{name}" for name in step["products"]}
    combine = load_sof(tmp_path / "p" / plan[-1]["sof"])
    assert Counter(frame.tag for frame in combine)["PIXTABLE_REDUCED"] == 6
    assert any(frame.tag == "OFFSET_LIST" for frame in combine)
    assert "plan.toml" in capsys.readouterr().out


def test_masters_that_exist_are_not_made_again(night, tmp_path):
    root, _ = night
    main(["sof", "--night", str(root), "-o", str(tmp_path / "p"), "--calib", str(root)])
    plan = tomllib.loads((tmp_path / "p" / "plan.toml").read_text())["step"]
    assert not {"muse_bias", "muse_flat", "muse_twilight"} & {step["recipe"] for step in plan}


def test_the_plan_is_the_same_for_any_order(raw_night, tmp_path):
    texts = set()
    for _ in range(2):
        (raw_night / ".muse-index.sqlite").unlink(missing_ok=True)
        main(["sof", "--night", str(raw_night), "-o", str(tmp_path / "p"), "--calib", str(raw_night)])
        texts.add(tuple(path.read_bytes() for path in sorted((tmp_path / "p").glob("*")) if path.is_file()))
    assert len(texts) == 1


def test_no_set_has_a_tag_too_often(raw_night, tmp_path):
    from muse_core.framework import registry

    main(["sof", "--night", str(raw_night), "-o", str(tmp_path / "p"), "--calib", str(raw_night)])
    for path in (tmp_path / "p").glob("*.sof*"):
        counts = Counter(frame.tag for frame in load_sof(path))
        name = path.name.partition("_")[2].partition(".")[0]
        if name in registry.names():
            for declared in registry.load(name).spec.inputs:
                assert declared.max is None or counts[declared.tag] <= declared.max
        for tag in (
            "GEOMETRY_TABLE",
            "TWILIGHT_CUBE",
            "ILLUM",
            "EXTINCT_TABLE",
            "STD_RESPONSE",
            "OFFSET_LIST",
        ):
            assert counts[tag] <= 1
        for tag in ("MASTER_BIAS", "TRACE_TABLE", "WAVECAL_TABLE", "MASTER_FLAT"):
            assert counts[tag] in (0, 1, 24)


def test_dates_choose_nights(raw_night, tmp_path, capsys):
    command = ["sof", "--night", str(raw_night), "--calib", str(raw_night), "-o", str(tmp_path / "p")]
    assert main([*command, "--date", "2011-01-01"]) == 1
    assert "found nights: 2017-06-15" in capsys.readouterr().err
    main([*command, "--date", "2017-06-15"])
    assert (tmp_path / "p" / "plan.toml").is_file()


def test_every_recipe_of_ours_has_a_rule_that_it_can_read():
    from muse_core.framework import registry

    for name in registry.names():
        rule, inputs = RULES.recipes[name], {declared.tag for declared in registry.load(name).spec.inputs}
        assert set(rule.raw) | set(rule.takes) <= inputs, name
        assert set(rule.renamed.values()) <= set(rule.raw), name


def test_single_steps_take_the_tables_of_the_step_before(tmp_path):
    table = master(tmp_path, "PIXTABLE_REDUCED", "2017-06-16T01:34:56.000", ifus=None)[0]
    master(tmp_path, "ASTROMETRY_WCS", "2017-06-10T00:00:00.000", ifus=None)
    out = tmp_path / "x.sof"
    assert main(["sof", "muse_scipost_apply_astrometry", "--for", str(table), "-o", str(out)]) == 0
    assert [(frame.path.name, frame.tag) for frame in load_sof(out)] == [
        ("PIXTABLE_REDUCED.fits", "PIXTABLE_OBJECT"), ("ASTROMETRY_WCS.fits", "ASTROMETRY_WCS"),
    ]  # fmt: skip
    assert main(["sof", "muse_scipost_subtract_sky", "--for", str(table), "-o", str(out)]) == 0
    assert ("PIXTABLE_REDUCED.fits", "PIXTABLE_REDUCED") in [(f.path.name, f.tag) for f in load_sof(out)]

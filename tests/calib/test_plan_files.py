# SPDX-License-Identifier: BSD-3-Clause
"""A plan made again: what has changed is run, with all that follows; nothing of an earlier plan misleads."""

from __future__ import annotations

import subprocess
import tomllib
from collections import Counter

import pytest

from muse_core.framework.sof import load_sof
from muse_core.tools import main
from tests.calib.archive import BLOCK, DPR, header, master, raw, write

pytestmark = pytest.mark.unit

# stands for both hosts: says what it was asked to run and makes the products of the step
RUNNER = """#!/bin/sh
echo "$(basename "$PWD")" >> ../ran.txt
touch made.fits
"""


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "d"
    for tag in ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE"):
        master(root / "m", tag, "2017-06-16T10:00:00.000")
    for tag in ("GEOMETRY_TABLE", "EXTINCT_TABLE", "STD_RESPONSE"):
        master(root / "m", tag, "2017-06-16T00:00:00.000", ifus=None)
    raw(root, "OBJECT", "2017-06-16T01:00:00.000", object_name="A")
    raw(root, "OBJECT", "2017-06-16T02:00:00.000", object_name="A")
    return root


@pytest.fixture
def run(tmp_path, folder, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name in ("muserun", "esorex"):
        program = tmp_path / "bin" / name
        program.write_text(RUNNER)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    def runs(*words):
        """Plan, run, and return the steps that were run."""
        assert main(["sof", "--night", str(folder), "-o", str(tmp_path / "p"), *words]) == 0
        log = tmp_path / "p" / "ran.txt"
        log.unlink(missing_ok=True)
        subprocess.run([str(tmp_path / "p" / "run.sh")], check=True, capture_output=True)
        return log.read_text().split() if log.exists() else []

    return runs


def test_what_is_done_is_left_out_and_what_changed_is_run_again(tmp_path, folder, run):
    chain = [
        "01_muse_scibasic", "02_muse_scibasic", "03_muse_scipost", "04_muse_scipost", "05_muse_exp_align",
        "06_muse_exp_combine",
    ]  # fmt: skip
    assert run() == chain
    assert run() == []
    flat = tmp_path / "f"
    master(flat, "MASTER_FLAT", "2017-06-16T10:00:00.000", pipe="muse/2.9.0")
    pin = ["--pin", f"MASTER_FLAT={flat / 'MASTER_FLAT-01.fits'}"]
    assert main(["calib", "index", str(flat)]) == 0
    assert run("--calib", str(folder), "--calib", str(flat), *pin) == chain
    assert run() == chain
    other = raw(folder, "OBJECT", "2017-06-16T01:30:00.000", object_name="A")
    assert run() == [  # the second exposure has got another number, the first is still the same
        "02_muse_scibasic", "03_muse_scibasic", "04_muse_scipost", "05_muse_scipost", "06_muse_scipost",
        "07_muse_exp_align", "08_muse_exp_combine",
    ]  # fmt: skip
    other.write_bytes(other.read_bytes() + bytes(2880))  # downloaded again
    assert run() == ["02_muse_scibasic", "05_muse_scipost", "07_muse_exp_align", "08_muse_exp_combine"]
    (tmp_path / "p" / "05_muse_scipost" / "done").unlink()
    assert run() == ["05_muse_scipost", "07_muse_exp_align", "08_muse_exp_combine"]


def test_sets_of_an_earlier_plan_are_removed_and_folders_told(tmp_path, folder, run, capsys):
    run()
    next(folder.glob("MUSE.2017-06-16T02*")).unlink()
    capsys.readouterr()
    assert run() == ["02_muse_scipost"]
    told = capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "p").glob("*.sof*")) == [
        "01_muse_scibasic.sof", "02_muse_scipost.sof",
    ]  # fmt: skip
    assert "C131 06_muse_exp_combine: folder of an earlier plan" in told
    assert (
        tmp_path / "p" / "06_muse_exp_combine" / "made.fits"
    ).exists()  # products are the user's to remove


def test_a_plan_of_something_else_is_not_overwritten(tmp_path, folder, capsys):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "plan.toml").write_text('[[step]]\nsof = "../../precious.sof"\n')
    assert main(["sof", "--night", str(folder), "-o", str(tmp_path / "p")]) == 1
    assert "is no plan of this program" in capsys.readouterr().err
    assert not list((tmp_path / "p").glob("*.sof"))


def test_an_incomplete_step_stops_the_run_and_says_why(tmp_path, folder):
    (folder / "m" / "GEOMETRY_TABLE.fits").unlink()
    assert main(["sof", "--night", str(folder), "-o", str(tmp_path / "p")]) == 1
    job = subprocess.run([str(tmp_path / "p" / "run.sh")], capture_output=True, text=True, check=False)
    assert job.returncode == 1 and "01_muse_scibasic.sof.incomplete: no GEOMETRY_TABLE" in job.stdout


def test_only_what_belongs_together_is_combined(tmp_path, folder):
    raw(folder, "OBJECT", "2017-06-16T03:00:00.000", "WFM-AO-E", object_name="A")
    raw(folder, "OBJECT", "2017-06-16T04:00:00.000", "NFM-AO-N", object_name="A")
    raw(folder, "OBJECT", "2017-06-16T05:00:00.000", "WFM-NOAO-N", object_name="A")
    raw(folder, "OBJECT", "2017-06-16T06:00:00.000", object_name="B")
    main(["sof", "--night", str(folder), "-o", str(tmp_path / "p")])
    plan = tomllib.loads((tmp_path / "p" / "plan.toml").read_text())["step"]
    combined = [step for step in plan if step["recipe"] == "muse_exp_combine"]
    assert [len(step["for"]) for step in combined] == [3]
    text = (tmp_path / "p" / combined[0]["sof"]).read_text()
    assert "# C015 mixed modes in one cube: WFM-AO-N, WFM-NOAO-N" in text


def test_pinned_offsets_move_the_exposures_once(tmp_path, folder):
    offsets = write(tmp_path / "offsets.fits", {"INSTRUME": "MUSE", "ESO PRO CATG": "OFFSET_LIST"})
    words = ["--pin", f"OFFSET_LIST={offsets}", "-o", str(tmp_path / "p")]
    assert main(["sof", "--night", str(folder), *words]) == 0
    found = Counter(
        (path.name.partition("_")[2], str(frame.path))
        for path in (tmp_path / "p").glob("*.sof")
        for frame in load_sof(path)
        if frame.tag == "OFFSET_LIST"
    )
    assert found == {("muse_exp_combine.sof", str(offsets)): 1}


def test_names_that_are_no_text_stand_in_the_plan(tmp_path, folder):
    path = next(folder.glob("MUSE.2017-06-16T02*"))
    path.rename(folder / b"odd\xff.fits".decode("utf-8", "surrogateescape"))
    cards = {
        "INSTRUME": "MUSE",
        "ESO DPR CATG": DPR["OBJECT"][0],
        "ESO DPR TYPE": "OBJECT",
        "MJD-OBS": 57920.2,
    }
    cards |= {"ESO INS MODE": "WFM-AO-N", "ESO DET READ CURNAME": "SCI1.0", "OBJECT": 'say "x" \\ y'}
    write(folder / b"\xfe.fits".decode("utf-8", "surrogateescape"), cards)
    assert main(["sof", "--night", str(folder), "-o", str(tmp_path / "p")]) == 0
    plan = tomllib.loads((tmp_path / "p" / "plan.toml").read_text())["step"]
    assert any("\\udcfe" in name for step in plan for name in step["for"])


def test_a_raw_frame_cut_off_is_named_in_the_plan(tmp_path, folder, capsys):
    path = next(folder.glob("MUSE.2017-06-16T02*"))
    cut = header({"EXTNAME": "CHAN01", "NAXIS": 1, "NAXIS1": 4 * BLOCK}, "XTENSION")
    path.write_bytes(path.read_bytes() + cut)
    words = ["sof", "--night", str(folder), "-o", str(tmp_path / "p")]
    assert main(words) == 0
    assert f"C043 damaged: {path.name} is cut off" in capsys.readouterr().out
    assert main([*words, "--strict"]) == 1

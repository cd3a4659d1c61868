# SPDX-License-Identifier: BSD-3-Clause
"""musetools calib: list, find, verify and mark as a user meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from astropy.io import fits

from muse_core.calib import CalibrationNotFoundError, find_calibration
from muse_core.calib.cards import Wanted, read_primary
from muse_core.calib.places import search_order
from muse_core.framework.places import (
    chosen_calibration_folders,
    pipeline_calibration_folders,
    shipped_folder,
)
from muse_core.tools import main
from tests.calib.archive import master, raw, real_night, write

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    root = tmp_path_factory.mktemp("commands")
    return root, real_night(root)


def test_list(night, capsys):
    root, _ = night
    assert main(["calib", "list", str(root), "--json", "--tag", "bias"]) == 0
    assert [(row["tag"], row["files"]) for row in json.loads(capsys.readouterr().out)] == [("BIAS", 11)]
    assert main(["calib", "list", str(root), "--night", "2017-06-15", "--files"]) == 0
    assert "\nOBJECT\traw\t" in capsys.readouterr().out
    assert main(["calib", "list", str(root), "--tree", "--tag", "OBJECT"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("raw/2017-06-15/MUSE.2017-06-16T01:34:56.867.fits <- r/")
    assert main(["calib", "list", str(root), "--tag", "NOTHING"]) == 1


def test_find_explained(night, capsys):
    root, objects = night
    command = ["calib", "find", "--for", str(objects[0]), "--calib", str(root)]
    assert main([*command, "master_flat", "--explain"]) == 0
    told = capsys.readouterr()
    assert "refused by mode: mode WFM-NOAO-N, the data have WFM-AO-N" in told.out
    assert "C001 MASTER_FLAT" in told.err
    assert main([*command, "STD_RESPONSE", "--json", "--explain"]) == 0
    answer = json.loads(capsys.readouterr().out)[0]
    assert answer["level"] == 0 and len(answer["candidates"]) == 2
    assert main([*command, "MASTER_DARK"]) == 0
    assert "C051" in capsys.readouterr().err
    assert main([*command, "OFFSET_LIST"]) == 1


def test_find_starts_without_what_only_a_run_needs(night):
    root, objects = night
    command = ["calib", "find", "--for", str(objects[0]), "ILLUM", "--calib", str(root)]
    code = (
        f"import sys; from muse_core.tools import main; assert main({command!r}) == 0;"
        "needless = {'numpy', 'astropy', 'muse_core.framework.execution', '_muse_recipe_muse_scipost'};"
        "assert not needless & set(sys.modules), needless & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_static_calibrations_come_from_the_project(night, capsys):
    root, objects = night
    assert main(["calib", "find", "--for", str(objects[0]), "--calib", str(root), "EXTINCT_TABLE"]) == 0
    assert str(shipped_folder("calib_db") / "static" / "extinct_table.fits") in capsys.readouterr().out


def test_order_of_the_folders(tmp_path, monkeypatch):
    given, chosen, prefix = tmp_path / "given", tmp_path / "chosen", tmp_path / "prefix"
    old, new = (prefix / "share" / "esopipes" / "datastatic" / f"muse-{v}" for v in ("2.8.7", "2.10.1"))
    (prefix / "bin").mkdir(parents=True)
    for folder in (given, chosen, old, new):
        folder.mkdir(parents=True)
    (prefix / "bin" / "esorex").write_text("#!/bin/sh\n")
    (prefix / "bin" / "esorex").chmod(0o755)
    monkeypatch.setenv("PATH", str(prefix / "bin"))
    monkeypatch.setenv("MUSE_CALIB_DB", str(chosen))
    assert chosen_calibration_folders() == [chosen]
    assert pipeline_calibration_folders()[:2] == [new, old]
    order = search_order([given])
    assert order[:3] == [given, chosen, new] and order[-1] == shipped_folder("calib_db") / "static"
    assert search_order([given], simulated=True)[-1].name == "simulated"


def test_provenance(tmp_path, capsys):
    raw(tmp_path, "FLAT", "2017-06-16T12:15:46.222")
    bias = master(tmp_path, "MASTER_BIAS", "2017-06-16T10:40:00.000", ifus=[1])[0]
    history = {
        "ESO PRO REC1 RAW1 NAME": "MUSE.2017-06-16T12:15:46.222.fits", "ESO PRO REC1 RAW1 CATG": "FLAT",
        "ESO PRO REC1 CAL1 NAME": bias.name, "ESO PRO REC1 CAL1 CATG": "MASTER_BIAS",
        "ESO PRO REC1 CAL1 DATAMD5": read_primary(bias, Wanted(["DATAMD5"])).values["DATAMD5"],
    }  # fmt: skip
    flat = master(tmp_path, "MASTER_FLAT", "2017-06-16T12:15:46.222", ifus=[1], **history)[0]
    main(["calib", "index", str(tmp_path)])
    capsys.readouterr()
    assert main(["calib", "find", "--used-by", str(flat)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and str(bias) in lines[1] and "MUSE.2017-06-16T12:15:46.222.fits" in lines[0]
    assert main(["calib", "find", "--uses", str(bias)]) == 0
    assert str(flat) in capsys.readouterr().out
    master(tmp_path, "MASTER_BIAS", "2017-06-16T10:40:00.000", ifus=[1], pipe="muse/2.9.0")
    main(["calib", "verify", str(tmp_path)])
    assert "that is not here or has changed" in capsys.readouterr().out


def test_verify_finds_damage_a_scan_cannot_see(tmp_path, capsys):
    path = tmp_path / "EXTINCT_TABLE.fits"
    hdu = fits.ImageHDU([[1, 2, 3]], name="DATA")
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "MUSE"
    primary.header["HIERARCH ESO PRO CATG"] = "EXTINCT_TABLE"
    fits.HDUList([primary, hdu]).writeto(path, checksum=True)
    assert main(["calib", "verify", str(tmp_path), "--full"]) == 0
    content = bytearray(path.read_bytes())
    content[2 * 2880 + 7] ^= 1
    path.write_bytes(content)
    assert main(["calib", "verify", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["calib", "verify", str(tmp_path), "--full"]) == 3
    assert "DATASUM is" in capsys.readouterr().out
    path.write_bytes(content[:-2880])
    assert main(["calib", "verify", str(tmp_path)]) == 3
    assert "cut off" in capsys.readouterr().out


def test_verify_of_names_and_sets(tmp_path, capsys):
    master(tmp_path, "MASTER_BIAS", "2017-06-16T10:40:00.000", ifus=range(1, 24))
    write(tmp_path / "MASTER_FLAT-01.fits", {"INSTRUME": "MUSE", "ESO PRO CATG": "MASTER_DARK"})
    main(["calib", "verify", str(tmp_path), "--quick"])
    told = capsys.readouterr().out
    assert "lacks IFU 24" in told and "is MASTER_DARK, though its name says MASTER_FLAT" in told


def test_mark_by_command(tmp_path, capsys):
    exposure = raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867")
    (path,) = master(tmp_path, "TWILIGHT_CUBE", "2017-06-18T22:07:10.444", ifus=None)
    main(["calib", "index", str(tmp_path)])
    assert main(["calib", "mark", str(path), "--as", "bad", "--note", "cloud"]) == 0
    assert main(["calib", "find", "--for", str(exposure), "TWILIGHT_CUBE"]) == 1
    assert "marked bad: cloud" in capsys.readouterr().err
    assert main(["calib", "mark", str(path), "--as", "none"]) == 0
    assert main(["calib", "find", "--for", str(exposure), "TWILIGHT_CUBE"]) == 0


def test_provenance_of_odd_names(tmp_path, capsys):
    odd = os.fsdecode(b"fl\xe4t_1%.fits")
    product = {"INSTRUME": "MUSE", "ESO PRO CATG": "MASTER_FLAT", "MJD-OBS": 57920.0}
    used = {"ESO PRO REC1 RAW1 NAME": "a_c%.fits", "ESO PRO REC1 RAW1 CATG": "FLAT"}
    write(tmp_path / "x" / odd, product | used)
    write(tmp_path / "x" / "abc.fits", {"INSTRUME": "MUSE", "ESO PRO CATG": "MASTER_BIAS"})
    write(tmp_path / "x" / "a_cd.fits", {"INSTRUME": "MUSE", "ESO PRO CATG": "MASTER_BIAS"})
    assert main(["calib", "index", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["calib", "find", "--used-by", str(tmp_path / "x" / odd)]) == 0
    assert capsys.readouterr().out.endswith("a_c%.fits: not here\n")  # neither % nor _ stand for letters
    write(
        tmp_path / "x" / "a_c%.fits",
        {"INSTRUME": "MUSE", "ESO DPR CATG": "CALIB", "ESO DPR TYPE": "FLAT,LAMP"},
    )
    main(["calib", "index", str(tmp_path)])
    capsys.readouterr()
    assert main(["calib", "find", "--used-by", str(tmp_path / "x" / odd)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("x/a_c%.fits")
    assert main(["calib", "find", "--uses", str(tmp_path / "x" / odd)]) == 1


def test_an_index_damaged_inside_is_told(tmp_path, capsys):
    for n in range(300):
        raw(tmp_path, "BIAS", f"2017-06-16T10:{n // 60:02d}:{n % 60:02d}.111")
    assert main(["calib", "index", str(tmp_path)]) == 0
    place = tmp_path / ".muse-index.sqlite"
    data = bytearray(place.read_bytes())
    half = len(data) // 2 // 4096 * 4096
    data[half:] = b"\xa5" * (len(data) - half)
    place.write_bytes(data)
    capsys.readouterr()
    assert main(["calib", "list", "--files", str(tmp_path)]) == 3
    told = capsys.readouterr().err
    assert "damaged" in told and "calib index" in told and "Traceback" not in told


def test_a_calibration_for_python_code_is_of_the_mode_asked_for(tmp_path, monkeypatch):
    for mode in ("WFM-AO-N", "WFM-AO-E"):
        master(tmp_path / mode, "STD_RESPONSE", "2017-06-16T01:00:00.000", ifus=None, ESO__INS__MODE=mode)
    monkeypatch.setenv("MUSE_CALIB_DB", str(tmp_path))
    for mode in ("WFM-AO-N", "WFM-AO-E"):
        assert find_calibration("STD_RESPONSE", mode).parent.name == mode
    with pytest.raises(CalibrationNotFoundError):
        find_calibration("STD_RESPONSE", "WFM-NOAO-N")


@pytest.mark.parametrize(
    "command",
    [
        ["calib", "list", "mistyped"],
        ["calib", "find", "MASTER_BIAS", "--for", "mistyped.fits"],
        ["sof", "muse_scibasic", "--for", "mistyped.fits"],
        ["sof", "--night", "mistyped"],
    ],
)
def test_a_mistyped_name_makes_no_index_of_the_folder_above(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    assert main(command) == 1
    assert "mistyped" in capsys.readouterr().err and not list(tmp_path.iterdir())

# SPDX-License-Identifier: BSD-3-Clause
"""The muserun command: options, sets of frames, delivery, exit status."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits

from tests.hosts.conftest import RECIPE, RECIPES, muserun

pytestmark = pytest.mark.unit


def products(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".fits")


MADE = ["TEST_IMAGE_0001.fits", "TEST_IMAGE_0002.fits", "TEST_TABLE.fits"]


def test_run_delivers_signed_products(work, sof):
    (work / "out").mkdir()
    result = muserun(
        "--output-dir=out", "--products-sof=p.json", "--log-file=run.log", RECIPE, "--nrow=7", sof
    )
    assert result.returncode == 0, result.stderr
    assert products(work / "out") == MADE
    assert products(work) == []
    assert json.loads((work / "p.json").read_text()) == [
        {"name": f"out/{name}", "category": name[:10].rstrip("_")} for name in MADE
    ]
    with fits.open(work / "out" / MADE[0], checksum=True) as hdus:
        assert len(hdus[0].header["DATAMD5"]) == 32
        assert hdus[0].header["ESO PRO REC1 PARAM2 VALUE"] == "7"
    log = (work / "run.log").read_text().splitlines()
    assert [line[:15] for line in log[1:4]] == ["Start time     ", "Program name   ", "Severity level "]
    assert any("Invocation command line was: muserun" in line for line in log)
    assert any(line[8:].startswith(" [ INFO  ] run: [tid=000] echoed") for line in log)
    assert "[ INFO  ] muse_test_echo: echoed 2 images" in result.stdout
    assert not [path for path in (work / "out").iterdir() if path.name.startswith(".")]


def test_products_stay_in_place_without_output_folder(work, sof):
    result = muserun("--suppress-prefix=FALSE", "--output-prefix=pre", "--products-sof=p.sof", RECIPE, sof)
    assert result.returncode == 0
    names = ["pre_0000.fits", "pre_0001.fits", "pre_0002.fits"]
    assert products(work) == names
    lines = (work / "p.sof").read_text().splitlines()
    assert lines == [f"{n}     {t}" for n, t in zip(names, ["TEST_IMAGE", "TEST_IMAGE", "TEST_TABLE"])]


def test_links_are_absolute_and_files_read_only(work, sof):
    (work / "o").mkdir()
    (work / "l").mkdir()
    words = ["--output-dir=o", "--suppress-link=FALSE", "--link-dir=l", "--output-readonly=TRUE", RECIPE, sof]
    assert muserun(*words).returncode == 0
    again = muserun(*words)
    assert again.returncode == 0
    assert "will be overwritten" in again.stdout
    for name in MADE:
        assert (work / "l" / name).readlink() == work / "o" / name
        assert (work / "o" / name).stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize(
    ("option", "absent", "present"),
    [
        ("--no-checksum", ("CHECKSUM", "DATASUM"), ("DATAMD5",)),
        ("--no-datamd5", ("DATAMD5",), ("CHECKSUM", "DATASUM")),
    ],
)
def test_signatures_can_be_left_out(work, sof, option, absent, present):
    assert muserun(option, RECIPE, sof).returncode == 0
    with fits.open(work / MADE[0], checksum=True) as hdus:
        for key in absent:
            assert all(key not in hdu.header for hdu in hdus)
        assert all(key in hdus[0].header for key in present)


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        ([], 0, "No recipe given"),
        (["--help"], 0, "--suppress-prefix"),
        (["--version"], 0, "muserun"),
        (["--recipes"], 0, RECIPE),
        (["--bogus"], 255, "--bogus' not recognized"),
        (["--msg-level=Info"], 255, "msg-level"),
        (["--suppress-prefix=yes"], 255, "TRUE or FALSE"),
        (["--output-dir=/no/such", RECIPE, "in.sof"], 255, "not a valid directory"),
        (["--config=none.rc"], 255, "none.rc"),
        (["--recipe-config=none.rc", RECIPE, "in.sof"], 255, "none.rc"),
        (["muse_nope"], 13, "Unable to find recipe 'muse_nope'"),
        (["--man-page", "muse_nope"], 13, "Unable to find recipe"),
        ([RECIPE, "none.sof"], 9, "none.sof"),
        ([RECIPE, "gap.sof"], 9, "absent.fits"),
        ([RECIPE, "--nrow=1.7", "in.sof"], 255, "nrow"),
        ([RECIPE, "--nrow=1e2", "in.sof"], 255, "nrow"),
        ([RECIPE, "--nrow=", "in.sof"], 255, "nrow"),
        ([RECIPE, "--method=Mean", "in.sof"], 255, "mean, median, none"),
        ([RECIPE, "--strict=True", "in.sof"], 255, "strict"),
        ([RECIPE, "--s=1", "in.sof"], 255, "'--s' may mean"),
        ([RECIPE, "--foo=1", "in.sof"], 255, "--foo"),
        ([RECIPE, f"--muse.{RECIPE}.nrow=3", "in.sof"], 255, "not recognized"),
        ([RECIPE, "--nrow", "3", "in.sof"], 9, "'--nrow' needs"),
        ([RECIPE, "in.sof", "--nrow=3"], 9, "options go in front of it"),
        ([RECIPE, "--help"], 0, "Options:"),
        ([RECIPE, "--man-page"], 0, "SYNOPSIS"),
        ([RECIPE, "--nrow=4", "--params"], 0, "nrow                  : 4"),
        ([RECIPE, "--output-dir=o", "in.sof"], 255, "muserun --output-dir=o muse_test_echo ..."),
        ([RECIPE, "--msg-level", "in.sof"], 255, "in front of the recipe's name"),
        ([RECIPE], 255, "TEST_RAW"),
        ([RECIPE, "--fault=raise", "in.sof"], 70, "a defect of the recipe itself"),
        ([RECIPE, "--fault=recipe", "in.sof"], 255, "this run cannot go on"),
        ([RECIPE, "--fault=memory", "in.sof"], 71, "out of memory"),
        (["--products-sof=/no/such/p.sof", RECIPE, "in.sof"], 8, "/no/such/p.sof"),
    ],
)
def test_exit_status_and_message(work, sof, words, status, text):
    (work / "gap.sof").write_text("absent.fits TEST_RAW\n")
    result = muserun(*words)
    assert result.returncode == status, result.stdout + result.stderr
    assert text in (result.stderr if status else result.stdout)
    assert "Traceback" not in result.stdout + result.stderr


def test_all_input_faults_are_reported(work, sof):
    result = muserun(RECIPE, "--fault=input", sof)
    assert "x.fits" in result.stderr
    assert "y.fits" in result.stderr


def test_failed_run_leaves_the_folders_as_they_were(work, sof):
    (work / "o").mkdir()
    result = muserun("--output-dir=o", "--products-sof=p.sof", RECIPE, "--fault=half", sof)
    assert result.returncode == 255
    assert products(work) == []
    assert list((work / "o").iterdir()) == []
    assert not (work / "p.sof").exists()


def values(text: str) -> dict[str, str]:
    return dict(
        line.strip().split(None, 1)[0:1] + [line.partition(":")[2].strip()]
        for line in text.splitlines()
        if ":" in line
    )


def test_precedence_of_configuration(work):
    home = Path.home() / ".esorex"
    home.mkdir()
    (home / f"{RECIPE}.rc").write_text(f"muse.{RECIPE}.nrow=11\nmuse.{RECIPE}.scale=11\n")
    (work / "my.rc").write_text(f'# note\n muse.{RECIPE}.nrow = 12 # twelve\n\tmuse.{RECIPE}.title="x # y"\n')
    shown = values(muserun("--params", RECIPE).stdout)
    assert (shown["nrow"], shown["scale"]) == ("11", "11.0")
    shown = values(muserun("--params", "--recipe-config=my.rc", RECIPE, "--sc=1e-5", "--sc=3000").stdout)
    assert (shown["nrow"], shown["scale"], shown["title"]) == ("12", "3e+03", "x # y")
    shown = values(muserun("--params", "--recipe-config=my.rc", RECIPE, "--nrow=13", "--title=").stdout)
    assert (shown["nrow"], shown["title"]) == ("13", "")
    (work / "bad.rc").write_text("nrow=3\n")
    assert muserun("--recipe-config=bad.rc", RECIPE).returncode == 255


def test_environment_and_caller_configuration(work, monkeypatch):
    (work / "c.rc").write_text("esorex.caller.output-prefix=fromrc\nesorex.caller.log-file=rc.log\n")
    monkeypatch.setenv("ESOREX_LOG_FILE", "env.log")
    shown = values(muserun("--params", "--config=c.rc", "--msg-level=error").stdout)
    assert (shown["output-prefix"], shown["log-file"], shown["msg-level"]) == ("fromrc", "env.log", "error")
    monkeypatch.setenv("ESOREX_MSG_LEVEL", "loud")
    assert muserun("--params").returncode == 255


def test_written_configuration_can_be_read_back(work):
    assert muserun("--create-config=a.rc", RECIPE, "--nrow=5").returncode == 0
    assert muserun("--create-config=a.rc", RECIPE, "--nrow=6").returncode == 0
    assert f"muse.{RECIPE}.nrow=5" in (work / "a.rc.bak").read_text()
    assert values(muserun("--params", "--recipe-config=a.rc", RECIPE).stdout)["nrow"] == "6"
    assert muserun("--create-config=a.json", RECIPE).returncode == 0
    entries = json.loads((work / "a.json").read_text())
    assert [entry["display_name"] for entry in entries][:2] == ["scale", "nrow"]
    assert entries[3]["valenum"] == ["mean", "median", "none"]
    assert muserun("--create-config", RECIPE).returncode == 0
    assert (Path.home() / ".esorex" / f"{RECIPE}.rc").is_file()
    assert muserun("--create-config=caller.rc").returncode == 0
    assert "esorex.caller.suppress-prefix=TRUE" in (work / "caller.rc").read_text()


def test_sof_rules(work, images, monkeypatch):
    monkeypatch.setenv("WHERE", str(images[0].parent))
    (work / "a.sof").write_text(f"# c\n\n  $WHERE/{images[0].name}\tTEST_RAW RAW more words\n")
    (work / "b.sof").write_text(
        f"${{WHERE}}/{images[1].name} TEST_RAW\n{images[0]}\n${{UNSET_X}}{images[0]} OTHER\n"
    )
    result = muserun(RECIPE, "a.sof", "b.sof")
    assert result.returncode == 0, result.stderr
    assert "the variable $UNSET_X is not set" in result.stdout
    (work / "c.sof").write_text("$NO_SUCH_PLACE/x.fits TEST_RAW\n")
    result = muserun(RECIPE, "c.sof")
    assert result.returncode == 9
    assert "variables in these names are not set: $NO_SUCH_PLACE" in result.stderr
    with fits.open(work / MADE[2]) as hdus:
        assert list(hdus[1].data["NAME"]) == [images[0].name, images[1].name]


def test_paths_beyond_ascii_and_with_blanks(tmp_path, images, monkeypatch):
    folder = tmp_path / "d\u00e9p\u00f4t \u03b1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "\u00fc.fits").write_bytes(images[0].read_bytes())
    (folder / "in put.sof").write_text("\u00fc.fits TEST_RAW\n", encoding="utf-8")
    (folder / "out put").mkdir()
    result = muserun("--output-dir=out put", RECIPE, "in put.sof", env={"HOME": str(folder), "LC_ALL": "C"})
    assert result.returncode == 0, result.stderr
    assert products(folder / "out put") == [MADE[0], MADE[2]]


def test_messages_carry_the_time(work, sof):
    result = muserun(RECIPE, sof)
    messages = [line for line in result.stdout.splitlines() if "muse_test_echo: " in line]
    assert messages
    assert all(re.match(r"\d\d:\d\d:\d\d \[", line) for line in messages)


def test_calibrations_are_named_with_what_they_are_for(work, images):
    (work / "in.sof").write_text(
        f"{images[0]} TEST_RAW\n{images[1]} TEST_LIST\n{images[0]} TEST_LIST\n{images[1]} TEST_MASK\n"
    )
    result = muserun(RECIPE, "--uses=TEST_LIST", "in.sof")
    assert result.returncode == 0, result.stderr
    assert f"TEST_LIST: {images[1].name} and 1 more (Tables)" in result.stdout
    assert "TEST_RAW:" not in result.stdout
    assert f"TEST_MASK was not needed with these parameters ({images[1].name})" in result.stdout


def test_strict_turns_things_left_undone_into_errors(work, images):
    (work / "in.sof").write_text(f"{images[0]} TEST_RAW\n{images[1]} TEST_LSIT\n")
    assert muserun(RECIPE, "--undone=late", "in.sof").returncode == 0
    with fits.open(work / MADE[0]) as hdus:
        assert hdus[0].header["ESO QC TESTECHO HAS MASK"] is False
    for path in work.glob("*.fits"):
        path.unlink()
    result = muserun("--strict", RECIPE, "--undone=early", "in.sof")
    assert result.returncode == 255
    assert "did you mean TEST_LIST" in result.stderr
    assert "no mask, early" in result.stderr
    assert products(work) == []
    (work / "in.sof").write_text(f"{images[0]} TEST_RAW\n")
    assert "no mask, late" in muserun("--strict", RECIPE, "--undone=late", "in.sof").stderr
    assert muserun("--strict", RECIPE, "in.sof").returncode == 0


def test_thousand_frames(work, images):
    (work / "big.sof").write_text(f"{images[0]} TEST_RAW\n" + f"{images[0]} TEST_LIST\n" * 1000)
    result = muserun(RECIPE, "big.sof")
    assert result.returncode == 0, result.stderr
    with fits.open(work / MADE[2]) as hdus:
        assert hdus[0].header["ESO PRO REC1 CAL1000 NAME"] == images[0].name


def test_two_runs_at_once_in_one_folder(work, sof):
    (work / "o").mkdir()
    command = [sys.executable, "-m", "muse_core.hosts.muserun", f"--recipe-dir={RECIPES}", "--output-dir=o"]
    runs = [
        subprocess.Popen(
            [*command, f"--log-file=log{n}", RECIPE, f"--scale={n}", sof], stdout=subprocess.DEVNULL
        )
        for n in (2, 3)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    with fits.open(work / "o" / MADE[0], checksum=True) as hdus:
        assert hdus[0].header["ESO PRO REC1 PARAM1 VALUE"] in ("2", "3")
    assert products(work / "o") == MADE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_leaves_nothing(work, sof, number):
    (work / "o").mkdir()
    command = [
        sys.executable,
        "-m",
        "muse_core.hosts.muserun",
        f"--recipe-dir={RECIPES}",
        "--output-dir=o",
        RECIPE,
    ]
    run = subprocess.Popen([*command, "--fault=hang", sof], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list((work / "o").glob(".muserun-*/.muse-run-*/.hanging")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(number)
    assert run.wait(30) == 128 + number
    run.stderr.close()
    assert list((work / "o").iterdir()) == []


def test_what_a_killed_run_has_left_is_gone_after_the_next_one(work, sof):
    (work / "o").mkdir()
    command = [
        sys.executable,
        "-m",
        "muse_core.hosts.muserun",
        f"--recipe-dir={RECIPES}",
        "--output-dir=o",
        RECIPE,
    ]
    run = subprocess.Popen(
        [*command, "--fault=hang", sof], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list((work / "o").glob(".muserun-*/.muse-run-*/.hanging")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.kill()
    run.wait(30)
    assert list((work / "o").iterdir())
    assert subprocess.run([*command, sof], capture_output=True).returncode == 0
    assert [path.name for path in (work / "o").iterdir() if path.name.startswith(".")] == []


def test_full_disk_is_one_clear_error(work, sof):
    command = [sys.executable, "-m", "muse_core.hosts.muserun", f"--recipe-dir={RECIPES}", RECIPE, str(sof)]
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 4; exec "$@"', "sh", *command]
    result = subprocess.run(limited, capture_output=True, text=True, timeout=60)
    assert result.returncode == 74, result.stdout + result.stderr
    assert "could not be written" in result.stderr
    assert products(work) == []


def test_listing_is_fast_and_loads_no_numerics(work):
    code = (
        "import sys; from muse_core.hosts.muserun import main; main(['--recipes']); "
        "main(['--man-page', 'muse_test_echo']); "
        "sys.exit(any(m in sys.modules for m in ('numpy', 'astropy', 'numba', 'scipy')))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime  # others do not count
    assert spent < 1.0  # 0.06 s on an idle machine; the acceptance figure is 0.3 s


def test_the_record_names_the_products_as_they_are_delivered(work, sof):
    (work / "o").mkdir()
    done = muserun(
        "--report", "--output-dir=o", "--suppress-prefix=FALSE", "--output-prefix=night", RECIPE, sof
    )
    assert done.returncode == 0, done.stderr
    record = json.loads((work / "o" / f"{RECIPE}_run.json").read_text())
    names = sorted(path.name for path in (work / "o").glob("night_*.fits"))
    assert sorted(product["name"] for product in record["products"]) == names
    for product in record["products"]:
        assert fits.getheader(work / "o" / product["name"])["ESO PRO CATG"] == product["tag"]

# SPDX-License-Identifier: BSD-3-Clause
"""The index: incremental, complete after anything that may happen, the same for any order of files."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from muse_core.calib.rules import load_rules
from muse_core.calib.scan import scan
from muse_core.calib.store import NAME, IndexDamagedError, index_file, on_network, open_for_reading
from muse_core.framework.errors import RecipeError
from tests.calib.archive import header, master, raw, real_night, write

pytestmark = pytest.mark.unit
RULES = load_rules()


def content(root):
    """What the index holds, without numbers that depend on the history."""
    with open_for_reading(root) as index:
        query = (
            "SELECT path, ident, state, tag, kind, mjd, set_id FROM file WHERE state <> 'gone' ORDER BY path"
        )
        files = [tuple(row) for row in index.db.execute(query)]
        return files, [tuple(row) for row in index.db.execute("SELECT * FROM sets ORDER BY id")]


def rescan(root, **options):
    index, report = scan(root, RULES, **options)
    index.close()
    return report


def old(root):
    """Set all files back in time, so that the scan trusts their dates."""
    for path in root.rglob("*"):
        if path.name != NAME:
            os.utime(path, (1.6e9, 1.6e9), follow_symlinks=False)


@pytest.fixture
def night(tmp_path):
    real_night(tmp_path / "n")
    old(tmp_path / "n")
    return tmp_path / "n"


def test_only_changed_files_are_opened(night):
    first = rescan(night)
    assert first.read == first.seen > 250
    assert rescan(night).read == 0
    moved = night / "m" / "MASTER_BIAS-01.fits"
    moved.rename(night / "m" / "renamed.fits")
    raw(night / "r", "DARK", "2017-06-16T11:00:00.000")
    report = rescan(night)
    assert (report.read, report.gone) == (2, 1)
    before = content(night)
    (night / NAME).unlink()
    rescan(night)
    assert content(night) == before


def test_a_moved_tree_stays_valid(night):
    rescan(night)
    before = content(night)
    other = night.parent / "other name"
    night.rename(other)
    assert rescan(other).read == 0
    assert content(other) == before


def test_marks_survive_moving_and_another_version(night):
    from muse_core.calib.marks import mark

    rescan(night)
    flat = night / "m" / "MASTER_FLAT-01.fits"
    mark([flat], "bad", "lamp failed", "me", RULES)
    flat.rename(night / "flat1.fits")
    rescan(night)
    with open_for_reading(night) as index:
        query = "SELECT verdict FROM mark JOIN file USING(ident) WHERE path = 'flat1.fits'"
        assert index.db.execute(query).fetchone()[0] == "bad"
    with sqlite3.connect(night / NAME) as db:
        db.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    db.close()
    with pytest.raises(IndexDamagedError, match="version 99"):
        open_for_reading(night)
    report = rescan(night)
    assert "version 99" in report.remarks[0]
    with open_for_reading(night) as index:
        assert index.db.execute(query).fetchone()[0] == "bad"


@pytest.mark.parametrize("damage", ["noise", "cut", "foreign"])
def test_a_broken_index_is_put_aside(night, damage):
    rescan(night)
    before = content(night)
    place = night / NAME
    if damage == "foreign":
        place.unlink()
        with sqlite3.connect(place) as db:
            db.execute("CREATE TABLE other(x)")
        db.close()
    else:
        place.write_bytes(b"no database" * 500 if damage == "noise" else place.read_bytes()[:5000])
    with pytest.raises(IndexDamagedError, match="calib index"):
        open_for_reading(night)
    assert rescan(night).remarks
    assert content(night) == before
    assert place.with_name(NAME + ".old").is_file()


def test_a_folder_that_cannot_be_written_has_its_index_in_the_cache(night, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: False if mode == os.W_OK else real(path, mode))
    rescan(night)
    assert not (night / NAME).exists()
    assert index_file(night).is_relative_to(tmp_path / "cache")
    assert rescan(night).read == 0


def test_network_folders_are_known(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\nhost:/d /data nfs4 rw 0 0\n/dev/b /data/local ext4 rw 0 0\n")
    assert on_network(tmp_path.__class__("/data/muse"), str(mounts))
    assert not on_network(tmp_path.__class__("/data/local/x"), str(mounts))
    assert not on_network(tmp_path.__class__("/home"), str(mounts))


def test_clock_ahead_is_read_again(tmp_path):
    path = raw(tmp_path, "BIAS", "2017-06-16T10:40:27.111")
    os.utime(path, (time.time() + 1e6,) * 2)
    assert rescan(tmp_path).read == 1
    assert rescan(tmp_path).read == 1
    os.utime(path, (1.6e9, 1.6e9))
    assert rescan(tmp_path).read == 1
    assert rescan(tmp_path).read == 0


def test_other_rules_read_again(night, tmp_path):
    rescan(night)
    extra = tmp_path / "rules.toml"
    extra.write_text('[classify]\nignore_catg = ["CALIB"]\n')
    index, report = scan(night, load_rules(extra))
    assert report.read == report.seen
    assert index.db.execute("SELECT COUNT(*) FROM file WHERE tag = 'BIAS'").fetchone()[0] == 0
    index.close()


def test_links_names_and_folders(tmp_path):
    raw(tmp_path / "x.fits", "BIAS", "2017-06-16T10:40:27.111")  # a folder named x.fits
    raw(tmp_path, "BIAS", "2017-06-16T10:41:27.111", name="with blank:and_colon.fits")
    raw(tmp_path / ".hidden", "BIAS", "2017-06-16T10:42:27.111")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a link").symlink_to(tmp_path / "x.fits")
    (tmp_path / "nowhere.fits").symlink_to(tmp_path / "gone.fits")
    os.mkfifo(tmp_path / "pipe.fits")
    odd = os.fsencode(tmp_path) + b"/na\xefve.fits"
    Path(os.fsdecode(odd)).write_bytes(header({"INSTRUME": "MUSE", "ESO PRO CATG": "EXTINCT_TABLE"}))
    report = rescan(tmp_path)
    assert sorted(report.bad) == [
        ("nowhere.fits", "is a link that leads nowhere"),
        ("pipe.fits", "is no plain file"),
    ]
    with open_for_reading(tmp_path) as index:
        found = {index.full(row["path"]) for row in index.rows("state = 'ok'")}
    assert found == {
        str(tmp_path / "x.fits" / "MUSE.2017-06-16T10:40:27.111.fits"),
        str(tmp_path / "with blank:and_colon.fits"),
        os.fsdecode(odd),
    }
    assert all(Path(path).exists() for path in found)


def broken_files(root):
    """150 files nobody should meet, by 15 kinds."""
    good = header({"INSTRUME": "MUSE", "ESO DPR CATG": "CALIB", "ESO DPR TYPE": "BIAS"})
    makers = [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"text"),
        lambda p: p.write_bytes(good[:200]),
        lambda p: p.write_bytes(good.replace(b"END ", b"XXX ")),
        lambda p: p.write_bytes(bytes(range(256)) * 20),
        lambda p: p.symlink_to(p.with_name("absent")),
        lambda p: os.mkfifo(p),
        lambda p: p.with_name(p.name + ".gz").write_bytes(b"\x1f\x8b\x08broken"),
        lambda p: p.with_name(p.name + ".Z").write_bytes(b"\x1f\x9dbroken"),
        lambda p: p.with_name(p.stem + ".xml").write_bytes(b"<association"),
        lambda p: p.with_name(p.stem + ".xml").write_bytes(b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'),
        lambda p: p.write_bytes(b"SIMPLE  ="),
        lambda p: p.write_bytes(b"\xff" * 3000),
        lambda p: p.write_bytes(b"S"),
        lambda p: p.write_bytes(good.lower()),
    ]
    root.mkdir()
    for n in range(150):
        makers[n % len(makers)](root / f"file {n:03d}.fits")


def test_150_broken_files_are_named_one_by_one(tmp_path, capsys):
    from muse_core.tools import main

    broken_files(tmp_path / "b")
    assert main(["calib", "index", str(tmp_path / "b")]) == 3
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 150
    assert "Traceback" not in told.err
    for n in range(150):
        assert sum(f"file {n:03d}." in line for line in told.err.splitlines()) == 1
    assert main(["calib", "verify", str(tmp_path / "b")]) == 3


def test_no_command_falls_over_a_broken_file(tmp_path, capsys):
    """Named one by one to every command: a message and an exit status, for each of the 15 kinds."""
    from muse_core.tools import main

    broken_files(tmp_path / "b")
    main(["calib", "index", str(tmp_path / "b")])
    files = sorted(path for path in (tmp_path / "b").iterdir() if not path.name.startswith("."))[:15]
    for path in files:
        for command in (
            ["calib", "find", "MASTER_BIAS", "--for", str(path)],
            ["calib", "find", "--used-by", str(path)],
            ["calib", "find", "--uses", str(path)],
            ["calib", "mark", str(path), "--as", "bad"],
            ["sof", "muse_bias", "--for", str(path), "-o", str(tmp_path / "x.sof")],
        ):
            capsys.readouterr()
            assert main(command) in (1, 2, 3), command
            assert "Traceback" not in capsys.readouterr().err
    assert main(["calib", "verify", "--full", str(tmp_path / "b")]) == 3
    assert main(["sof", "--night", str(tmp_path / "b"), "-o", str(tmp_path / "p")]) == 1


ODD_HEADERS = {
    "small letters": {"ESO DPR TYPE": "bias  ", "ESO DPR CATG": "calib"},
    "padded": {"ESO DPR TYPE": "  BIAS   ", "ESO DPR CATG": " CALIB"},
    "date as text": {"MJD-OBS": "57920.4"},
    "date not a number": {"MJD-OBS": "NaN", "DATE-OBS": "2017-06-16T10:40:27"},
    "no date": {"MJD-OBS": "today"},
    "logical date": {"MJD-OBS": True},
    "absurd date": {"MJD-OBS": 1e300},
    "number as mode": {"ESO INS MODE": 5},
    "huge number": {"ESO OBS ID": 10**30},
    "odd exposure time": {"EXPTIME": "long"},
    "odd IFU": {"EXTNAME": "CHAN99"},
}


@pytest.mark.parametrize("name", ODD_HEADERS)
def test_odd_headers_are_read(tmp_path, name):
    raw(tmp_path, "BIAS", "2017-06-16T10:40:27.111", **ODD_HEADERS[name])
    index, report = scan(tmp_path, RULES)
    assert not report.bad
    assert index.db.execute("SELECT tag FROM file").fetchone()[0] == "BIAS"
    index.close()


@pytest.mark.parametrize("mjd", [1e9, -1e7, 1e15])
def test_a_date_of_no_calendar_stops_no_command(tmp_path, mjd, capsys):
    from muse_core.tools import main

    odd = {"MJD-OBS": mjd, "ESO TPL START": ""}
    path = raw(tmp_path / "d", "OBJECT", "2017-06-16T01:34:56.867", **odd)
    master(tmp_path / "d", "MASTER_BIAS", "2017-06-16T10:40:27.111", **odd)
    for command in (["list"], ["list", "--files"], ["find", "MASTER_BIAS", "--explain", "--for", str(path)]):
        assert main(["calib", *command, *([str(tmp_path / "d")] if "list" in command else [])]) == 0
    assert f"MJD {mjd:g}" in capsys.readouterr().out
    assert main(["sof", "--night", str(tmp_path / "d"), "-o", str(tmp_path / "p")]) == 1
    assert f"MJD {mjd:g}" in (tmp_path / "p" / "01_muse_scibasic.sof.incomplete").read_text()


def test_numbers_of_files_beyond_those_of_sqlite(tmp_path):
    from muse_core.calib.scan import _found

    status = SimpleNamespace(st_size=1, st_mtime_ns=2**64, st_ino=2**64 - 1)
    entry = SimpleNamespace(is_file=lambda: True, stat=lambda: status)
    index, _ = scan(tmp_path, RULES)
    found = _found(entry, "x.fits")
    assert index.db.execute("SELECT ?, ?", (found.mtime_ns, found.inode)).fetchone() is not None
    index.close()


def test_files_that_say_little(tmp_path):
    write(tmp_path / "MASTER_BIAS-03.fits", {"INSTRUME": "MUSE"})
    write(tmp_path / "geometry_table_wfm.fits", {"INSTRUME": "MUSE"})
    write(tmp_path / "MUSE.2017.fits", {"INSTRUME": "MUSE"})
    write(tmp_path / "M.MUSE.1.fits", {"INSTRUME": "MUSE", "ORIGFILE": "MU_GSKL_140101A.fits"})
    write(tmp_path / "OTHER.fits", {"INSTRUME": "FORS2"})
    write(tmp_path / "hst.fits", {"TELESCOP": "HST"})
    write(tmp_path / "new.fits", {"INSTRUME": "MUSE", "ESO DPR CATG": "CALIB", "ESO DPR TYPE": "LINGAIN"})
    write(
        tmp_path / "acq.fits", {"INSTRUME": "MUSE", "ESO DPR CATG": "ACQUISITION", "ESO DPR TYPE": "OBJECT"}
    )
    index, _ = scan(tmp_path, RULES)
    found = {row["path"]: (row["tag"], row["source"], row["state"]) for row in index.rows()}
    index.close()
    assert found == {
        "MASTER_BIAS-03.fits": ("MASTER_BIAS", "name", "ok"),
        "geometry_table_wfm.fits": ("GEOMETRY_TABLE", "name", "ok"),
        "MUSE.2017.fits": ("", "", "ok"),
        "M.MUSE.1.fits": ("SKY_LINES", "ORIGFILE", "ok"),
        "OTHER.fits": ("", "", "foreign"),
        "hst.fits": ("HST_IMAGE", "HST", "ok"),
        "new.fits": ("", "", "ok"),
        "acq.fits": ("IGNORED", "DPR", "ok"),
    }


def run_scan(root, **environment):
    code = f"from muse_core.tools import main; raise SystemExit(main(['calib', 'index', {str(root)!r}]))"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def test_killed_scans_leave_a_complete_index_behind(night):
    rescan(night)
    expected = content(night)
    (night / NAME).unlink()
    for delay in (0.15, 0.3, 0.5):
        job = run_scan(night)
        time.sleep(delay)
        job.send_signal(signal.SIGKILL)
        job.communicate()
    rescan(night)
    assert content(night) == expected


def test_two_scans_at_once(night):
    rescan(night)
    expected = content(night)
    (night / NAME).unlink()
    jobs = [run_scan(night) for _ in range(3)]
    for job in jobs:
        _, told = job.communicate(timeout=60)
        assert job.returncode == 0, told
        assert "Traceback" not in told
    assert content(night) == expected


def test_a_dead_owner_of_the_lock_is_not_waited_for(night):
    import json
    import platform

    index, _ = scan(night, RULES)
    index.set_meta("lock", json.dumps({"pid": 2**22 + 1, "host": platform.node(), "beat": time.time()}))
    index.close()
    assert rescan(night).seen > 0


def test_an_owner_that_lives_is_waited_for_however_slow_it_is(night):
    import json
    import os
    import platform

    from muse_core.calib.locking import _alive, _born

    me = {"pid": os.getpid(), "host": platform.node(), "born": _born(os.getpid()), "beat": 0.0}
    assert _alive(me)  # no beat for years: a slow disk, not a death
    assert not _alive(me | {"born": -1})  # the number was given to another process
    assert not _alive(me | {"host": "elsewhere"}) and _alive(me | {"host": "elsewhere", "beat": time.time()})
    index, _ = scan(night, RULES)
    for text in ("no json", "[1]", json.dumps({"pid": "x", "host": platform.node()})):
        index.set_meta("lock", text)
        assert rescan(night).seen > 0
    index.close()


def test_a_lock_that_was_taken_over_stops_the_loser(night, monkeypatch):
    import json

    from muse_core.calib import locking
    from muse_core.calib.store import IndexBusyError

    index, _ = scan(night, RULES)
    monkeypatch.setattr(locking, "BEAT_SECONDS", 0.0)
    other = json.dumps({"pid": 1, "host": "elsewhere", "id": 1, "beat": time.time()})
    with pytest.raises(IndexBusyError, match="took over"), locking.scan_lock(index, print) as renew:
        renew()
        index.set_meta("lock", other)
        renew()
    assert index.meta("lock") == other  # the winner's lock stays
    index.close()


def test_a_growing_file_is_read_again(tmp_path):
    path = raw(tmp_path, "BIAS", "2017-06-16T10:40:27.111")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    os.utime(path, (1.6e9, 1.6e9))
    assert rescan(tmp_path).bad
    path.write_bytes(whole)
    assert not rescan(tmp_path).bad
    with open_for_reading(tmp_path) as index:
        assert index.db.execute("SELECT state FROM file").fetchone()[0] == "ok"


def test_no_such_folder(tmp_path):
    with pytest.raises(RecipeError, match="is no folder"):
        scan(tmp_path / "x", RULES)


def test_association_files_vote(tmp_path):
    raw(tmp_path, "OBJECT", "2017-06-16T01:34:56.867")
    master(tmp_path / "m", "TWILIGHT_CUBE", "2017-06-18T22:07:10.444", ifus=None)
    shutil.copy(tmp_path / "m" / "TWILIGHT_CUBE.fits", tmp_path / "M.MUSE.2018-01-01T00:00:00.000.fits")
    write(tmp_path / "M.MUSE.2018-01-02T00:00:00.000.fits", {"INSTRUME": "MUSE"})
    (tmp_path / "MUSE.2017-06-16T01:34:56.867.xml").write_text(
        '<association category="OBJECT" certified="true" complete="true"><mainFiles>'
        '<file category="OBJECT" name="MUSE.2017-06-16T01:34:56.867"/></mainFiles><associatedFiles>'
        '<association category="TWILIGHT" certified="true"><mainFiles>'
        '<file category="TWILIGHT_CUBE" name="M.MUSE.2018-01-01T00:00:00.000"/></mainFiles></association>'
        '<association><mainFiles><file category="BADPIX_TABLE" name="M.MUSE.2018-01-02T00:00:00.000"/>'
        '<file category="X" name="absent"/></mainFiles></association></associatedFiles></association>'
    )
    index, report = scan(tmp_path, RULES)
    assert not report.bad
    tags = {row["path"]: (row["tag"], row["source"]) for row in index.rows("kind <> 'xml'")}
    assert tags["M.MUSE.2018-01-02T00:00:00.000.fits"] == ("BADPIX_TABLE", "XML")
    assert index.db.execute("SELECT COUNT(*) FROM vote").fetchone()[0] == 4
    index.close()

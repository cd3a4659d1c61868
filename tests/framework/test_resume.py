# SPDX-License-Identifier: BSD-3-Clause
"""What a run keeps: complete or not at all, of the same run only, and gone when the run has succeeded."""

import logging
import os
import subprocess
import sys
import time

import pytest

from muse_core.framework import Frame
from muse_core.framework import resume as resume_module
from muse_core.framework.delivery import locked_folder, remove_left_folders
from muse_core.framework.identity import file_identity, run_identity
from muse_core.framework.resume import FOLDER, KeptResults

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    monkeypatch.setattr(resume_module, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(resume_module, "TIMES_SAVING", 0.0)


def kept(folder, identity="a", log=None):
    results = KeptResults(folder, lambda: identity, log or logging.getLogger("muse.test"))
    results.begin()
    return results


def die(results):
    """Leave what a killed process leaves: the files, without the lock."""
    os.close(results._mark)
    results._mark = None


def test_a_result_is_made_once(tmp_path):
    first = kept(tmp_path)
    assert first.once("sky", lambda: [1, 2]) == [1, 2]
    die(first)
    second = kept(tmp_path)
    assert second.once("sky", lambda: pytest.fail("made again")) == [1, 2]
    assert second.once("cube", lambda: 3) == 3
    second.end(keep=False)
    assert not (tmp_path / FOLDER).exists()


def test_messages_of_the_work_are_repeated(tmp_path, caplog):
    log = logging.getLogger("muse.test.messages")
    caplog.set_level(logging.INFO, "muse.test.messages")
    first = kept(tmp_path, log=log)
    first.once("sky", lambda: log.warning("no %s", "lines") or 1)
    die(first)
    caplog.clear()
    kept(tmp_path, log=log).once("sky", lambda: 2)
    assert "no lines" in caplog.messages
    assert caplog.records[-1].levelno == logging.WARNING


def test_nothing_is_written_for_quick_results(tmp_path, monkeypatch):
    monkeypatch.setattr(resume_module, "WORTH_SECONDS", 60.0)
    results = KeptResults(tmp_path, lambda: pytest.fail("the identity is not needed"))
    assert results.once("sky", lambda: 1) == 1
    results.end(keep=False)
    assert list(tmp_path.iterdir()) == []


def test_results_of_another_run_are_not_taken(tmp_path, caplog):
    log = logging.getLogger("muse.test.other")
    caplog.set_level(logging.INFO, "muse.test.other")
    first = kept(tmp_path, "a", log)
    first.once("sky", lambda: 1)
    die(first)
    second = kept(tmp_path, "b", log)
    assert second.once("sky", lambda: 2) == 2
    assert any("of other inputs" in text for text in caplog.messages)
    second.end(keep=False)
    assert kept(tmp_path, "a").once("sky", lambda: 3) == 1  # still there


@pytest.mark.parametrize("damage", ["cut", "byte", "empty"])
def test_damaged_results_are_made_again(tmp_path, damage):
    first = kept(tmp_path)
    first.once("sky", lambda: list(range(100)))
    die(first)
    (file,) = (tmp_path / FOLDER).rglob("*.kept")
    data = bytearray(file.read_bytes())
    if damage == "byte":
        data[-7] ^= 1
    file.write_bytes(data[: {"cut": len(data) // 2, "byte": len(data), "empty": 0}[damage]])
    assert kept(tmp_path).once("sky", lambda: "new") == "new"


def test_a_folder_that_others_can_write_is_not_read(tmp_path):
    first = kept(tmp_path)
    first.once("sky", lambda: 1)
    die(first)
    (tmp_path / FOLDER).chmod(0o777)
    assert kept(tmp_path).once("sky", lambda: 2) == 2


def test_a_folder_of_links_is_not_used(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / FOLDER).symlink_to(tmp_path / "elsewhere")
    results = kept(tmp_path)
    assert results.once("sky", lambda: 1) == 1
    results.end(keep=False)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_folder_that_cannot_be_written_costs_nothing(tmp_path):
    tmp_path.chmod(0o500)
    try:
        results = kept(tmp_path)
        assert results.once("sky", lambda: 1) == 1
        results.end(keep=False)
    finally:
        tmp_path.chmod(0o700)


def test_two_runs_share_what_is_finished(tmp_path):
    first = kept(tmp_path)
    first.once("sky", lambda: 1)
    second = kept(tmp_path)
    assert second.once("sky", lambda: 2) == 1
    journal = first.new_journal("planes", _file(tmp_path))
    assert second.journals("planes") == []  # what the first one is writing is its own
    first.end(keep=False)
    assert second.once("cube", lambda: 3) == 3
    second.end(keep=False)
    journal.close()
    assert not (tmp_path / FOLDER).exists()


def _file(folder):
    path = folder / "cube"
    path.write_bytes(b"planes")
    return path


def test_a_journal_ends_where_it_was_cut_off(tmp_path):
    first = kept(tmp_path)
    journal = first.new_journal("planes", _file(tmp_path))
    for number in range(5):
        journal.append(number)
    journal.close()
    die(first)
    data = journal.path.read_bytes()
    for size in range(len(data), 0, -7):
        journal.path.write_bytes(data[:size])
        (found,) = kept(tmp_path).journals("planes")
        assert found.records() == list(range(len(found.records())))
        assert found.part.read_bytes() == b"planes"
        found.close()
    assert len(data) - size < len(data)


def test_a_finished_file_is_given_back(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    made = tmp_path / "first" / "TABLE.fits"
    made.write_bytes(b"rows")
    first = kept(tmp_path)
    first.keep_file(made)
    die(first)
    made.unlink()
    second = kept(tmp_path)
    assert second.take_file(tmp_path / "second" / "TABLE.fits")
    assert not second.take_file(tmp_path / "second" / "OTHER.fits")
    assert (tmp_path / "second" / "TABLE.fits").read_bytes() == b"rows"


def test_folders_of_killed_runs_are_removed(tmp_path):
    for name in (".muse-run-1", ".muserun-2", ".muse-new-3", "mine", ".muse-run-"):
        (tmp_path / name).mkdir()
    (tmp_path / ".muse-run-file").touch()
    os.utime(tmp_path / ".muse-new-3", (0, 0))
    with locked_folder(tmp_path, ".muse-run-") as alive, locked_folder(tmp_path, ".muserun-") as other:
        remove_left_folders(tmp_path)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"mine", ".muse-run-file", alive.name, other.name}
    assert {path.name for path in tmp_path.iterdir()} == {"mine", ".muse-run-file"}


def test_a_folder_that_is_being_made_is_left_alone(tmp_path):
    (tmp_path / ".muse-new-3").mkdir()
    remove_left_folders(tmp_path)
    assert (tmp_path / ".muse-new-3").is_dir()


def test_old_results_of_other_runs_are_removed(tmp_path):
    first = kept(tmp_path, "a")
    first.once("sky", lambda: 1)
    die(first)
    old = time.time() - 2 * resume_module.OLD_SECONDS
    os.utime(tmp_path / FOLDER / "a", (old, old))
    kept(tmp_path, "b")
    assert not (tmp_path / FOLDER / "a").exists()


def test_the_lock_is_free_when_its_process_is_killed(tmp_path):
    program = """
import os, pathlib, sys
from muse_core.framework import resume

kept = resume.KeptResults(pathlib.Path(sys.argv[1]), lambda: "a")
kept.new_journal("planes", pathlib.Path(sys.argv[2])).append(1)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program, tmp_path, _file(tmp_path)], check=False)
    assert done.returncode == -9
    (journal,) = kept(tmp_path).journals("planes")
    assert journal.records() == [1]


def test_the_identity_is_that_of_all_inputs(tmp_path):
    file = tmp_path / "a.fits"
    file.write_bytes(bytes(100_000))
    frames = [Frame(file, "TAG")]

    def identity(parameters=None, tag="TAG"):
        return run_identity("muse_x", parameters or {"a": "1"}, [Frame(file, tag)])

    before = identity()
    assert before == identity()
    assert len({before, identity({"a": "2"}), identity(tag="OTHER"), run_identity("muse_y", {}, frames)}) == 4
    times = file.stat()
    with file.open("r+b") as stream:
        stream.seek(51_000)
        stream.write(b"x")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # size and time of the contents as before
    assert identity() != before
    assert file_identity(file)[1] == 100_000

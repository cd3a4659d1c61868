# SPDX-License-Identifier: BSD-3-Clause
"""Running a plan: order, what is left out the second time, what a failure takes with it, interruptions."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from muse_core.calib.run_plan import PARTIAL, run_steps
from muse_core.framework.settings import child_environment

pytestmark = pytest.mark.unit


def step(folder, number, recipe, lines, script, needs=()):
    """A step whose command is a line of shell."""
    name = f"{number:02d}_{recipe}"
    sof = SimpleNamespace(lines=[(str(path), tag) for path, tag in lines], missing=[])
    (folder / f"{name}.sof").write_text("".join(f"{path} {tag}\n" for path, tag in sof.lines))
    return SimpleNamespace(
        key=recipe, number=number, name=name, recipe=SimpleNamespace(name=recipe), needs=list(needs), sof=sof,
        commands=[f"sh -c '{script}' {recipe} ../{name}.sof"],
    )  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    """Two exposures reduced on their own, then together."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("a", "b"):
        (raw / name).write_text(name)
    folder = tmp_path / "plan"
    folder.mkdir()
    return folder, [
        step(folder, 1, "one", [(raw / "a", "RAW")], "cat ../../raw/a > a.fits"),
        step(folder, 2, "two", [(raw / "b", "RAW")], "cat ../../raw/b > b.fits"),
        step(
            folder, 3, "both", [(folder / "01_one/a.fits", "TABLE"), (folder / "02_two/b.fits", "TABLE")],
            "cut -f1 -d\" \" $1 | xargs cat > both.fits", ["one", "two"],
        ),
    ]  # fmt: skip


def run(plan, again=(), slots=2):
    folder, steps = plan
    told = []
    with ThreadPoolExecutor(slots) as pool:
        results = run_steps(steps, folder, pool, slots, child_environment({}), told.append, again)
    assert [r.name for r in results] == [s.name for s in steps]
    return [r.state for r in results], results, [t for t in told if isinstance(t, str)]


def test_steps_run_after_what_they_wait_for_and_once(plan):
    folder, steps = plan
    states, _, began = run(plan)
    assert states == ["done"] * 3 and began[-1] == "03_both"
    assert (folder / "03_both" / "both.fits").read_text() == "ab"
    states, _, began = run(plan)
    assert states == ["current"] * 3 and not began
    states, _, began = run(plan, again=["two"])
    assert states == ["current", "done", "done"]  # its product is a new file


def test_what_has_changed_runs_with_all_that_follows(plan):
    folder, steps = plan
    run(plan)
    (folder.parent / "raw" / "b").write_text("B")
    assert run(plan)[0] == ["current", "done", "done"]
    assert (folder / "03_both" / "both.fits").read_text() == "aB"
    (folder / "03_both" / "both.fits").unlink()
    assert run(plan)[0] == ["current", "current", "done"]
    steps[0].commands = [steps[0].commands[0].replace("cat", "cat -u")]
    assert run(plan)[0] == ["done", "current", "done"]


def test_a_failure_takes_only_what_cannot_do_without(plan):
    folder, steps = plan
    (folder.parent / "raw" / "b").unlink()
    states, results, _ = run(plan)
    assert states == ["done", "failed", "done"]
    assert "No such file" in results[1].reason or "cannot open" in results[1].reason
    assert results[2].left_out == ["b.fits"] and not (folder / "02_two" / "b.fits").exists()
    assert (folder / "03_both" / "both.fits").read_text() == "a"
    steps[2].sof.lines[1] = (steps[2].sof.lines[1][0] + ".none", "OTHER")  # the only frame of its tag
    states, results, _ = run(plan)
    assert states[2] == "blocked" and results[2].reason == "no OTHER, which 02_two should have made"


def test_a_step_done_in_part_is_told_again_but_not_run_again(plan):
    folder, steps = plan
    steps[1].commands = [f"sh -c 'exit {PARTIAL}' two ../02_two.sof"]
    states, results, _ = run(plan)
    assert states == ["done", "partial", "done"] and results[2].left_out == ["b.fits"] and results[2].part
    assert (folder / "03_both" / "both.fits").read_text() == "a"
    states, results, _ = run(plan)
    assert states == ["current", "partial", "current"] and results[2].part  # nothing was made: tried again
    (folder.parent / "raw" / "b").write_text("new")
    steps[1].commands = ["sh -c 'cat ../../raw/b > b.fits' two ../02_two.sof"]
    assert run(plan)[0] == ["current", "done", "done"]
    assert (folder / "03_both" / "both.fits").read_text() == "anew"


def test_an_alignment_of_one_exposure_is_not_tried(plan):
    folder, steps = plan
    steps[1].commands = ["sh -c 'exit 1' two ../02_two.sof"]
    steps[2].recipe.name = "muse_exp_align"
    steps[2].sof.lines = [(path, "IMAGE_FOV") for path, _ in steps[2].sof.lines]
    states, results, _ = run(plan)
    assert states == ["done", "failed", "blocked"] and "only one exposure" in results[2].reason


def test_frames_that_were_not_found_stop_the_step(plan):
    plan[1][0].sof.missing = ["MASTER_BIAS"]
    states, results, _ = run(plan)
    assert states == ["blocked", "done", "done"]
    assert results[0].reason == ("no MASTER_BIAS; give their folder with --calib, see 01_one.sof.incomplete")


def test_an_interruption_ends_the_commands(plan):
    folder, steps = plan
    steps[0].commands = ["sh -c 'sleep 60; touch a.fits' one"]
    started = time.monotonic()

    def told(what):
        if what == "02_two":
            while not (folder / "01_one" / "log.txt").exists():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ThreadPoolExecutor(2) as pool:
        run_steps(steps, folder, pool, 2, child_environment({}), told)
    assert time.monotonic() - started < 30
    assert json.loads((folder / "01_one" / "reduced.json").read_text())["state"] == "failed"
    assert run(([*plan][0], steps[1:2]))[0] == ["done"]


def test_files_of_the_user_in_a_new_folder_stay(plan):
    folder, steps = plan
    (folder / "01_one").mkdir()
    (folder / "01_one" / "mine.fits").write_text("mine")
    _, results, _ = run(plan)
    assert (folder / "01_one" / "mine.fits").read_text() == "mine" and set(results[0].products) == {"a.fits"}

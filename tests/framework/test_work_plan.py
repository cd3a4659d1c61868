# SPDX-License-Identifier: BSD-3-Clause
"""The plan before the work: told, refused where the machine cannot hold it, and learnt from."""

import pytest

from muse_core.framework import LimitError, WriteError
from muse_core.framework.work_plan import Machine, Pass, Planned, WorkPlan, available_memory, check_plan

pytestmark = pytest.mark.unit


def plan(**changes):
    passes = (Pass("sky", 1e7, 2e8, 0.2), Pass("sky", 1e7, 2e8, 0.3), Pass("cube", 1e7, 3e8, 1.0))
    usual = {"passes": passes, "files": 3, "memory_bytes": 1e9, "memory_least": 3e8, "disk_bytes": 1e6}
    return WorkPlan(**{**usual, **changes})


def test_the_time_is_that_of_the_passes_on_threads():
    planned = Planned.of("muse_x", plan(), 2, Machine())
    assert planned.seconds == {"sky": pytest.approx(2.5), "cube": pytest.approx(5.0)}
    assert not planned.known
    assert any("not known yet" in line for line in planned.lines())


def test_a_run_teaches_how_fast_the_machine_is(tmp_path):
    machine = Machine.read(tmp_path / "a" / "machine.json")
    machine.learn("muse_x", plan(), {"sky": 5.0, "cube": 2.5, "other": 9.0}, 2)
    machine.write(tmp_path / "a" / "machine.json")
    again = Machine.read(tmp_path / "a" / "machine.json")
    assert again == machine
    assert again.runs == 1
    planned = Planned.of("muse_x", plan(), 2, again)
    assert planned.known
    assert planned.seconds["cube"] == pytest.approx(2.5)
    assert Planned.of("muse_y", plan(), 2, again).seconds["cube"] == pytest.approx(5.0)
    for taken in (3.0, 500.0, 2.7, 2.6, 600.0):  # odd runs do not decide
        again.learn("muse_x", plan(), {"cube": taken}, 2)
    assert Planned.of("muse_x", plan(), 2, again).seconds["cube"] == pytest.approx(3.0)


def test_a_step_of_few_rows_teaches_nothing():
    few = plan(passes=(Pass("sky", 1e5, 2e6, 0.5), Pass("cube", 1e7, 3e8, 1.0)))
    machine = Machine()
    machine.learn("muse_x", few, {"sky": 4.0, "cube": 5.0}, 2)
    assert list(machine.rates) == ["muse_x/cube"]


def test_passes_of_one_step_share_its_time():
    machine = Machine()
    machine.learn("muse_x", plan(), {"sky": 5.0}, 2)
    assert Planned.of("muse_x", plan(), 2, machine).seconds["sky"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"rates": {"a": 1.5}, "runs": 1}', '{"rates": {"a": [-1]}, "runs": 1}']
)
def test_a_damaged_file_is_no_knowledge(tmp_path, text):
    (tmp_path / "machine.json").write_text(text)
    assert Machine.read(tmp_path / "machine.json").rates == {}


def test_what_the_machine_cannot_hold_is_refused(tmp_path):
    check_plan(plan(), tmp_path)
    with pytest.raises(LimitError, match="needs 2.00 GB of memory at least, 1.00 GB are free; "):
        check_plan(plan(memory_least=2e9), tmp_path, memory=1e9)
    with pytest.raises(WriteError, match="make room, choose another folder"):
        check_plan(plan(disk_bytes=1e18), tmp_path)
    assert available_memory() > 1e6

# SPDX-License-Identifier: BSD-3-Clause
"""muse_twilight goes on after it was killed, with the same products."""

import pytest

from muse_core.framework import resume
from muse_core.twilight import steps
from tests.test_resume import check_kills, killed, products
from tests.twilight.conftest import frames_of
from tests.twilight.recipe_runs import OPTIONS

pytestmark = pytest.mark.law


@pytest.fixture(autouse=True)
def everything_is_worth_it(monkeypatch):
    monkeypatch.setattr(resume, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(resume, "TIMES_SAVING", 0.0)


def test_muse_twilight_goes_on(tiny, tmp_path):
    check_kills("muse_twilight", frames_of(tiny), OPTIONS, tmp_path, 4)


def test_rows_on_the_disk_go_on(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "1")
    check_kills("muse_twilight", frames_of(tiny), OPTIONS, tmp_path, 4)


def test_prepared_ifus_are_not_prepared_again(tiny, tmp_path, monkeypatch):
    frames = frames_of(tiny)
    (tmp_path / "whole").mkdir()
    wanted = products("muse_twilight", frames, OPTIONS, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    assert killed("muse_twilight", frames, OPTIONS, tmp_path / "killed", 2)
    prepared = []
    prepare = steps.prepare_ifu

    def noted(job, *rest):
        prepared.append(job.ifu)
        return prepare(job, *rest)

    monkeypatch.setattr(steps, "prepare_ifu", noted)
    assert products("muse_twilight", frames, OPTIONS, tmp_path / "killed") == wanted
    assert len(prepared) == 2  # of three: it was killed when the second one was to be kept

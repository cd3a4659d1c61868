# SPDX-License-Identifier: BSD-3-Clause
"""What a person sees of a long run: progress, and that kernels are compiled."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console

from muse_core.framework import RecipeSpec
from muse_core.framework.compiling import announced
from muse_core.framework.context import RunContext
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError, Problems, RecipeError
from muse_core.framework.kernels import njit
from muse_core.framework.log import UNDONE, Strict
from muse_core.framework.progress import shown

pytestmark = pytest.mark.unit


def test_total_per_cent_and_time_left_are_shown():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    items = []
    for item in shown(range(4), "cube", 4, console):
        items.append(item)
    text = console.file.getvalue()
    assert items == [0, 1, 2, 3]
    for part in ("cube", "0/4", "%", "left"):
        assert part in text


def test_without_a_total_the_number_done_is_shown():
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    assert list(shown(iter("abc"), "slabs", None, console)) == ["a", "b", "c"]
    assert "slabs" in console.file.getvalue()
    assert "%" not in console.file.getvalue()


def test_compiling_is_told_once(caplog):
    log = logging.getLogger("compiling-test")

    @njit()
    def half(x):
        return x / 2

    @njit()
    def quarter(x):
        return half(half(x))

    with caplog.at_level(logging.INFO), announced(log):
        assert quarter(4.0) == 1.0
        assert quarter(8.0) == 2.0
    assert [record.getMessage().split()[0] for record in caplog.records] == ["compiling", "2"]
    assert "musetools warm" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO), announced(log):
        quarter(1.0)
    assert caplog.records == []


def context(tmp_path, **changes) -> RunContext:
    spec = RecipeSpec("muse_some_thing", "x")
    return RunContext(spec, spec.values(), tmp_path, logging.getLogger("flags"), **changes)


def test_flags_of_exposures_are_joined(tmp_path):
    ctx = context(tmp_path)
    for value in (True, False, True):
        ctx.flag("CALIBRATED FLUX", value, "done")
    for text in ("model", "model", "simple"):
        ctx.flag("SKY METHOD", text, "how")
    assert list(ctx.flags.values()) == [
        ("ESO QC SOMETHING CALIBRATED FLUX", False, "done"),
        ("ESO QC SOMETHING SKY METHOD", "mixed", "how"),
    ]


def test_compatible_mode_has_no_flags(tmp_path):
    ctx = context(tmp_path, defects=Defects.only(Defects.names()[0]))
    ctx.flag("CALIBRATED FLUX", False, "done")
    assert ctx.flags == {}


def test_strict_collects_until_the_inputs_are_checked():
    problems = Problems()
    log = logging.Logger("strict")
    log.addFilter(Strict(problems))
    log.warning("harmless")
    log.warning("first", extra=UNDONE)
    log.warning("second", extra=UNDONE)
    with pytest.raises(InputError, match=r"first[\s\S]*second"):
        problems.raise_if_any()
    with pytest.raises(RecipeError, match="third"):
        log.warning("third", extra=UNDONE)

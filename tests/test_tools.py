# SPDX-License-Identifier: BSD-3-Clause
"""musetools finds its sub-commands, and the small ones run."""

from __future__ import annotations

import pytest

from muse_core.tools import command_names, main

pytestmark = pytest.mark.unit


def test_commands_are_found():
    assert {"demo", "demo-twilight", "plugins", "simulate", "simulate-twilight", "warm"} <= set(
        command_names()
    )


def test_without_a_command_help_is_printed(capsys):
    assert main([]) == 0
    assert "simulate" in capsys.readouterr().out


def test_warm_runs(capsys):
    assert main(["warm"]) == 0
    assert "compiled" in capsys.readouterr().out

# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def golden_folder() -> Path | None:
    """The shared golden data, where they are (MUSE_RECIPES_GOLDEN, or beside the checkout)."""
    folder = Path(os.environ.get("MUSE_RECIPES_GOLDEN", ROOT.parent / "shared" / "golden"))
    return folder if folder.is_dir() else None


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    """No test depends on the user's settings."""
    for name in list(os.environ):
        if name.startswith(("MUSE_", "ESOREX_")) and name != "MUSE_RECIPES_GOLDEN":
            monkeypatch.delenv(name)

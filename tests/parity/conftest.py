# SPDX-License-Identifier: BSD-3-Clause
"""Side by side with the C pipeline: its runner, ours, and the comparison of products."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.oracle import need_c_recipe


@dataclass
class CPipeline:
    """Runs C recipes through esorex."""

    def run(
        self, recipe: str, sof: Path, folder: Path, *options: str, env: dict | None = None, check: bool = True
    ):
        """Run a C recipe; its products are in `folder` afterwards."""
        need_c_recipe(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MUSE_", "ESOREX_"))}
        environment.update({"OMP_NUM_THREADS": "1", "HOME": str(folder)}, **(env or {}))
        command = [
            "esorex",
            f"--output-dir={folder}",
            f"--log-dir={folder}",
            "--no-datamd5",
            recipe,
            *options,
            str(sof),
        ]
        result = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        if check:
            assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
        return result


@pytest.fixture(scope="session")
def c_pipeline() -> CPipeline:
    """The C pipeline, or a skip (a failure in CI)."""
    need_c_recipe("muse_scipost")
    return CPipeline()


@pytest.fixture
def compat(monkeypatch):
    """Parity is with the C pipeline's defects restored."""
    monkeypatch.setenv("MUSE_RECIPES_COMPAT", "1")

# SPDX-License-Identifier: BSD-3-Clause
"""Small simulated sets for muse_twilight."""

from __future__ import annotations

from pathlib import Path

import pytest

from muse_core.framework import run_recipe
from muse_core.simulate.raw import RawSetup, simulate_raw

TINY = RawSetup(nx=192, ny=40, ifus=(1, 2, 3), cosmics=5)


def frames_of(folder: Path) -> list[tuple[Path, str]]:
    """Files and tags of a simulated set."""
    lines = (folder / "twilight.sof").read_text().splitlines()
    return [(folder / name, tag) for name, tag in (line.split() for line in lines)]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """Three IFUs, all inputs, merged masters."""
    folder = tmp_path_factory.mktemp("tiny")
    simulate_raw(folder, TINY)
    return folder


@pytest.fixture(scope="session")
def tiny_products(tiny, tmp_path_factory) -> dict[str, Path]:
    """Products of the tiny set with default parameters."""
    folder = tmp_path_factory.mktemp("tiny_products")
    return {p.tag: p.path for p in run_recipe("muse_twilight", frames_of(tiny), workdir=folder, threads=2)}

# SPDX-License-Identifier: BSD-3-Clause
"""The chain of examples/raw_to_cube.py: raw frames to the cube, compared with what went in."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from muse_core.simulate.raw_science import simulate_raw_science

EXAMPLE = Path(__file__).parents[1] / "examples" / "raw_to_cube.py"


def load_example():
    spec = importlib.util.spec_from_file_location("raw_to_cube", EXAMPLE)
    chain = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = chain  # dataclasses look their module up
    spec.loader.exec_module(chain)
    return chain


@pytest.mark.slow
def test_stars_and_wavelengths_come_back(tmp_path):
    chain = load_example()
    shift = 0.12
    science = simulate_raw_science(
        tmp_path / "raw", chain.SETUP, exposures=2, n_stars=5, brightness=4.0, shift=shift
    )
    check = chain.reduce(science, tmp_path / "ours", chain.run_ours, chain.SETUP.ifus, shift)
    assert check.positions.size >= 3
    assert check.positions.max() < 0.03  # arcsec, a seventh of a spaxel
    # the faintest star is one percent of the brightest
    assert np.abs(check.fluxes - 1).max() < 0.015
    assert abs(check.level - 1) < 0.008
    assert check.offset == 0
    assert abs(check.shift) < 0.02  # Angstrom, at 3.7 Angstrom per pixel
    assert check.cube.parent.name == "final"
    assert (tmp_path / "ours" / "align" / "OFFSET_LIST.fits").exists()


def test_what_esorex_says_is_told(tmp_path, monkeypatch):
    chain = load_example()
    program = tmp_path / "esorex"
    program.write_text("#!/bin/sh\necho 'there is no such recipe' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(RuntimeError, match=r"status 3:\n.*no such recipe"):
        chain.run_c("muse_nothing", [], {}, tmp_path / "c")

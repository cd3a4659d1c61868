# SPDX-License-Identifier: BSD-3-Clause
"""A small night with known light, from raw frames to the combined cube, by our recipes and C's in turn.

Neighbouring steps of the two mixed chains are run by different programs, so that every product goes from ours
to C in one of them and from C to ours in the other.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from muse_core.simulate.night_truth import Recovery, measure
from tests.oracle import need_c_recipe

pytestmark = [pytest.mark.parity, pytest.mark.slow]

COUNTS = (
    ("BIAS", 1), ("FLAT", 1), ("ARC", 3), ("SKYFLAT", 3), ("STD", 1), ("ASTROMETRY", 1),
    ("OBJECT", 2), ("SKY", 1),
)  # fmt: skip
EVERY_OTHER = ("muse_scibasic", "muse_scipost", "muse_exp_combine")


def program() -> ModuleType:
    """The benchmark that runs the chains."""
    path = Path(__file__).parents[2] / "benchmarks" / "night_beside_c.py"
    spec = importlib.util.spec_from_file_location("night_beside_c", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recovered(tmp_path_factory) -> dict[str, Recovery]:
    """What came back of the truth in each chain."""
    need_c_recipe("muse_scipost")
    root = tmp_path_factory.mktemp("night")
    nights = program()
    nights.simulate(root / "night", nights.DETECTORS, COUNTS)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
    try:
        steps = nights.plan(root / "night", root / "plan", nights.WISHES)
        limits = nights.Limits(minutes=10, c_memory_gb=60)
        mixed = [
            nights.Chain("C every other", root / "oc", dict.fromkeys(EVERY_OTHER, "C"), "ours"),
            nights.Chain("ours every other", root / "co", dict.fromkeys(EVERY_OTHER, "ours"), "C"),
        ]
        with ThreadPoolExecutor(2) as pool:
            jobs = [
                pool.submit(nights.run_chain, chain, steps, root / "plan", nights.OPTIONS, limits)
                for chain in mixed
            ]
        assert all(job.result() for job in jobs), [chain.failed for chain in mixed]
    finally:
        os.environ["PATH"] = before
    truth = json.loads((root / "night" / "truth.json").read_text())
    return {chain.name: measure(chain.folder, truth) for chain in mixed}


def test_every_figure_is_as_good_as_that_of_the_recipe_it_goes_with(recovered):
    """Bounds: what is asked for (docs/validation.md), or half as much again as C has where it makes it."""
    for found in recovered.values():
        assert abs(found.sky_lines[0]) < 0.02 and found.sky_lines[1] < 0.02
        assert abs(found.absorption[0]) < 0.05  # three stars, two lines, 0.07 A each
        assert abs(found.line[1]) < 0.1  # where C makes the sky of our tables, it moves by 0.08
        assert found.sky[0] < 1.5 and found.sky[1] < 5.0
        assert found.chi[0] == pytest.approx(1.03, abs=0.05)
        assert np.hypot(*found.places[:2]) < 30.0 and found.places[2] < 20.0
    right, theirs = recovered["C every other"], recovered["ours every other"]
    assert max(np.abs(right.response)) < 0.3
    assert abs(right.fluxes[0]) < 1.0 and abs(right.fluxes[1]) < 1.0 and abs(right.line[0]) < 1.0
    assert max(np.abs(right.scale)) < 30e-5 and max(np.abs(right.angle)) < 0.02
    assert max(np.abs(theirs.response)) < 0.75
    assert -4.0 < theirs.fluxes[0] < -1.0  # its response: C ends the fit of the star early
    assert max(np.abs(theirs.scale)) < 110e-5 and max(np.abs(theirs.angle)) < 0.15

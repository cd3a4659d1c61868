# SPDX-License-Identifier: BSD-3-Clause
"""Small simulated raw science frames for muse_scibasic."""

from __future__ import annotations

import pytest

from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_science import RawScience, simulate_raw_science
from tests.basic.runs import SHIFT, run

TINY = RawSetup(
    nx=144, ny=130, ifus=(1, 2, 3), lambda_min=5480.0, lambda_max=6480.0, cosmics=8, saturated=2e-5
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> RawScience:
    """Two exposures of three IFUs around the sky lines at 5577 and 6300 Angstrom."""
    folder = tmp_path_factory.mktemp("tiny_science")
    return simulate_raw_science(
        folder, TINY, exposures=2, n_stars=2, shift=SHIFT, skyflats=0, illum=False, calibrations=False
    )


@pytest.fixture(scope="session")
def tiny_products(tiny, tmp_path_factory):
    """Products with default parameters, by name."""
    return run(tiny.raw, tmp_path_factory.mktemp("tiny_products"))

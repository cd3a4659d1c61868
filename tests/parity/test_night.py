# SPDX-License-Identifier: BSD-3-Clause
"""A simulated night from raw frames to the combined cube: the plan runs, ours and C's recipes in turn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from muse_core.simulate.night import NightSetup, simulate_night
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.tools import main
from tests.oracle import need_c_recipe

pytestmark = [pytest.mark.parity, pytest.mark.slow]


def test_raw_to_cube(tmp_path):
    need_c_recipe("muse_bias")
    simulate_night(tmp_path / "in", NightSetup(raw=RawSetup(ifus=(1, 2), nx=512, ny=64, cosmics=5)))
    plan = tmp_path / "plan"
    assert main(["sof", "--night", str(tmp_path / "in"), "-o", str(plan)]) == 0
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "2",
    }
    job = subprocess.run([str(plan / "run.sh")], env=environment, capture_output=True, text=True)
    logs = "".join(path.read_text(errors="replace")[-1500:] for path in sorted(plan.glob("*/log.txt"))[-1:])
    assert job.returncode == 0, job.stdout + logs
    offsets = fits.getdata(next(plan.glob("*_muse_exp_align/OFFSET_LIST.fits")), 1)
    # the headers tell the true pointings: what is left is the error of the centroids
    assert abs(offsets["RA_OFFSET"]).max() * 3600 < 0.1 and abs(offsets["DEC_OFFSET"]).max() * 3600 < 0.1
    with fits.open(next(plan.glob("*_muse_exp_combine/DATACUBE_FINAL.fits"))) as hdus:
        assert hdus["DATA"].data.ndim == 3
        assert hdus[0].header["EXPTIME"] == 600.0

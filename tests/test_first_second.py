# SPDX-License-Identifier: BSD-3-Clause
"""A small run imports only what it needs: imports are most of its time."""

import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework.binary_table import BinaryTable
from muse_core.simulate.scipost import simulate_scipost

PROGRAM = """
import json, sys
from muse_core.framework.settings import own_process
own_process()
from muse_core.framework import run_recipe
frames, method, folder = sys.argv[1:]
run_recipe("muse_scipost", json.loads(frames), {"skymethod": method}, workdir=folder, threads=1)
print(json.dumps(sorted(sys.modules)))
"""
SLOW = {
    "astropy.table",
    "astropy.wcs",
    "astropy.time",
    "scipy.fft",
    "scipy.optimize",
    "scipy.ndimage",
    "matplotlib",
}


@pytest.mark.law
@pytest.mark.parametrize(("method", "more"), [("none", {"scipy.linalg"}), ("simple", {"scipy.linalg"})])
def test_a_small_run_imports_no_slow_library(tmp_path, method, more):
    observation = simulate_scipost(tmp_path, n_ifu=1, slices=6, lambda_range=(6285.0, 6330.0), seed=7)
    (tmp_path / "out").mkdir()
    frames = json.dumps([(str(path), tag) for path, tag in observation.frames()])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, frames, method, str(tmp_path / "out")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert imported & (SLOW | more) == set()


@pytest.mark.unit
def test_a_binary_table_is_that_of_astropy(tmp_path):
    columns = [
        fits.Column("a", "1D", unit="Angstrom", array=np.arange(5.0)),
        fits.Column("b", "3A", array=np.array(["x", "yy", "zzz", "", "x"])),
    ]
    for kind, name in ((BinaryTable, "ours.fits"), (fits.BinTableHDU, "astropy.fits")):
        table = kind.from_columns(columns, name="SLICES")
        table.header["ANSWER"] = 42
        fits.HDUList([fits.PrimaryHDU(), table.copy()]).writeto(tmp_path / name, checksum=False)
    assert (tmp_path / "ours.fits").read_bytes() == (tmp_path / "astropy.fits").read_bytes()
    with fits.open(tmp_path / "ours.fits") as hdus:
        assert type(hdus[1]) is fits.BinTableHDU

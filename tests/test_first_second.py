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
frames, method, folder, plan = sys.argv[1:]
options = {"workdir": folder, "threads": 1, "plan_only": bool(plan)}
run_recipe("muse_scipost", json.loads(frames), {"skymethod": method}, **options)
print(json.dumps(sorted(sys.modules)))
"""
SLOW = {
    "astropy.table",
    "astropy.units",
    "astropy.wcs",
    "astropy.time",
    "scipy.fft",
    "scipy.optimize",
    "scipy.ndimage",
    "matplotlib",
    "numcodecs",
}
AFTERWARDS = """
from muse_core.framework.settings import own_process
own_process()
from astropy.io import fits
import astropy.units as u
from astropy.table import Table
from astropy.utils.data import get_free_space_in_dir
assert (1 * u.m).to(u.cm).value == 100
assert get_free_space_in_dir(".", unit=True) > 1 * u.byte
assert fits.BinTableHDU(Table({"a": [1] * u.m})).columns["a"].unit == "m"
print(fits.BinTableHDU.__name__)
"""
REFUSED = """
import sys
from muse_core.framework import lean_imports
lean_imports.install()
lean_imports.STANDS_IN["astropy.utils.data"] = ("astropy.units", lambda: type(sys)("astropy.units"))
from astropy.io import fits
import astropy.utils.data
assert astropy.utils.data.Quantity is sys.modules["astropy.units"].Quantity
print(fits.Card("A", 1).value)
"""


def modules_of_a_run(folder, method, plan=""):
    """Names of all modules that a run of a new process has imported."""
    observation = simulate_scipost(folder, n_ifu=1, slices=6, lambda_range=(6285.0, 6330.0), seed=7)
    (folder / "out").mkdir()
    frames = json.dumps([(str(path), tag) for path, tag in observation.frames()])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, frames, method, str(folder / "out"), plan],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.law
@pytest.mark.parametrize(("method", "more"), [("none", {"scipy.linalg"}), ("simple", {"scipy.linalg"})])
def test_a_small_run_imports_no_slow_library(tmp_path, method, more):
    assert modules_of_a_run(tmp_path, method) & (SLOW | more) == set()


@pytest.mark.law
def test_until_the_inputs_are_checked_no_compiler_is_loaded(tmp_path):
    imported = modules_of_a_run(tmp_path, "model", "plan")
    assert {name.split(".")[0] for name in imported} & {"numba", "llvmlite", "scipy"} == set()


@pytest.mark.unit
@pytest.mark.parametrize(("program", "last"), [(AFTERWARDS, "BinTableHDU"), (REFUSED, "1")])
def test_what_is_left_out_of_astropy_is_there_for_who_asks(program, last):
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [last]


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

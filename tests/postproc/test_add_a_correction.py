# SPDX-License-Identifier: BSD-3-Clause
"""Adding a correction to muse_scipost: one folder, one line in the table, one line in the recipe."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import Input, InputError, registry, run_recipe
from muse_core.postproc import stages
from muse_core.postproc.stages import Stage
from muse_core.simulate.scipost import simulate_scipost

pytestmark = pytest.mark.unit

# one folder: constant_factor/, beside this file

# one line in stages.py
STAGE = Stage("constant factor", "constant_factor.step", lambda run: bool(run.frames["CONSTANT_FACTOR"]))

# one line per calibration in the recipe
INPUT = Input("CONSTANT_FACTOR", min=0, help="Factor of the data")


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("factor"),
        seed=3,
        n_ifu=2,
        slices=4,
        columns=12,
        lambda_range=(6290.0, 6310.0),
        lsf="table",
    )


@pytest.fixture
def reduce(observation, tmp_path, monkeypatch):
    """Run muse_scipost with the new line in its table; returns the reduced pixel table."""
    monkeypatch.setattr(stages, "CORRECTIONS", (STAGE, *stages.CORRECTIONS))
    recipe = registry.load("muse_scipost")
    spec = dataclasses.replace(recipe.spec, inputs=(*recipe.spec.inputs, INPUT))

    def run(factor=None, **options):
        folder = tmp_path / f"out{factor}"
        folder.mkdir()
        frames = observation.frames(without=("STD_RESPONSE",))
        if factor is not None:
            table = fits.BinTableHDU.from_columns([fits.Column("factor", "D", array=[factor])])
            table.writeto(folder / "factor.fits")
            frames = [*frames, (folder / "factor.fits", "CONSTANT_FACTOR")]
        options = {"skymethod": "none", "save": "individual", **options}
        (product,) = run_recipe(dataclasses.replace(recipe, spec=spec), frames, options, workdir=folder)
        with fits.open(product.path) as hdus:
            return hdus[0].header, hdus["data"].data.copy(), hdus["stat"].data.copy()

    return run


def test_the_rows_are_corrected(reduce):
    header, data, stat = reduce(2.5)
    plain_header, plain, plain_stat = reduce()
    np.testing.assert_array_equal(data, plain * np.float32(2.5))
    np.testing.assert_array_equal(stat, plain_stat * np.float32(6.25))
    assert header["ESO DRS MUSE PIXTABLE FACTOR"] == 2.5
    assert "ESO DRS MUSE PIXTABLE FACTOR" not in plain_header


def test_products_name_the_calibration(reduce):
    header, *_ = reduce(2.5)
    named = {value for key, value in header.items() if key.endswith("CATG") and " CAL" in key}
    assert "CONSTANT_FACTOR" in named


def test_a_fault_is_reported(reduce):
    with pytest.raises(InputError, match="column factor: expected one positive number"):
        reduce(-1.0)


def test_what_is_not_done_is_in_the_header(reduce):
    header, *_ = reduce()
    assert header["ESO DRS MUSE SKIPPED FLUX"].startswith("no STD_RESPONSE")
    header, *_ = reduce(1.0, compat=True)
    assert not [key for key in header if key.startswith("ESO DRS MUSE SKIPPED")]


def test_nothing_is_imported_for_a_correction_that_nobody_asks_for():
    import subprocess
    import sys

    code = (
        "import sys; import muse_core.postproc.stages; "
        "assert not [n for n in sys.modules if n.endswith('.step') or n.endswith('check_step')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

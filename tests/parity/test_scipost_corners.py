# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost beside the C recipe where random inputs and options have shown differences."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.simulate.scipost import simulate_scipost
from tests.parity.compare import assert_same_product
from tests.parity.scipost_runs import Case, run_both

pytestmark = pytest.mark.parity

SUPERFLAT = (("MUSE_SUPERFLAT_POS", "150.2,-31.0,40.0"),)
SMALL = {"slices": 6, "columns": 24}


FIELDS = {
    "two": {
        "n_ifu": 1,
        "n_exposures": 2,
        "lambda_range": (6840.0, 6880.0),
        "center": (150.1, 25.0),
        "posang": (20.0, -40.0),
        "lsf": "table",
    },
    "flat": {"n_ifu": 2, "lambda_range": (8830.0, 8900.0), "flat_field": True, "posang": 90.0},
    "narrow": {"n_ifu": 1, "lambda_range": (6795.0, 6850.0), "mode": "NFM-AO-N", "lsf": "table"},
    "wide": {
        "centred": True,  # not centred, changes of the last bit move the continuum of C's line fit by 0.15 %
        "n_ifu": 1,
        "lambda_range": (6270.0, 6340.0),
        "lsf": "table",
        "n_stars": 1,
        "brightness": 5.0,
    },
    "dark": {"n_ifu": 1, "lambda_range": (6710.0, 6770.0)},  # without sky lines
}

CASES = {
    "nearest": Case("two", {"skymethod": "none", "resample": "nearest", "crsigma": 5.0}),
    "iraf": Case("two", {"skymethod": "none", "crtype": "iraf", "crsigma": 2.0, "save": "cube,combined"}),
    "edges": Case("narrow", {"skymethod": "none", "resample": "linear", "dx": 0.15}, ("RAMAN_LINES",)),
    "pointing": Case("two", {"skymethod": "none", "crtype": "mean", "crsigma": 3.0}, (), SUPERFLAT),
    "pointing-forgotten": Case("two", {"skymethod": "none", "save": "cube,individual"}, (), SUPERFLAT),
    "flat-cut": Case(
        "flat",
        {"skymethod": "none", "lambdamin": 8840.123, "lambdamax": 8889.321, "save": "individual"},
    ),
    "flat-simple": Case("flat", {"skymethod": "simple", "save": "skymodel,individual,combined"}),
    "flat-inside": Case("flat", {"skymethod": "subtract-model", "save": "individual"}),
    "weights": Case(
        "wide", {"skymethod": "simple", "save": "skymodel"}, (), (("MUSE_COLLAPSE_USE_VARIANCE", "1"),)
    ),
    "counts": Case("wide", {"skymethod": "simple", "save": "skymodel"}, ("STD_RESPONSE",)),
    "steps": Case("wide", {"skymethod": "none", "astrometry": False, "dx": 1.5, "dy": 0.8}),
    "blanks": Case("wide", {"skymethod": "none", "filter": "white, RED,BLUE"}),
    "raman-table": Case("narrow", {"skymethod": "simple", "save": "cube,raman,skymodel"}),
    "phase3-red": Case("two", {"skymethod": "none", "format": "sdpCube", "filter": "RED"}),
    "spectra": Case("wide", {"skymethod": "none", "format": "xEuro3D"}, ("STD_RESPONSE",)),
    "no-lines": Case("dark", {"skymethod": "model", "save": "skymodel,individual"}, ("SKY_CONTINUUM",)),
}


@pytest.fixture(scope="module")
def observation(tmp_path_factory):
    made = {}

    def get(field: str):
        if field not in made:
            made[field] = simulate_scipost(tmp_path_factory.mktemp(field), seed=31, **SMALL | FIELDS[field])
            if field == "flat":
                for number, path in enumerate(made[field].paths("PIXTABLE_OBJECT")):
                    roughen(path, number)
        return made[field]

    return get


def roughen(path, seed):
    """Let the flat-field spectrum be so noisy that the range of its smoothing shows in the data."""
    with fits.open(path, mode="update") as hdus:
        values = hdus["PIXTABLE_FLAT_FIELD"].data["data"]
        values *= 1 + 0.05 * np.random.default_rng(seed).normal(size=values.size)


@pytest.mark.parametrize("name", CASES)
def test_products_equal_the_c_recipe(name, c_pipeline, compat, observation, tmp_path, monkeypatch):
    case = CASES[name]
    products = run_both(c_pipeline, observation(case.field), case, tmp_path, monkeypatch)
    for peer, ours in products.values():
        assert_same_product(peer, ours, ignore=("^PROCSOFT$",))


@pytest.mark.parametrize(("sampling", "continuum"), [(0.3125, 1.0), (1.0, 0.3125)])
def test_continuum_of_lsf_tables_has_its_own_step(
    sampling, continuum, c_pipeline, compat, observation, tmp_path, monkeypatch
):
    options = {"skymethod": "model", "save": "skymodel", "skymodel_sampling": sampling}
    case = Case("wide", {**options, "skymodel_csampling": continuum}, ("SKY_CONTINUUM",))
    products = run_both(c_pipeline, observation("wide"), case, tmp_path, monkeypatch)
    peer, ours = (fits.getdata(path) for path in products["SKY_CONTINUUM_0001.fits"])
    np.testing.assert_array_equal(ours["lambda"], peer["lambda"])
    np.testing.assert_allclose(np.diff(ours["lambda"]), continuum, rtol=1e-9)
    np.testing.assert_allclose(ours["flux"], peer["flux"], rtol=1e-3)


@pytest.mark.parametrize("present", [4, 13, 16, 23])
def test_slice_factors_of_incomplete_fields(present, c_pipeline, compat, tmp_path, monkeypatch):
    """Slices without rows do not count among the 24 of a half, and few measured slices change the rules."""
    simulation = simulate_scipost(
        tmp_path, n_ifu=1, slices=48, columns=26, lambda_range=(6350.0, 6520.0), seed=present, sky=False,
        n_stars=0, n_galaxies=0, throughput_error=0.03,
    )  # fmt: skip
    for path in simulation.paths("PIXTABLE_OBJECT"):
        remove_slices(path, range(present + 1, 25))
    options = {"skymethod": "none", "autocalib": "deepfield", "save": "autocal", "rvcorr": "none"}
    case = Case("", options, ("STD_RESPONSE", "STD_TELLURIC"))
    products = run_both(c_pipeline, simulation, case, tmp_path, monkeypatch)
    peer, ours = products["AUTOCAL_FACTORS_0001.fits"]
    assert_same_product(peer, ours)
    assert np.unique(fits.getdata(ours)["corr"]).size > 5


def remove_slices(path, numbers):
    with fits.open(path, mode="update") as hdus:
        number = hdus["origin"].data & 0x3F
        keep = ~np.isin(number.ravel(), list(numbers))
        scale = 1 + 0.03 * np.sin(1.7 * number) + 0.4 * (number == 2)
        hdus["data"].data = ((hdus["data"].data + 100) * scale).astype(np.float32)
        for hdu in hdus[1:8]:
            hdu.data = hdu.data[keep].copy()

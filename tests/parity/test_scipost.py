# SPDX-License-Identifier: BSD-3-Clause
"""muse_scipost beside the C recipe on simulated observations: every option occurs, combined in pairs."""

from __future__ import annotations

import pytest

from muse_core.simulate.scipost import simulate_scipost
from tests.parity.compare import assert_same_product
from tests.parity.scipost_runs import Case, run_both

pytestmark = pytest.mark.parity

ALL_TABLES = "cube,individual,positioned,combined"


FIELDS = {
    # two IFUs, one exposure, rotated, bright sky lines, with pixel-coordinate SKY_MASK
    "single": {
        "n_ifu": 2,
        "slices": 10,
        "lambda_range": (6285.0, 6330.0),
        "posang": 25.0,
        "sky_mask": "pixel",
    },
    # three exposures at different angles with offsets, flux scales and exposure times
    "multi": {
        "n_ifu": 1,
        "n_exposures": 3,
        "slices": 10,
        "lambda_range": (7150.0, 7185.0),
        "posang": (0.0, 90.0, 180.0),
        "exptime": (600.0, 300.0, 450.0),
        "seeing": (0.7, 0.9, 1.1),
        "offsets": ((0.0, 0.0), (0.9, -0.7), (-1.1, 0.4)),
        "flux_scales": (1.0, 1.1, 0.9),
        "sky_mask": "celestial",
    },
    # binary-table flavour, stationary derotator
    "table": {
        "n_ifu": 1,
        "slices": 8,
        "lambda_range": (5570.0, 5600.0),
        "as_table": True,
        "drot_mode": "STAT",
        "posang": 90.0,
        "output_wcs": True,
    },
    "narrow": {"n_ifu": 1, "slices": 8, "lambda_range": (6540.0, 6575.0), "mode": "NFM-AO-N", "posang": 12.0},
}

CASES = {
    "defaults": Case("single", {"skymethod": "none", "save": ALL_TABLES, "filter": "white,RED,BLUE"}),
    "nearest-mean": Case(
        "single", {"skymethod": "none", "resample": "nearest", "crtype": "mean", "crsigma": 4.0}
    ),
    "linear-iraf": Case(
        "single", {"skymethod": "simple", "resample": "linear", "crtype": "iraf", "crsigma": 6.0}
    ),
    "quadratic": Case(
        "single", {"skymethod": "none", "resample": "quadratic", "rvcorr": "helio", "crsigma": 0.0}
    ),
    "renka": Case(
        "multi", {"skymethod": "none", "resample": "renka", "rc": 1.1, "rvcorr": "geo"}, ("SKY_MASK",)
    ),
    "lanczos": Case("single", {"skymethod": "none", "resample": "lanczos", "ld": 2, "rvcorr": "none"}),
    "steps": Case(
        "single",
        {"skymethod": "none", "dx": 0.3, "dy": 0.25, "dlambda": 1.6, "pixfrac": "0.6,0.7,0.9", "ld": 2},
    ),
    "cut": Case(
        "single",
        {"skymethod": "simple", "lambdamin": 6290.0, "lambdamax": 6321.0, "lambdaref": 6000.0},
        ("SKY_MASK",),
    ),
    "pixels": Case(
        "single", {"skymethod": "none", "astrometry": False, "lambdaref": -1.0, "save": ALL_TABLES}
    ),
    "default-wcs": Case("single", {"skymethod": "none"}, ("ASTROMETRY_WCS", "STD_TELLURIC")),
    "counts": Case("single", {"skymethod": "simple", "save": "cube,individual"}, ("STD_RESPONSE",)),
    "no-extinction": Case("single", {"skymethod": "none", "save": "individual"}, ("EXTINCT_TABLE",)),
    "fwhm": Case("multi", {"skymethod": "none", "weight": "fwhm", "save": ALL_TABLES}),
    "exptime-simple": Case("multi", {"skymethod": "simple", "weight": "exptime", "save": "cube,skymodel"}),
    "no-weight": Case(
        "multi", {"skymethod": "none", "weight": "none", "save": "cube,combined"}, ("OFFSET_LIST",)
    ),
    "table-wcs": Case("table", {"skymethod": "none", "save": "cube,combined", "resample": "drizzle"}),
    "table-own": Case("table", {"skymethod": "simple", "pixfrac": "0.7"}, ("OUTPUT_WCS",)),
    "narrow": Case("narrow", {"skymethod": "none", "save": ALL_TABLES}, ("RAMAN_LINES",)),
    "narrow-default": Case("narrow", {"skymethod": "none"}, ("RAMAN_LINES", "ASTROMETRY_WCS")),
    "owens": Case(
        "single", {"skymethod": "none", "save": "individual"}, (), (("MUSE_DAR_CORRECT_METHOD", "Owens"),)
    ),
    "edlen": Case(
        "single", {"skymethod": "none", "save": "individual"}, (), (("MUSE_DAR_CORRECT_METHOD", "Edlen"),)
    ),
    "ciddor": Case(
        "single", {"skymethod": "none", "save": "individual"}, (), (("MUSE_DAR_CORRECT_METHOD", "Ciddor"),)
    ),
    "as-table": Case(
        "single", {"skymethod": "none", "save": "individual"}, (), (("MUSE_PIXTABLE_SAVE_AS_TABLE", "1"),)
    ),
    "superflat": Case(
        "single",
        {"skymethod": "none", "save": "cube,individual"},
        (),
        (("MUSE_SUPERFLAT_POS", "150.2,-31.0,40.0"),),
    ),
    "variance": Case("single", {"skymethod": "none"}, (), (("MUSE_COLLAPSE_USE_VARIANCE", "1"),)),
}


@pytest.fixture(scope="session")
def observation(tmp_path_factory):
    """Simulated observations, made once each."""
    made = {}

    def get(field: str):
        if field not in made:
            made[field] = simulate_scipost(
                tmp_path_factory.mktemp(field), seed=11, centred=True, **FIELDS[field]
            )
        return made[field]

    return get


@pytest.mark.parametrize("name", CASES)
def test_products_equal_the_c_recipe(name, c_pipeline, compat, observation, tmp_path, monkeypatch):
    case = CASES[name]
    for peer, ours in run_both(c_pipeline, observation(case.field), case, tmp_path, monkeypatch).values():
        assert_same_product(peer, ours)

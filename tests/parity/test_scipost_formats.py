# SPDX-License-Identifier: BSD-3-Clause
"""Formats of the cube, the stacked image and images from the rows, beside the C recipe."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import simulate_scipost
from tests.parity.compare import assert_same_product
from tests.parity.scipost_runs import Case, run_both

pytestmark = pytest.mark.parity

#: the software that made the file names itself
IGNORE = ("^PROCSOFT$",)
#: with images from the rows the C recipe mostly calls a filter covered to 100 %, whatever the data cover
IGNORE_ROWS = (*IGNORE, "FILTER FRACTION$")


FIELDS = {
    "single": {"n_ifu": 2, "slices": 8, "lambda_range": (6285.0, 6320.0), "posang": 25.0},
    "multi": {
        "n_ifu": 1,
        "n_exposures": 2,
        "slices": 8,
        "lambda_range": (7150.0, 7180.0),
        "posang": (0.0, 90.0),
        "exptime": (600.0, 300.0),
        "seeing": (0.7, 0.9),
        "offsets": ((0.0, 0.0), (0.9, -0.7)),
    },
    "narrow": {"n_ifu": 1, "slices": 8, "lambda_range": (6540.0, 6565.0), "mode": "NFM-AO-N", "posang": 12.0},
}
ROWS = (("MUSE_COLLAPSE_PIXTABLE", "1"),)
CASES = {
    "xCube": Case("single", {"format": "xCube", "filter": "white,RED,unknown"}),
    "Euro3D": Case("single", {"format": "Euro3D", "filter": "white,RED"}),
    "xEuro3D": Case("multi", {"format": "xEuro3D", "filter": "RED,white"}),
    "Euro3D-pixels": Case("single", {"format": "Euro3D", "astrometry": False}),
    "sdpCube": Case("single", {"format": "sdpCube", "filter": "white,RED"}),
    "sdpCube-counts": Case("single", {"format": "sdpCube"}, ("STD_RESPONSE",)),
    "sdpCube-multi": Case("multi", {"format": "sdpCube", "save": "cube,stacked"}),
    "sdpCube-narrow": Case("narrow", {"format": "sdpCube"}, ("RAMAN_LINES",)),
    "stacked": Case("single", {"save": "cube,stacked", "dlambda": 1.1}),
    "stacked-alone": Case("single", {"save": "stacked"}),
    "stacked-pixels": Case("single", {"save": "cube,stacked", "astrometry": False, "dx": 1.5}),
    "rows": Case("multi", {"filter": "RED"}, (), ROWS),
    "rows-renka": Case("single", {"filter": "RED", "resample": "renka", "rc": 1.6, "dx": 0.3}, (), ROWS),
}


@pytest.fixture(scope="session")
def observation(tmp_path_factory):
    """Simulated observations, made once each."""
    made = {}

    def get(field: str):
        if field not in made:
            made[field] = simulate_scipost(tmp_path_factory.mktemp(field), seed=17, **FIELDS[field])
        return made[field]

    return get


@pytest.mark.parametrize("name", CASES)
def test_products_equal_the_c_recipe(name, c_pipeline, compat, observation, tmp_path, monkeypatch):
    case = CASES[name]
    ignore = IGNORE_ROWS if case.env == ROWS else IGNORE
    simulation = observation(case.field)
    products = run_both(c_pipeline, simulation, case, tmp_path, monkeypatch, skymethod="none")
    for peer, ours in products.values():
        assert_same_product(peer, ours, ignore=ignore)


def test_every_format_holds_the_same_numbers(observation, tmp_path):
    frames = observation("single").frames(without=())
    cubes = {}
    for cube_format in ("Cube", "xCube", "sdpCube", "xEuro3D"):
        folder = tmp_path / cube_format
        folder.mkdir()
        options = {"skymethod": "none", "save": "cube", "format": cube_format, "filter": "white,RED"}
        products = {p.path.name: p.path for p in run_recipe("muse_scipost", frames, options, workdir=folder)}
        assert len(products) == (1 if cube_format.startswith("x") else 3)
        assert sorted(path.name for path in folder.iterdir()) == sorted(products)
        with fits.open(products["DATACUBE_FINAL.fits"]) as hdus:
            hdus.verify("exception")
            assert all(hdu.verify_datasum() == 1 and hdu.verify_checksum() == 1 for hdu in hdus)
            cubes[cube_format] = [hdu.data for hdu in hdus[1:3]]
            if cube_format == "xCube":
                inside = hdus["RED"].data.copy()
        if cube_format == "Cube":
            outside = fits.getdata(products["IMAGE_FOV_0002.fits"])
    np.testing.assert_array_equal(inside, outside)
    for cube_format in ("xCube", "sdpCube"):
        for mine, theirs in zip(cubes[cube_format], cubes["Cube"], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    data, stat = cubes["Cube"]
    table = cubes["xEuro3D"][0]
    ny = data.shape[1]
    for row in table[:: max(1, len(table) // 50)]:
        ix, iy = divmod(int(row["SPEC_ID"]) - 1, ny)
        start, length = row["SPEC_STA"] - 1, row["SPEC_LEN"]
        good = row["QUAL_SPE"][:length] == 0
        np.testing.assert_array_equal(row["DATA_SPE"][:length][good], data[start:, iy, ix][good])
        np.testing.assert_allclose(
            np.sqrt(stat[start:, iy, ix][good]), row["STAT_SPE"][:length][good], rtol=1e-7
        )
        assert np.isnan(data[start:, iy, ix][~good]).all()

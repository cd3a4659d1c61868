# SPDX-License-Identifier: BSD-3-Clause
"""COVARIANCE and scaled STAT in the cubes of muse_scipost and muse_exp_combine."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core import aperture_variance, noise_factor
from muse_core.framework import RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost

CUBE = "DATACUBE_FINAL.fits"
OPTIONS = {"skymethod": "none", "rvcorr": "none", "save": "cube"}


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    return simulate_scipost(
        tmp_path_factory.mktemp("field"), n_ifu=1, slices=12, columns=24, lambda_range=(7085.0, 7115.0),
        n_exposures=2, lsf=None, seed=3,
    )  # fmt: skip


def reduced(simulation, folder, recipe="muse_scipost", frames=None, **options):
    folder.mkdir()
    run_recipe(recipe, frames or simulation.frames(), options, workdir=folder, threads=2)
    return folder


@pytest.fixture(scope="module")
def folders(simulation, tmp_path_factory):
    top = tmp_path_factory.mktemp("reduced")
    made = {
        "plain": reduced(simulation, top / "plain", **{**OPTIONS, "save": "cube,individual"}),
        "covariance": reduced(simulation, top / "covariance", **OPTIONS, covariance=True),
        "scaled": reduced(simulation, top / "scaled", **OPTIONS, stat_aperture=3, format="xCube"),
    }
    tables = [(path, "PIXTABLE_REDUCED") for path in sorted(made["plain"].glob("PIXTABLE_REDUCED*"))]
    made["combined"] = reduced(
        simulation, top / "combined", "muse_exp_combine", tables, covariance=True, pixfrac="0.8", crsigma=15.0
    )
    return made


def test_nothing_else_of_the_cube_changes(folders):
    with fits.open(folders["plain"] / CUBE) as old, fits.open(folders["covariance"] / CUBE) as new:
        for name in ("DATA", "STAT"):
            assert old[name].data.tobytes() == new[name].data.tobytes()
        assert [hdu.name for hdu in new] == ["PRIMARY", "DATA", "STAT", "COVARIANCE"]
        assert "COVARIANCE" not in old
        header = new["COVARIANCE"].header
        assert [header[f"CTYPE{i}"] for i in range(1, 7)] == ["DX", "DY", "DLAMBDA", "X", "Y", "PLANE"]
        assert new["COVARIANCE"].verify_checksum() == 1


def test_factors_grow_with_the_aperture(folders):
    factors = [noise_factor(folders["covariance"] / CUBE, n) for n in (1, 2, 3, 9)]
    assert factors[0] == pytest.approx(1.0)
    assert 1.1 < factors[1] < factors[2] < factors[3] < 2.0
    assert noise_factor(folders["covariance"] / CUBE, 3, 4) > factors[2]


def test_variances_are_scaled_for_one_aperture(folders):
    with fits.open(folders["covariance"] / CUBE) as old, fits.open(folders["scaled"] / CUBE) as new:
        ratio = new["STAT"].data / old["STAT"].data
        mask = np.zeros(old["DATA"].shape[1:], bool)
        mask[4:7, 8:11] = True
        assert "COVARIANCE" in new
        np.testing.assert_array_equal(new["DATA"].data, old["DATA"].data)
    expected = noise_factor(folders["covariance"] / CUBE, 3) ** 2
    np.testing.assert_allclose(ratio[np.isfinite(ratio)], expected, rtol=0.1)
    assert np.nanmax(ratio) == pytest.approx(np.nanmin(ratio), rel=1e-5)  # a single block of planes
    variances = [aperture_variance(folders[name] / CUBE, mask) for name in ("covariance", "scaled")]
    np.testing.assert_allclose(*variances, rtol=1e-4)
    assert noise_factor(folders["scaled"] / CUBE, 3) == pytest.approx(1.0, abs=0.05)


def test_exposures_combined_later_have_the_same_covariance(folders):
    one, two = (fits.getdata(folders[name] / CUBE, "COVARIANCE") for name in ("covariance", "combined"))
    np.testing.assert_allclose(one, two, atol=2e-3)  # positions went through a file


def test_euro3d_has_no_place_for_it(simulation, tmp_path):
    with pytest.raises(RecipeError, match="Euro3D"):
        reduced(simulation, tmp_path / "e", **OPTIONS, covariance=True, format="Euro3D")

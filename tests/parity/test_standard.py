# SPDX-License-Identifier: BSD-3-Clause
"""muse_standard beside the C recipe: random runs, defects, its curves in muse_scipost of the other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.star_fields import simulate_standard
from tests.parity.compare import assert_same_product
from tests.parity.standard_stars import SMALL, compare, draw, fluxes, make_fields, run_both, true_ratio

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    return make_fields(tmp_path_factory.mktemp("fields"))


@pytest.mark.parametrize("number", range(5))
def test_random_runs_are_those_of_the_c_recipe(number, c_pipeline, fields, tmp_path):
    frames, options = draw(fields, np.random.default_rng([4, number]), tmp_path / "made")
    compare(run_both(c_pipeline, frames, options, tmp_path), frames, options)


def run_ours(frames, options, folder):
    folder.mkdir(parents=True)
    products = run_recipe("muse_standard", frames, options, workdir=folder)
    return {product.path.name: product.path for product in products}


@pytest.mark.defect("star_error_as_variance", "response_first_row_alone")
def test_errors_are_variances_and_the_first_row_is_smoothed_with(c_pipeline, fields, tmp_path):
    field = fields["blue"]
    options = {"profile": "circle"}
    products = run_both(c_pipeline, field.frames(), options, tmp_path / "both")
    compare(products, field.frames(), options)
    ours = run_ours(field.frames(), options, tmp_path / "ours")
    peer = products["STD_FLUXES_0001.fits"][0]
    (_, deviation, _), (_, variance, _) = fluxes(peer), fluxes(ours["STD_FLUXES_0001.fits"])
    good = deviation < 1e30
    ratio = variance[good] / deviation[good] ** 2
    assert np.median(ratio) == pytest.approx(1.0, rel=1e-3)
    name = "STD_RESPONSE_0001.fits"
    c, right = (fits.getdata(path, 1) for path in (products[name][0], ours[name]))
    assert np.median(right["resperr"]) > np.median(c["resperr"])
    # the first row of all, at 4150 Angstrom: C smoothes its neighbours without it
    assert abs(right["response"][1] - c["response"][1]) < 0.1


@pytest.mark.defect("star_one_pixel_off")
def test_the_pointing_is_in_the_middle_of_the_field(c_pipeline, tmp_path):
    """A star at the pointing, and one a pixel off: C takes the wrong one of two alike."""
    plan = dataclasses.replace(SMALL, n_lam=60, first=6980.0, stars=((0.0, 0.0, 1.0),), refraction=False)
    field = simulate_standard(tmp_path / "field", plan, seed=9)
    options = {"profile": "circle", "lambdaref": -1.0}
    products = run_both(c_pipeline, field.frames(), options, tmp_path / "both")
    ours = run_ours(field.frames(), options, tmp_path / "ours")
    name = "STD_FLUXES_0001.fits"
    c, right = (fits.getheader(path) for path in (products[name][0], ours[name]))
    key = "ESO DRS MUSE FLUX OBJ1 DEC"
    assert abs(right[key] - plan.dec) * 3600 < 0.05
    assert abs(c[key] - plan.dec) * 3600 == pytest.approx(0.2, abs=0.05)


@pytest.mark.defect("response_without_rows")
def test_a_star_at_the_edge(c_pipeline, tmp_path):
    plan = dataclasses.replace(SMALL, n_lam=60, first=6980.0, stars=((14.5, 0.0, 1.0),))
    field = simulate_standard(tmp_path / "field", plan, seed=9)
    products = run_both(c_pipeline, field.frames(), {"profile": "circle"}, tmp_path / "both")
    for name in ("STD_RESPONSE_0001.fits", "STD_TELLURIC_0001.fits"):
        assert [len(fits.getdata(path, 1)) for path in products[name]] == [0, 0]
    with pytest.raises(RecipeError, match="too near to the edge of the field"):
        run_ours(field.frames(), {"profile": "circle"}, tmp_path / "ours")


def test_fluxes_of_c_are_off_and_ours_are_right(c_pipeline, fields, tmp_path):
    """The C recipe ends the fit of the Moffat profile before its minimum (a stated difference)."""
    field = fields["calspec"]
    products = run_both(c_pipeline, field.frames(), {"profile": "smoffat"}, tmp_path)
    c, ours = (true_ratio(path, field.truth)[5:-5] for path in products["STD_FLUXES_0001.fits"])
    assert abs(np.median(ours) - 1) < 0.003
    assert abs(np.median(ours) - 1) < abs(np.median(c) - 1)


@pytest.mark.parametrize("maker", ["c", "ours"])
def test_the_curves_of_one_in_the_scipost_of_the_other(maker, c_pipeline, fields, tmp_path):
    field = fields["red"]
    made = tmp_path / "made"
    if maker == "c":
        sof = field.write_sof(tmp_path / "std.sof")
        c_pipeline.run("muse_standard", sof, made)
    else:
        run_ours(field.frames(), {}, made)
    observation = simulate_scipost(
        tmp_path / "object", seed=4, n_ifu=1, slices=6, columns=20, lambda_range=(6880.0, 6940.0)
    )  # fmt: skip
    frames = [*observation.frames(only=("PIXTABLE_OBJECT", "EXTINCT_TABLE"))]
    frames += [(made / f"{tag}_0001.fits", tag) for tag in ("STD_RESPONSE", "STD_TELLURIC")]
    sof = tmp_path / "object.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    options = {"skymethod": "none", "save": "individual", "rvcorr": "none"}
    c_pipeline.run("muse_scipost", sof, tmp_path / "c", *(f"--{k}={v}" for k, v in options.items()))
    (tmp_path / "ours").mkdir()
    run_recipe("muse_scipost", frames, {**options, "compat": True}, workdir=tmp_path / "ours")
    name = "PIXTABLE_REDUCED_0001.fits"
    assert_same_product(tmp_path / "c" / name, tmp_path / "ours" / name, ignore=("PIXTABLE LIMITS [XY] ",))

# SPDX-License-Identifier: BSD-3-Clause
"""muse_astrometry beside the C recipe: random runs, defects, its solutions in muse_scipost of the other."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost
from muse_core.simulate.star_fields import StarField, simulate_astrometric_field
from tests.parity.compare import assert_same_product
from tests.parity.star_catalogues import SMALL, compare, draw, make_fields, run_both

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    return make_fields(tmp_path_factory.mktemp("fields"))


@pytest.mark.parametrize("number", range(4))
def test_random_runs_are_those_of_the_c_recipe(number, c_pipeline, fields, tmp_path):
    frames, options = draw(fields, np.random.default_rng([8, number]))
    compare(run_both(c_pipeline, frames, options, tmp_path), options)


def run_ours(frames, options, folder):
    folder.mkdir(parents=True)
    products = run_recipe("muse_astrometry", frames, options, workdir=folder)
    return {product.path.name: product.path for product in products}


def angle(path):
    return fits.getheader(path)["ESO QC ASTRO ANGLE Y"]


@pytest.mark.defect("position_angle_left")
def test_position_angle(c_pipeline, fields, tmp_path):
    """C leaves the 2 degrees of the field in the solution, muse_scipost would apply them again."""
    field, name = fields["turned"], "ASTROMETRY_WCS_0001.fits"
    frames = field.frames(without=["STD_RESPONSE"])
    peer, compatible = run_both(c_pipeline, frames, {}, tmp_path / "both")[name]
    ours = run_ours(frames, {}, tmp_path / "ours")[name]
    assert abs(angle(peer)) > 1.5
    assert angle(compatible) == pytest.approx(angle(peer), abs=0.05)
    cd = np.array([[fits.getheader(ours)[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    np.testing.assert_allclose(cd, field.truth["cd"], atol=2e-3 * 5.6e-5)


def errors_of_crowded(path, truth):
    """Distances of stars from their true places [pixel], of those with another one at 7 to 16 pixels."""
    x, y = np.array(truth["x"]), np.array(truth["y"])
    off = []
    for row in fits.getdata(path, "ASTROMETRY_SOURCES"):
        k = int(np.argmin(np.hypot(np.array(truth["ra"]) - row["RA"], np.array(truth["dec"]) - row["DEC"])))
        others = np.sort(np.hypot(x - x[k], y - y[k]))
        if 7.0 < others[1] < 16.0:
            off.append((row["XPOS"] - x[k], row["YPOS"] - y[k]))
    off = np.array(off) - np.median(off, axis=0)
    return np.hypot(*off.T)


@pytest.mark.defect("neighbours_in_the_fit")
def test_neighbours_pull_the_stars_of_c(c_pipeline, fields, tmp_path):
    field, name = fields["many"], "ASTROMETRY_WCS_0001.fits"
    frames = field.frames(without=["STD_RESPONSE"])
    peer, compatible = run_both(c_pipeline, frames, {}, tmp_path / "both")[name]
    ours = run_ours(frames, {}, tmp_path / "ours")[name]
    c, same, right = (np.median(errors_of_crowded(path, field.truth)) for path in (peer, compatible, ours))
    assert same == pytest.approx(c, rel=0.3)
    assert right < 0.6 * c, (c, same, right)


@pytest.mark.defect("turned_fields_not_matched", "faccuracy_never_matches")
@pytest.mark.parametrize(("posang", "options"), [(30.0, {}), (0.0, {"faccuracy": 5.0})])
def test_what_c_does_not_match(posang, options, c_pipeline, tmp_path):
    plan = StarField(**{**SMALL, "posang": posang})
    field = simulate_astrometric_field(tmp_path / "field", plan, seed=5)
    frames = field.frames(without=["STD_RESPONSE"])
    sof = tmp_path / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    arguments = [f"--{key}={value}" for key, value in options.items()]
    done = c_pipeline.run("muse_astrometry", sof, tmp_path / "c", *arguments, check=False)
    assert done.returncode > 0
    with pytest.raises(RecipeError, match="no astrometric solution"):
        run_ours(frames, {**options, "compat": True}, tmp_path / "compatible")
    header = fits.getheader(run_ours(frames, options, tmp_path / "ours")["ASTROMETRY_WCS_0001.fits"])
    assert header["ESO QC ASTRO NSTARS"] >= 14
    assert header["ESO QC ASTRO SCALE X"] == pytest.approx(0.2005, abs=2e-4)


@pytest.mark.parametrize("maker", ["c", "ours"])
def test_the_solution_of_one_in_the_scipost_of_the_other(maker, c_pipeline, fields, tmp_path):
    field = fields["plain"]
    frames = field.frames(without=["STD_RESPONSE"])
    made = tmp_path / "made"
    if maker == "c":
        sof = tmp_path / "ast.sof"
        sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
        c_pipeline.run("muse_astrometry", sof, made)
    else:
        run_ours(frames, {}, made)
    observation = simulate_scipost(
        tmp_path / "object", seed=4, n_ifu=1, slices=6, columns=20, lambda_range=(6800.0, 6830.0)
    )  # fmt: skip
    objects = observation.frames(only=("PIXTABLE_OBJECT",))
    objects.append((made / "ASTROMETRY_WCS_0001.fits", "ASTROMETRY_WCS"))
    sof = tmp_path / "object.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in objects))
    options = {"skymethod": "none", "save": "individual", "rvcorr": "none"}
    c_pipeline.run("muse_scipost", sof, tmp_path / "c", *(f"--{k}={v}" for k, v in options.items()))
    (tmp_path / "ours").mkdir()
    run_recipe("muse_scipost", objects, {**options, "compat": True}, workdir=tmp_path / "ours")
    name = "PIXTABLE_REDUCED_0001.fits"
    assert_same_product(
        tmp_path / "c" / name, tmp_path / "ours" / name, ignore=("PIXTABLE LIMITS [XY] ", "CSYER")
    )

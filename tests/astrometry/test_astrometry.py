# SPDX-License-Identifier: BSD-3-Clause
"""muse_astrometry: the solution that was put in is found at any rotation; mistakes are told."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.astrometry.centroids import measure_positions
from muse_core.astrometry.matching import NoMatchError, match_stars
from muse_core.astrometry.solution import fit_solution
from muse_core.data.tangent_plane import deproject
from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.star_fields import StarField, moffat, simulate_astrometric_field
from muse_core.stars.detection import find_stars

pytestmark = pytest.mark.unit
SMALL = {"first": 6825.0, "step": 25.0, "n_lam": 14, "fwhm": 4.0, "sky": 10.0, "telluric": False}


def solve(field, folder, frames=None, **options):
    folder.mkdir(exist_ok=True)
    frames = frames or field.frames(without=["STD_RESPONSE"])
    products = run_recipe("muse_astrometry", frames, options, workdir=folder, report=True)
    return {product.tag: product.path for product in products}


def cd_of(path):
    header = fits.getheader(path)
    return np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])


def scales_and_angles(cd):
    scales = np.hypot(cd[:, 0], cd[:, 1]) * 3600.0
    return scales, np.degrees([np.arctan2(-cd[0, 1], -cd[0, 0]), np.arctan2(-cd[1, 0], cd[1, 1])])


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    plan = StarField(nx=110, ny=110, **SMALL)
    return simulate_astrometric_field(tmp_path_factory.mktemp("ast"), plan, seed=6)


@pytest.fixture(scope="module")
def made(field, tmp_path_factory):
    return solve(field, tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize("posang", [0.0, 37.0, -120.0, 180.0])
def test_scale_and_angle_are_right_at_any_rotation(posang, tmp_path):
    plan = StarField(nx=150, ny=150, posang=posang, **SMALL)
    field = simulate_astrometric_field(tmp_path / "in", plan, seed=11, n_stars=20)
    made = solve(field, tmp_path / "out")
    found = scales_and_angles(cd_of(made["ASTROMETRY_WCS"]))
    true = scales_and_angles(np.array(field.truth["cd"]))
    np.testing.assert_allclose(found[0], true[0], atol=3e-5)
    np.testing.assert_allclose(found[1], true[1], atol=0.01)
    header = fits.getheader(made["ASTROMETRY_WCS"])
    for value, right, name in ((found[0], true[0], "SCALE"), (found[1], true[1], "ANGLE")):
        errors = np.array([header[f"ESO QC ASTRO {name} ERR {axis}"] for axis in "XY"])
        assert (np.abs(value - right) < 4 * errors).all() and (
            errors < 3 * (3e-5, 0.01)[name == "ANGLE"]
        ).all()


def test_positions_are_right(field, made):
    rows = fits.getdata(made["ASTROMETRY_WCS"], "ASTROMETRY_SOURCES")
    truth = field.truth
    off = []
    for row in rows[rows["XERR"] < 0.03]:
        others = np.hypot(np.array(truth["x"]) - row["XPOS"], np.array(truth["y"]) - row["YPOS"])
        if np.sort(others)[1] < 16.0:
            continue  # its window holds another star
        k = int(np.argmin(np.hypot(np.array(truth["ra"]) - row["RA"], np.array(truth["dec"]) - row["DEC"])))
        off.append((row["XPOS"] - truth["x"][k], row["YPOS"] - truth["y"][k]))
    off = np.array(off) - np.median(off, axis=0)
    assert np.sqrt((off**2).mean()) < 0.03
    assert len(rows) >= 16


def test_page(made):
    (page,) = made["ASTROMETRY_WCS"].parent.glob("*.html")
    text = page.read_text()
    assert ">Residuals</h2>" in text
    assert ">Stars</h2>" in text
    assert "arcsec, turned by" in text


def test_thresholds_are_tried(field, tmp_path):
    header = fits.getheader(solve(field, tmp_path / "out", detsigma=-1.5)["ASTROMETRY_WCS"])
    assert 1.0 <= header["ESO DRS MUSE WCS DETSIGMA"] <= 1.5
    assert header["ESO QC ASTRO NSTARS"] >= 16


def changed(field, folder, **changes):
    (path,) = field.paths("ASTROMETRY_REFERENCE")
    copy = folder / "reference.fits"
    with fits.open(path) as hdus:
        for key, value in changes.items():
            if key == "move":
                rows = hdus[2].data
                rows["RA"] += np.random.default_rng(1).uniform(-value, value, len(rows))
                rows["DEC"] += np.random.default_rng(2).uniform(-value, value, len(rows))
            elif key == "stars":
                hdus[2] = fits.BinTableHDU(hdus[2].data[:value], hdus[2].header)
            else:
                hdus[2].header[key] = value
        hdus.writeto(copy)
    return [*field.frames(without=["STD_RESPONSE", "ASTROMETRY_REFERENCE"]), (copy, "ASTROMETRY_REFERENCE")]


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"move": 0.004}, RecipeError, "which is chance among"),
        ({"stars": 3}, RecipeError, "3 in the catalogue"),
        ({"DEC": 10.0}, InputError, "nearest reference table"),
    ],
)
def test_wrong_catalogues(change, error, told, field, tmp_path):
    with pytest.raises(error, match=told):
        solve(field, tmp_path / "out", changed(field, tmp_path, **change))
    assert not list((tmp_path / "out").iterdir())


def test_too_few_planes(field, tmp_path):
    with pytest.raises(RecipeError, match="too few to find stars"):
        solve(field, tmp_path / "out", lambdamin=6900.0, lambdamax=6940.0)


@pytest.mark.parametrize("rotation", [0.0, 25.0, 133.0, -178.0])
def test_matching_with_strangers_and_a_large_offset(rotation):
    rng = np.random.default_rng(4)
    image = rng.uniform(0, 300, (20, 2))
    a = np.radians(rotation)
    turn = 1.03 * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    catalogue = np.vstack([image @ turn.T + (60.0, -45.0), rng.uniform(-200, 400, (30, 2))])
    order = np.argsort(rng.normal(np.r_[np.arange(20), rng.uniform(0, 20, 30)], 2.0))
    match = match_stars(image + rng.normal(0, 0.2, image.shape), catalogue[order], 3.0)
    assert (order[match.catalogue] == match.image).sum() >= 19
    assert match.scale == pytest.approx(1.03, abs=0.003)
    assert abs((match.rotation_deg - rotation + 180.0) % 360.0 - 180.0) < 0.2


def test_noise_is_no_match():
    rng = np.random.default_rng(5)
    with pytest.raises(NoMatchError):
        match_stars(rng.uniform(0, 300, (15, 2)), rng.uniform(0, 300, (40, 2)), 3.0)


def test_fit_rejects_what_is_far_off():
    rng = np.random.default_rng(6)
    x, y = rng.uniform(0, 300, (2, 30))
    cd = np.array([[-5.57e-5, 3e-7], [3e-7, 5.55e-5]])
    ra, dec = deproject(*(cd @ np.array([x - 150.0, y - 150.0])), 150.0, -30.0)
    dec = np.array(dec) + rng.normal(0, 1e-6, dec.size)
    ra = np.array(ra) + rng.normal(0, 1e-6, ra.size)
    dec[3] += 2e-4
    found = fit_solution(x, y, ra, dec, (150.0, -30.0), (0.0, 0.0), 5, 3.0)
    assert not found.kept[3]
    np.testing.assert_allclose(found.cd, cd, rtol=1e-3, atol=2e-8)


def test_neighbours_do_not_pull():
    """Stars 12 pixels apart, of other exponents than the fit has: places right to a hundredth of a pixel."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[1:81, 1:101]
    places = [
        (20 + 12 * i + rng.uniform(-1, 1), 20 + 12 * j + rng.uniform(-1, 1))
        for i in range(6)
        for j in range(4)
    ]
    image = np.full(x.shape, 30.0)
    for a, b in places:
        image += rng.uniform(6e3, 2e4) * moffat(x - a, y - b, 4.0, 2.8)
    stars = find_stars(image, 3.0)
    assert len(stars) == len(places)
    worst = {}
    for alone in (False, True):
        measured = measure_positions(image, np.ones(image.shape), stars, "moffat", alone=alone)
        distances = [min(np.hypot(one.x - a, one.y - b) for a, b in places) for one in measured]
        assert len(measured) == len(places)
        worst[alone] = max(distances)
    assert worst[True] < 0.01 and worst[False] > 5 * worst[True], worst


def test_errors_of_the_solution_are_those_of_its_scatter():
    rng = np.random.default_rng(6)
    scatter = np.array([0.004, 0.008]) / 3600.0
    values, told = [], []
    for _ in range(300):
        x, y = rng.uniform(-100, 100, (2, 12))
        cd = np.array([[-0.2, 0.01], [0.01, 0.2]]) / 3600.0
        xi, eta = cd @ (x, y) + scatter[:, None] * rng.standard_normal((2, 12))
        ra, dec = deproject(xi, eta, 30.0, -20.0)
        solution = fit_solution(x, y, ra, dec, (30.0, -20.0), (0.0, 0.0), 1, 3.0)
        values.append([*solution.scales, *solution.angles])
        told.append([*solution.scale_errors, *solution.angle_errors])
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(told), axis=0)), np.std(values, axis=0), rtol=0.15)


@pytest.mark.parametrize("places", [[(0.0, 0.0), (18.0, 0.0), (0.0, 18.0)], [(i, 2.0 * i) for i in range(6)]])
def test_three_stars_or_a_line_of_them_tell_no_errors(places):
    x, y = np.array(places, float).T
    ra, dec = deproject(x / 18e3, y / 18e3, 30.0, -20.0)
    solution = fit_solution(x, y, ra, dec, (30.0, -20.0), (0.0, 0.0), 1, 3.0)
    assert np.isnan([*solution.scale_errors, *solution.angle_errors]).all()

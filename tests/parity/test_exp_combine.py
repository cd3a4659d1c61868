# SPDX-License-Identifier: BSD-3-Clause
"""muse_exp_combine beside the C recipe, on tables that our muse_scipost has reduced."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.simulate.scipost import simulate_scipost
from tests.parity.compare import assert_same_product, option_text

pytestmark = pytest.mark.parity

CASES = {
    "defaults": {"save": "cube,combined", "filter": "white,RED"},
    "fwhm-linear": {"weight": "fwhm", "resample": "linear", "crsigma": 0.0},
    "header-mean": {"weight": "header", "crtype": "mean", "crsigma": 4.0, "save": "combined,cube"},
    "none-renka": {"weight": "none", "resample": "renka", "rc": 1.6, "format": "xCube"},
    "steps-cut": {"dx": 0.3, "dy": 0.25, "dlambda": 1.5, "lambdamin": 7160.0, "lambdamax": 7180.0},
    "lanczos-euro": {"resample": "lanczos", "format": "Euro3D"},
    "sdp": {"format": "sdpCube", "pixfrac": "0.8,0.7"},
    "sdp-steps": {"format": "sdpCube", "dx": 0.23, "dy": 0.31},
    "iraf": {"crtype": "iraf", "crsigma": 6.0, "save": "combined,cube"},
}


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """Reduced tables of three exposures at different angles, and the frames for their combination."""
    folder = tmp_path_factory.mktemp("reduced")
    simulation = simulate_scipost(
        folder / "in",
        seed=21,
        n_ifu=1,
        n_exposures=3,
        slices=8,
        lambda_range=(7150.0, 7185.0),
        posang=(0.0, 90.0, 180.0),
        exptime=(600.0, 300.0, 450.0),
        seeing=(0.7, 0.9, 1.1),
        offsets=((0.0, 0.0), (0.9, -0.7), (-1.1, 0.4)),
        flux_scales=(1.0, 1.1, 0.9),
    )
    (folder / "out").mkdir()
    options = {"skymethod": "none", "save": "individual", "compat": True}
    products = run_recipe("muse_scipost", simulation.frames(), options, workdir=folder / "out")
    tables = sorted(p.path for p in products if p.tag == "PIXTABLE_REDUCED")
    for path, weight in zip(tables, (2.0, 3.0, 0.5), strict=True):
        fits.setval(path, "HIERARCH ESO DRS MUSE WEIGHT", value=weight)
    others = [(p, t) for p, t in simulation.frames() if t in ("OFFSET_LIST", "FILTER_LIST")]
    return [(path, "PIXTABLE_REDUCED") for path in tables], others


def both(c_pipeline, frames, options, tmp_path, **run):
    """Run both recipes; return pairs of products by name."""
    sof = tmp_path / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    c_pipeline.run("muse_exp_combine", sof, tmp_path / "c", *option_text(options))
    (tmp_path / "ours").mkdir(exist_ok=True)
    products = run_recipe(
        "muse_exp_combine", frames, {**options, "compat": True}, workdir=tmp_path / "ours", **run
    )
    peer = {p.name: p for p in (tmp_path / "c").glob("*.fits") if p.name != "fov_clean.fits"}
    ours = {p.path.name: p.path for p in products}
    assert set(ours) == set(peer)
    return {name: (peer[name], ours[name]) for name in sorted(peer)}


@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_the_c_recipe(c_pipeline, reduced, tmp_path, name):
    tables, others = reduced
    for reference, new in both(c_pipeline, [*tables, *others], CASES[name], tmp_path).values():
        assert_same_product(reference, new, ignore=("^PROCSOFT$",))


def test_order_of_the_set_of_frames(c_pipeline, reduced, tmp_path):
    """Exposures are sorted by date; the standard keywords come from the first frame."""
    tables, others = reduced
    options = {"save": "cube,combined"}
    for reference, new in both(c_pipeline, [*tables[::-1], *others], options, tmp_path).values():
        assert_same_product(reference, new)


@pytest.mark.defect("nearest_flagged_in_qc")
def test_sources_in_flagged_values(c_pipeline, reduced, tmp_path):
    """C looks for sources in values that are NaN in the cube it saves; by default they do not count."""
    tables, _ = reduced
    copies = []
    for path, tag in tables[:2]:
        copy = tmp_path / path.name
        shutil.copy(path, copy)
        with fits.open(copy, mode="update") as hdus:
            angle, distance = hdus["xpos"].data, hdus["ypos"].data  # native spherical coordinates [rad]
            x, y = distance * np.sin(angle), distance * np.cos(angle)
            patch = np.hypot(x - np.median(x), y - np.median(y)) < np.radians(0.8 / 3600.0)
            hdus["data"].data[patch] += 1e5
            hdus["dq"].data[patch] = 1 << 5
        copies.append((copy, tag))
    options = {"resample": "nearest", "crsigma": 0.0, "save": "cube"}
    pairs = both(c_pipeline, copies, options, tmp_path)
    for reference, new in pairs.values():
        assert_same_product(reference, new)
    (tmp_path / "right").mkdir()
    right = run_recipe("muse_exp_combine", copies, options, workdir=tmp_path / "right")[-1].path
    assert not all(sources_have_data(pairs["DATACUBE_FINAL.fits"][0]))
    assert all(sources_have_data(right))


def sources_have_data(path):
    """Whether there are data in the middle plane at each position of the QC."""
    header, cube = fits.getheader(path), fits.getdata(path, "DATA")
    places = [key for key in header if key.startswith("ESO QC EXPCOMB POS") and key.endswith("X")]
    plane = cube[len(cube) // 2]
    return [np.isfinite(plane[round(header[f"{k[:-1]}Y"]) - 1, round(header[k]) - 1]) for k in places]


@pytest.mark.defect("limit_lost_without_weights")
@pytest.mark.parametrize("stated", [False, True])
def test_limit_with_weights_of_the_headers(c_pipeline, reduced, tmp_path, stated):
    tables = reduced[0]
    if not stated:
        tables = [tables[0], (Path(shutil.copy(tables[1][0], tmp_path)), "PIXTABLE_REDUCED")]
        fits.delval(tables[1][0], "ESO DRS MUSE WEIGHT")
    options = {"format": "sdpCube", "weight": "header"}
    pair = both(c_pipeline, tables, options, tmp_path)["DATACUBE_FINAL.fits"]
    assert_same_product(*pair, ignore=("^PROCSOFT$",))
    (tmp_path / "default").mkdir()
    products = run_recipe("muse_exp_combine", tables, options, workdir=tmp_path / "default")
    limits = [fits.getval(path, "ABMAGLIM") for path in (*pair, products[-1].path)]
    assert (limits[0] == -99.0) != stated
    assert limits[2] > 15.0


@pytest.mark.defect("coverage_of_images")
@pytest.mark.parametrize("chosen", ["none", "RED", "RED,white"])
def test_exposure_time_per_pixel_counts_the_pixels_of_images(c_pipeline, reduced, tmp_path, chosen):
    """C counts the image with most pixels; by default the spaxels of the cube count."""
    tables, _ = reduced
    filters = tmp_path / "filters.fits"
    columns = [
        fits.Column("lambda", "D", unit="Angstrom", array=[7150.0, 7150.5, 7152.0, 7152.5]),
        fits.Column("throughput", "D", array=[0.0, 1.0, 1.0, 0.0]),
    ]
    red = fits.BinTableHDU.from_columns(columns, name="RED")
    fits.HDUList([fits.PrimaryHDU(), red]).writeto(filters)
    frames = [*tables[:2], (filters, "FILTER_LIST")]
    options = {"format": "sdpCube", "save": "cube", "filter": chosen}
    pairs = both(c_pipeline, frames, options, tmp_path)
    for reference, new in pairs.values():
        assert_same_product(reference, new, ignore=("^PROCSOFT$",))
    (tmp_path / "right").mkdir()
    right = run_recipe("muse_exp_combine", frames, options, workdir=tmp_path / "right")[-1].path
    c, ours = (fits.getval(path, "EXPTIME") for path in (pairs["DATACUBE_FINAL.fits"][0], right))
    covered = np.isfinite(fits.getdata(right, "DATA")).any(axis=0).sum()
    assert ours == pytest.approx(900.0 * 300.0**2 / covered)
    assert c == (0.0 if chosen == "none" else pytest.approx(ours, rel=0.2))
    assert (c == pytest.approx(ours)) == (chosen == "RED,white")


@pytest.mark.defect("weight_zero_without_exptime", "integer_keywords")
def test_exposure_time_as_integer(c_pipeline, reduced, tmp_path):
    """C gives a later exposure without a float EXPTIME the weight 0; by default integers are read."""
    tables, _ = reduced
    copy = tmp_path / "integer.fits"
    shutil.copy(tables[1][0], copy)
    fits.setval(copy, "EXPTIME", value=300)
    frames = [tables[0], (copy, "PIXTABLE_REDUCED")]
    for reference, new in both(c_pipeline, frames, {"save": "combined"}, tmp_path).values():
        assert_same_product(reference, new)
        with fits.open(new) as hdus:
            assert set(np.unique(hdus["weight"].data)) == {0.0, 1.0}
    (tmp_path / "right").mkdir()
    (product,) = run_recipe("muse_exp_combine", frames, {"save": "combined"}, workdir=tmp_path / "right")
    with fits.open(product.path) as hdus:
        assert set(np.unique(hdus["weight"].data)) == {0.5, 1.0}
    fits.setval(copy, "EXPTIME", value=0.0)
    with pytest.raises(InputError, match=r"integer\.fits: keyword EXPTIME"):
        run_recipe("muse_exp_combine", frames, {"save": "combined"}, workdir=tmp_path / "right")


@pytest.mark.defect("unprojected_left_out")
def test_table_that_is_not_projected(c_pipeline, reduced, tmp_path):
    tables, _ = reduced
    copy = tmp_path / "positioned.fits"
    shutil.copy(tables[1][0], copy)
    for axis in ("xpos", "ypos"):
        fits.setval(copy, "BUNIT", value="deg", extname=axis)
    frames = [tables[0], (copy, "PIXTABLE_REDUCED"), tables[2]]
    pairs = both(c_pipeline, frames, {"save": "combined"}, tmp_path)
    for reference, new in pairs.values():
        with fits.open(reference) as ref, fits.open(new) as ours:
            assert ref["data"].shape == ours["data"].shape
            assert np.array_equal(ref["weight"].data, ours["weight"].data)
    with pytest.raises(InputError, match=r"positioned\.fits: unit of xpos and ypos: expected rad"):
        run_recipe("muse_exp_combine", frames, {"save": "combined"}, workdir=tmp_path / "ours")


def test_one_exposure_is_not_enough(c_pipeline, reduced, tmp_path):
    tables, _ = reduced
    with pytest.raises(RecipeError, match="only makes sense with multiple exposures"):
        run_recipe("muse_exp_combine", tables[:1], {}, workdir=tmp_path)


def test_other_units_and_two_lists_are_told_together(c_pipeline, reduced, tmp_path):
    tables, others = reduced
    copy = tmp_path / "counts.fits"
    shutil.copy(tables[2][0], copy)
    fits.setval(copy, "BUNIT", value="count", extname="data")
    offsets = next(frame for frame in others if frame[1] == "OFFSET_LIST")
    with pytest.raises(InputError) as caught:
        run_recipe(
            "muse_exp_combine", [*tables[:2], (copy, "PIXTABLE_REDUCED"), offsets, offsets], workdir=tmp_path
        )
    assert "counts.fits: unit of data" in str(caught.value)
    assert "one list of offsets" in str(caught.value)
    assert not list(tmp_path.glob("*_FINAL.fits"))

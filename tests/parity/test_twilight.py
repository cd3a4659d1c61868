# SPDX-License-Identifier: BSD-3-Clause
"""muse_twilight beside the C recipe on simulated raw sets, and its cube in the hands of C muse_scibasic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.framework.registry import load
from muse_core.simulate.raw import RawSetup, simulate_raw
from tests.oracle import need_c_recipe
from tests.parity.compare import assert_same_product, option_text
from tests.twilight.recipe_runs import edited

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compat")]

SETS = {
    "wide": (RawSetup(nx=256, ny=48, ifus=(1, 2, 3), vignetting=0.2), {}),
    # with slices that leave the detector
    "offset": (RawSetup(nx=192, ny=40, ifus=(1, 4), saturated=2e-4, slice_fill=0.92), {"overscan": "offset"}),
    "narrow": (RawSetup(nx=256, ny=48, ifus=(1, 23, 24), mode="NFM-AO-N", vignetting=0.3), {"merged": False}),
    # 4 Angstrom per row: lanczos weights reach 1.25 Angstrom only
    "fine": (RawSetup(nx=192, ny=48, ifus=(1, 2), lambda_min=6600.0, lambda_max=7000.0), {}),
    "laser": (RawSetup(nx=192, ny=64, ifus=(1, 2), mode="WFM-AO-E"), {"illum": False, "dark": False}),
    "no23": (RawSetup(nx=256, ny=48, ifus=(1, 22, 24), mode="NFM-AO-N", ifu_scatter=0.2), {"illum": False}),
}
# the C pipeline evaluates overscan polynomials of order 12 and more with errors up to some adu
LOW_ORDER = {"overscan": "vpoly:6"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A run: which set, which options."""

    raw_set: str
    options: dict


CASES = {
    "defaults": Case("wide", LOW_ORDER),
    "median": Case("wide", LOW_ORDER | {"combine": "median", "vignsmooth": "median", "ovscreject": "fit"}),
    "gaussian": Case("wide", LOW_ORDER | {"combine": "average", "vignsmooth": "gaussian", "crtype": "mean"}),
    "renka": Case(
        "wide", LOW_ORDER | {"resample": "renka", "scale": True, "vignmaskedges": 0.0, "xorder": 3}
    ),
    "linear": Case("wide", LOW_ORDER | {"resample": "linear", "crtype": "iraf", "crsigma": 15.0}),
    "lanczos": Case(
        "fine", LOW_ORDER | {"resample": "lanczos", "lambdamin": 6700.0, "lambdamax": 6900.0, "dlambda": 20.0}
    ),
    "nearest": Case("wide", LOW_ORDER | {"resample": "nearest", "crsigma": 0.0}),
    "offset": Case("offset", {"overscan": "offset", "ovscreject": "none", "dlambda": 400.0}),
    "clip": Case("offset", {"overscan": "offset", "lsigma": 1.1, "hsigma": 1.2, "resample": "quadratic"}),
    "narrow": Case("narrow", LOW_ORDER | {"vignnfmmask": 10}),
    "narrow-poly": Case("narrow", LOW_ORDER | {"vignxpar": 2, "vignypar": 3, "resample": "linear"}),
    "laser": Case("laser", LOW_ORDER | {"lambdamin": 5300.0, "lambdamax": 8600.0, "dlambda": 300.0}),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Simulated sets, made when asked for."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            sof = simulate_raw(folder, SETS[name][0], **SETS[name][1])
            frames = [(folder / n, tag) for n, tag in (line.split() for line in sof.read_text().splitlines())]
            sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
            made[name] = (sof, frames)
        return made[name]

    return get


def run_both(c_pipeline, sof, frames, folder, options):
    """Products of the C recipe and of ours in the compatible mode, as pairs of paths."""
    need_c_recipe("muse_twilight")
    c_pipeline.run("muse_twilight", sof, folder / "c", *option_text(options))
    ours = folder / "ours"
    ours.mkdir()
    products = run_recipe("muse_twilight", frames, options, workdir=ours, threads=2)
    return [(folder / "c" / product.path.name, product.path) for product in products]


def assert_same(expected, new):
    rtol = 1e-6 if new.name == "TWILIGHT_CUBE.fits" else 1e-5
    assert_same_product(expected, new, rtol=rtol, fraction=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_same_products(c_pipeline, sets, tmp_path, name):
    case = CASES[name]
    for expected, new in run_both(c_pipeline, *sets(case.raw_set), tmp_path, case.options):
        assert_same(expected, new)
        for key in ("ESO DRS MUSE FLAT FLUX LAMP", "ESO DRS MUSE FLAT FLUX SKY1"):
            a, b = (fits.getval(p, key) for p in (expected, new))
            assert b == pytest.approx(a, rel=1e-6)


MEDIAN_OF_FOUR = LOW_ORDER | {"vignsmooth": "median", "vignxpar": 4, "vignypar": 4}
SHOWN = {
    "area": ("wide", LOW_ORDER, ("levels_with_vignetted_slices", "vignetting_mean_of_everything")),
    "cut": ("offset", {"overscan": "offset"}, ("levels_count_pixels",)),
    "even": ("wide", MEDIAN_OF_FOUR, ("vignetting_filter_fails",)),
    "notch": ("narrow", LOW_ORDER | {"resample": "nearest", "dlambda": 100.0}, ("ends_at_empty_plane",)),
    "no23": ("no23", LOW_ORDER | {"vignxpar": 2, "vignypar": 2}, ("ifu24_without_ifu23",)),
}


def recipe_without(defects):
    """The recipe with all defects but some, in the compatible mode."""
    loaded = load("muse_twilight")
    left = tuple(name for name in loaded.spec.defects if name not in defects)
    return dataclasses.replace(loaded, spec=dataclasses.replace(loaded.spec, defects=left))


@pytest.mark.defect("calibrations_unchecked")
def test_a_trace_of_another_mode(c_pipeline, sets, tmp_path):
    """C takes it without a word; so does the compatible mode, and nothing else."""

    def other_mode(hdus):
        hdus[0].header["ESO INS MODE"] = "WFM-AO-N"

    _, frames = sets("wide")
    odd = edited(
        next(path for path, tag in frames if tag == "TRACE_TABLE"), tmp_path / "odd.fits", other_mode
    )
    frames = [(odd if tag == "TRACE_TABLE" else path, tag) for path, tag in frames]
    sof = tmp_path / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    for expected, new in run_both(c_pipeline, sof, frames, tmp_path, LOW_ORDER):
        assert_same(expected, new)
    with pytest.raises(
        InputError, match=r"odd.fits: ESO INS MODE: expected WFM-NOAO-N \(as in .*\), found WFM-AO-N"
    ):
        run_recipe(recipe_without(["calibrations_unchecked"]), frames, LOW_ORDER, workdir=tmp_path, threads=2)


@pytest.mark.parametrize("name", [pytest.param(k, marks=pytest.mark.defect(*v[2])) for k, v in SHOWN.items()])
def test_known_defects(c_pipeline, sets, tmp_path, name):
    """The compatible mode is that of C, and without one of its defects it is not."""
    raw_set, options, defects = SHOWN[name]
    sof, frames = sets(raw_set)
    pairs = run_both(c_pipeline, sof, frames, tmp_path, options)
    for expected, new in pairs:
        assert_same(expected, new)
    for defect in defects:
        (tmp_path / defect).mkdir()
        recipe = recipe_without([defect])
        right = run_recipe(recipe, frames, options, workdir=tmp_path / defect, threads=2)
        with pytest.raises(AssertionError):
            for (expected, _), product in zip(pairs, right, strict=True):
                assert_same(expected, product.path)
                fluxes = [f"ESO DRS MUSE FLAT FLUX SKY{i}" for i in range(1, 25)]
                for key in fluxes:
                    one, other = (fits.getheader(p).get(key, 0) for p in (expected, product.path))
                    assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.defect("first_ifu_required")
def test_without_ifu_1_there_is_no_cube(c_pipeline, sets, tmp_path):
    """Frames of which that IFU is not there."""

    def take_out(hdus):
        del hdus["CHAN01"]

    _, frames = sets("wide")
    raw = ("SKYFLAT", "ILLUM")
    frames = [
        (edited(path, tmp_path / path.name, take_out) if tag in raw else path, tag) for path, tag in frames
    ]
    sof = tmp_path / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    result = c_pipeline.run("muse_twilight", sof, tmp_path / "c", "--overscan=vpoly:6", check=False)
    assert result.returncode > 0
    assert "no pixels for cube reconstruction are left" in result.stdout + result.stderr
    assert not list((tmp_path / "c").glob("*.fits"))
    with pytest.raises(RecipeError, match="IFU 1"):
        run_recipe("muse_twilight", frames, LOW_ORDER, workdir=tmp_path, threads=2)
    recipe = recipe_without(["first_ifu_required"])
    assert len(run_recipe(recipe, frames, LOW_ORDER, workdir=tmp_path, threads=2)) == 2


@pytest.mark.defect("used_exposures_numbered")
def test_exposures_are_numbered_as_they_are_used(c_pipeline, sets, tmp_path):
    """The second of four exposures has another chip in IFU 2."""

    def other_chip(hdus):
        hdus["CHAN02"].header["HIERARCH ESO DET CHIP ID"] = "another"

    _, frames = sets("wide")
    skies = [path for path, tag in frames if tag == "SKYFLAT"]
    odd = edited(skies[1], tmp_path / "odd.fits", other_chip)
    raw = [(path, "SKYFLAT") for path in (skies[0], odd, skies[2], skies[1])]
    frames = [*raw, *(frame for frame in frames if frame[1] != "SKYFLAT")]
    sof = tmp_path / "set.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    for expected, new in run_both(c_pipeline, sof, frames, tmp_path, LOW_ORDER):
        assert_same(expected, new)
        if new.name == "DATACUBE_SKYFLAT.fits":
            words = fits.getheader(new)
            assert "ESO QC TWILIGHT2 INPUT3 MEAN" in words
            assert "ESO QC TWILIGHT2 INPUT4 MEAN" not in words
    recipe = recipe_without(["used_exposures_numbered"])
    cube = run_recipe(recipe, frames, LOW_ORDER, workdir=tmp_path, threads=2)[0]
    assert "ESO QC TWILIGHT2 INPUT4 MEAN" in fits.getheader(cube.path)


SCALES = ",".join(f"{2 - 0.05 * i:.2f}" for i in range(24))


@pytest.mark.defect("sky1_unscaled")
@pytest.mark.parametrize("raw_set", ["wide", "narrow"])
def test_external_scales(c_pipeline, sets, tmp_path, monkeypatch, raw_set):
    """MUSE_TWILIGHT_SCALES: the same cubes and keywords."""
    need_c_recipe("muse_twilight")
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", SCALES)
    sof, frames = sets(raw_set)
    variables = {"MUSE_TWILIGHT_SCALES": SCALES}
    c_pipeline.run("muse_twilight", sof, tmp_path / "c", "--overscan=vpoly:6", env=variables)
    (tmp_path / "ours").mkdir()
    for product in run_recipe("muse_twilight", frames, LOW_ORDER, workdir=tmp_path / "ours", threads=2):
        expected = tmp_path / "c" / product.path.name
        assert_same_product(expected, product.path, rtol=1e-5, fraction=1e-3)
        a, b = fits.getheader(expected), fits.getheader(product.path)
        for key in (k for k in a if k.startswith("ESO DRS MUSE FLAT FLUX SKY")):
            assert b[key] == pytest.approx(a[key], rel=1e-6)
        sky1 = "ESO DRS MUSE FLAT FLUX SKY1"
        (tmp_path / product.tag).mkdir()
        recipe = recipe_without(["sky1_unscaled"])
        right = run_recipe(recipe, frames, LOW_ORDER, workdir=tmp_path / product.tag, threads=2)
        assert fits.getval(right[0].path, sky1) == pytest.approx(2 * a[sky1], rel=1e-6)


def test_stored_cube_is_used_again(c_pipeline, sets, tmp_path, monkeypatch):
    """MUSE_TWILIGHT_SKIP: the same model from the cube it names, nothing else."""
    need_c_recipe("muse_twilight")
    sof, frames = sets("wide")
    c_pipeline.run("muse_twilight", sof, tmp_path / "first", "--overscan=vpoly:6")
    variables = {"MUSE_TWILIGHT_SKIP": str(tmp_path / "first" / "DATACUBE_SKYFLAT.fits")}
    monkeypatch.setenv(*next(iter(variables.items())))
    c_pipeline.run("muse_twilight", sof, tmp_path / "c", "--overscan=vpoly:6", "--xorder=3", env=variables)
    (tmp_path / "ours").mkdir()
    options = LOW_ORDER | {"xorder": 3}
    products = run_recipe("muse_twilight", frames, options, workdir=tmp_path / "ours", threads=2)
    assert [p.path.name for p in products] == ["TWILIGHT_CUBE.fits"]
    assert [p.name for p in (tmp_path / "c").glob("*.fits")] == ["TWILIGHT_CUBE.fits"]
    names = []
    with fits.open(tmp_path / "c" / "TWILIGHT_CUBE.fits") as a, fits.open(products[0].path) as b:
        for one, other in zip(a[1:], b[1:], strict=True):
            names.append(one.name)
            assert np.allclose(one.data, other.data, rtol=1e-6, equal_nan=True), one.name
        for key in ("ESO DRS MUSE FLAT FLUX SKY2", "ESO PRO REC1 RAW1 NAME", "ESO PRO REC1 CAL1 NAME"):
            assert b[0].header[key] == a[0].header[key]
        assert "ESO PRO REC1 CAL2 NAME" not in b[0].header
    assert "VIGN_FIT" in [n.upper() for n in names]


def test_c_scibasic_reads_our_twilight_cube(c_pipeline, sets, tmp_path):
    """C muse_scibasic divides a pixel table by our cube as by its own."""
    need_c_recipe("muse_scibasic")
    sof, frames = sets("wide")
    c_pipeline.run("muse_twilight", sof, tmp_path / "c", "--overscan=vpoly:6")
    products = run_recipe("muse_twilight", frames, LOW_ORDER, workdir=tmp_path, threads=2)
    cubes = {"c": tmp_path / "c" / "TWILIGHT_CUBE.fits"}
    cubes["ours"] = next(p.path for p in products if p.tag == "TWILIGHT_CUBE")
    keep = ("MASTER_BIAS", "MASTER_FLAT", "MASTER_DARK", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")
    raw = next(path for path, tag in frames if tag == "SKYFLAT")
    tables = {}
    for name, cube in {**cubes, "none": None}.items():
        lines = [f"{raw} OBJECT", *(f"{path} {tag}" for path, tag in frames if tag in keep)]
        lines += [f"{cube} TWILIGHT_CUBE"] if cube else []
        new_sof = tmp_path / f"{name}.sof"
        new_sof.write_text("\n".join(lines) + "\n")
        folder = tmp_path / f"sci_{name}"
        c_pipeline.run(
            "muse_scibasic", new_sof, folder, "--nifu=2", "--crop=false", "--skylines=", "--overscan=vpoly:6"
        )
        with fits.open(folder / "PIXTABLE_OBJECT_0001-02.fits") as hdus:
            flux = hdus[0].header.get("ESO DRS MUSE FLAT FLUX SKY")
            tables[name] = {h.name.upper(): np.array(h.data).ravel() for h in hdus[1:8]}, flux
    (ours, flux), (theirs, their_flux), (plain, _) = tables["ours"], tables["c"], tables["none"]
    assert flux == pytest.approx(their_flux, rel=1e-6)
    assert np.allclose(ours["DATA"], theirs["DATA"], rtol=1e-6)
    ratio = plain["DATA"] / ours["DATA"]
    assert 0.01 < np.nanstd(ratio[np.isfinite(ratio)]) < 0.5  # the cube did something

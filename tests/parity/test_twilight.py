# SPDX-License-Identifier: BSD-3-Clause
"""muse_twilight beside the C recipe on simulated raw sets, and its cube in the hands of C muse_scibasic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.raw import RawSetup, simulate_raw
from tests.parity.compare import assert_same_product
from tests.parity.conftest import need_c_recipe

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compat")]

SETS = {
    "wide": (RawSetup(nx=256, ny=48, ifus=(1, 2, 3), vignetting=0.2), {}),
    # with slices that leave the detector
    "offset": (RawSetup(nx=192, ny=40, ifus=(1, 4), saturated=2e-4, slice_fill=0.92), {"overscan": "offset"}),
    "narrow": (RawSetup(nx=256, ny=48, ifus=(1, 23, 24), mode="NFM-AO-N", vignetting=0.3), {"merged": False}),
    # 4 Angstrom per row: lanczos weights reach 1.25 Angstrom only
    "fine": (RawSetup(nx=192, ny=48, ifus=(1, 2), lambda_min=6600.0, lambda_max=7000.0), {}),
    "laser": (RawSetup(nx=192, ny=64, ifus=(1, 2), mode="WFM-AO-E"), {"illum": False, "dark": False}),
}
# the C pipeline evaluates overscan polynomials of order 12 and more with errors up to some adu
LOW_ORDER = {"overscan": "vpoly:6"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A run: which set, which options."""

    field: str
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


@pytest.mark.parametrize("name", CASES)
def test_same_products(c_pipeline, sets, tmp_path, name):
    need_c_recipe("muse_twilight")
    case = CASES[name]
    sof, frames = sets(case.field)
    options = [f"--{key}={str(value).lower()}" for key, value in case.options.items()]
    c_pipeline.run("muse_twilight", sof, tmp_path / "c", *options)
    ours = tmp_path / "ours"
    ours.mkdir()
    for product in run_recipe("muse_twilight", frames, case.options, workdir=ours, threads=2):
        assert_same_product(
            tmp_path / "c" / product.path.name,
            product.path,
            rtol=1e-6 if product.tag == "TWILIGHT_CUBE" else 1e-5,
            fraction=1e-3,
        )
        for key in ("ESO DRS MUSE FLAT FLUX LAMP", "ESO DRS MUSE FLAT FLUX SKY1"):
            a, b = (fits.getval(p, key) for p in (tmp_path / "c" / product.path.name, product.path))
            assert b == pytest.approx(a, rel=1e-6)


SCALES = ",".join(f"{2 - 0.05 * i:.2f}" for i in range(24))


@pytest.mark.parametrize("field", ["wide", "narrow"])
def test_external_scales(c_pipeline, sets, tmp_path, monkeypatch, field):
    """MUSE_TWILIGHT_SCALES: the same cubes and keywords."""
    need_c_recipe("muse_twilight")
    monkeypatch.setenv("MUSE_TWILIGHT_SCALES", SCALES)
    sof, frames = sets(field)
    variables = {"MUSE_TWILIGHT_SCALES": SCALES}
    c_pipeline.run("muse_twilight", sof, tmp_path / "c", "--overscan=vpoly:6", env=variables)
    (tmp_path / "ours").mkdir()
    for product in run_recipe("muse_twilight", frames, LOW_ORDER, workdir=tmp_path / "ours", threads=2):
        expected = tmp_path / "c" / product.path.name
        assert_same_product(expected, product.path, rtol=1e-5, fraction=1e-3)
        a, b = fits.getheader(expected), fits.getheader(product.path)
        for key in (k for k in a if k.startswith("ESO DRS MUSE FLAT FLUX SKY")):
            assert b[key] == pytest.approx(a[key], rel=1e-6)


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
